//! What istiod reads: `pkg/config/model.go`, `LabelsInRevision`; `pkg/kube/namespace/filter.go`.

mod meshes;

use analyzer::mesh::{Manifest, Mesh};
use analyzer::report::InputError;
use serde_json::json;

use meshes::{BARE, HTTP, PROXY, answer, ask, client, pod, server, service, spec};

/// A policy that holds wherever istiod reads it.
fn strict(revision: &str) -> String {
    spec("PeerAuthentication", "own", "web", "mtls: {mode: STRICT}")
        .replace("name: own,", &format!("name: own, labels: {{istio.io/rev: {revision}}},"))
}

fn istiod(name: &str, label: &str, env: &str) -> String {
    let container =
        format!("containers: [{{name: discovery, image: docker.io/istio/pilot:1.30.3, env: [{env}]}}]");
    pod(name, "10.0.9.1", &format!(", labels: {{{label}}}"), &container)
}

fn config(name: &str) -> String {
    format!(
        "\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: istio-system}}\ndata: {{mesh: 'trustDomain: a'}}\n"
    )
}

fn load(documents: &[&str]) -> (Mesh, Vec<InputError>) {
    Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text: documents.join("---") }])
}

#[track_caller]
fn check(declares: &[&str], revision: &str, counts: bool, said: Option<&str>) {
    let policy = strict(revision);
    let (client, server, service) = (client(), server(1), service(HTTP));
    let mut documents = vec![&*client, &*server, &*service, &*policy];
    documents.extend(declares);
    let (mesh, errors) = load(&documents);
    let (mode, from) =
        if counts { ("STRICT", "PeerAuthentication/web/own") } else { ("PERMISSIVE", "default") };
    let expected = json!({"server_mode": mode, "server_mode_from": from});
    ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &expected);
    let words: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(words.len(), usize::from(said.is_some()), "{words:?}");
    assert!(words.iter().all(|word| said.is_some_and(|said| word.contains(said))), "{words:?}");
    assert!(errors.iter().all(|error| !error.fatal), "{errors:?}");
}

#[test]
fn istiod_reads_what_is_written_for_its_own_revision() {
    let of = |revision: &str| istiod("istiod-1", "", &format!("{{name: REVISION, value: {revision}}}"));
    let left_out = Some("istiod is of revision default, which does not read it; left out");
    check(&[&of("default")], "default", true, None);
    check(&[&of("default")], "canary", false, left_out);
    check(&[&of("canary")], "canary", true, None);
    check(&[&of("1-30-3")], "stable", false, Some("of revision 1-30-3"));
    check(&[&istiod("istiod-1", "istio.io/rev: canary", "")], "canary", true, None);
    check(&[&istiod("istiod-1", "istio.io/rev: canary", "")], "default", false, Some("left out"));
}

#[test]
fn istiod_without_a_revision_reads_all() {
    check(&[&istiod("istiod-1", "app: istiod", "")], "canary", true, None);
}

#[test]
fn without_istiod_its_configuration_tells_the_revision() {
    check(&[&config("istio")], "default", true, None);
    check(&[&config("istio")], "canary", false, Some("left out"));
    check(&[&config("istio-canary")], "canary", true, None);
    let istiod = istiod("istiod-1", "istio.io/rev: canary", "");
    check(&[&config("istio"), &istiod], "canary", true, None);
}

#[test]
fn where_the_input_does_not_tell_an_object_counts_and_is_named() {
    check(&[], "canary", true, Some("nothing here tells which revisions there are, so it counts"));
    let both = [config("istio"), config("istio-canary")];
    let both: Vec<&str> = both.iter().map(String::as_str).collect();
    check(&both, "canary", true, Some("taken to count for the proxies of all"));
    check(&both, "old", false, Some("of revision canary and default"));
}

#[test]
fn every_kind_that_istiod_reads_is_for_a_revision() {
    let client = client();
    let bare = pod("server-1", "10.0.1.1", ", labels: {app: server}", BARE);
    let labelled = |kind: &str, more: &str| {
        spec(kind, "own", "web", more).replace("name: own,", "name: own, labels: {istio.io/rev: canary},")
    };
    let gateway =
        "selector: {app: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]";
    let documents = [
        labelled("DestinationRule", "host: server"),
        labelled("VirtualService", "hosts: [server], http: [{route: [{destination: {host: server}}]}]"),
        labelled("ServiceEntry", "hosts: [a.example.com], ports: [{number: 80, name: http, protocol: HTTP}]"),
        labelled("WorkloadEntry", "address: 10.1.0.1, serviceAccount: vm"),
        labelled("Sidecar", "egress: [{hosts: ['./*']}]"),
        labelled("Gateway", gateway),
        labelled("PeerAuthentication", "selector: {matchLabels: {app: server}}, mtls: {mode: STRICT}"),
    ];
    let config = config("istio");
    let mut all = vec![&*client, &*bare, &*config];
    all.extend(documents.iter().map(String::as_str));
    let (mesh, errors) = load(&all);
    assert_eq!(errors.len(), documents.len(), "{errors:?}");
    assert!(mesh.destination_rules.is_empty() && mesh.virtual_services.is_empty());
    assert!(mesh.service_entries.is_empty() && mesh.workload_entries.is_empty());
    assert!(mesh.sidecars.is_empty() && mesh.gateways.is_empty() && mesh.peer_authentications.is_empty());
    // The label of the Gateway API's own Gateway says who manages it.
    let managed = "\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: own, namespace: web, labels: {istio.io/rev: canary}}\nspec: {gatewayClassName: istio, listeners: [{name: a, port: 80, protocol: HTTP}]}\n";
    let (mesh, errors) = load(&[&config, managed]);
    assert_eq!((mesh.gateways.len(), errors), (1, Vec::new()));
}

#[test]
fn a_refused_object_of_another_revision_is_in_no_finding() {
    let proxy = pod("server-1", "10.0.1.1", ", labels: {app: server}", PROXY);
    let policy = spec("PeerAuthentication", "own", "web", "portLevelMtls: {8080: {mode: STRICT}}");
    let other = policy.replace("name: own,", "name: own, labels: {istio.io/rev: canary},");
    for (policy, found) in [(&policy, true), (&other, false)] {
        let (mesh, _) = load(&[&proxy, policy, &config("istio")]);
        let ids: Vec<String> = analyzer::lint::lint(&mesh).into_iter().map(|finding| finding.id).collect();
        assert_eq!(ids.iter().any(|id| id == "PA01"), found, "{ids:?}");
    }
}

#[test]
fn a_name_that_is_a_number_is_not_read_as_another_one() {
    let named = |name: &str, namespace: &str| {
        format!(
            "\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{mtls: {{mode: STRICT}}}}\n"
        )
    };
    for (name, namespace, field) in [("1e3", "web", "name"), ("own", "6.0", "namespace")] {
        let (mesh, errors) = load(&[&named(name, namespace)]);
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert!(error.fatal && error.message.contains(&format!("metadata.{field} is a number")), "{error:?}");
        assert!(mesh.peer_authentications.is_empty());
    }
    let (mesh, errors) = load(&[&named("'1e3'", "web")]);
    assert_eq!((errors, &*mesh.peer_authentications[0].meta.name), (Vec::new(), "1e3"));
}

/// MeshConfig that takes the namespaces labelled `mesh: in`, or of a team.
fn selecting() -> String {
    let selectors = "discoverySelectors: [{matchLabels: {mesh: in}}, {matchExpressions: [{key: the_team, operator: Exists}]}]";
    config("istio").replace("trustDomain: a", selectors)
}

fn namespace(name: &str, labels: &str) -> String {
    format!("\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n")
}

#[test]
fn istiod_knows_the_namespaces_that_are_selected() {
    let policy = spec("PeerAuthentication", "own", "web", "mtls: {mode: STRICT}");
    let documents = [client(), server(1), service(HTTP), policy, selecting()];
    let inside =
        json!({"server_mode": "STRICT", "client_tls": "ISTIO_MUTUAL", "client_tls_from": "auto-mtls"});
    let outside = json!({"server_mode": "PERMISSIVE", "client_tls": null, "client_tls_from": "default"});
    let said = |errors: &[InputError], word: &str| {
        errors.iter().filter(|error| error.message.contains(word)).count()
    };
    for (labels, expected) in
        [("mesh: in", &inside), ("the_team: a", &inside), ("mesh: out", &outside), ("", &outside)]
    {
        let own = namespace("web", labels);
        let mut all: Vec<&str> = documents.iter().map(String::as_str).collect();
        all.push(&own);
        let (mesh, errors) = load(&all);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, expected);
        let left_out = "Namespace/web is in none of MeshConfig's discoverySelectors";
        assert_eq!(said(&errors, left_out), usize::from(expected == &outside), "{errors:?}");
        assert!(errors.iter().all(|error| !error.fatal), "{errors:?}");
    }
    let all: Vec<&str> = documents.iter().map(String::as_str).collect();
    let (mesh, errors) = load(&all);
    ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &inside);
    assert_eq!(said(&errors, "Namespace/web is not here to tell its labels"), 1, "{errors:?}");
}

#[test]
fn the_control_plane_s_own_namespace_is_selected_like_any_other() {
    let policy = spec("PeerAuthentication", "own", "istio-system", "mtls: {mode: STRICT}");
    for (labels, mode) in [("mesh: in", "STRICT"), ("mesh: out", "PERMISSIVE")] {
        let spaces = [namespace("web", "mesh: in"), namespace("istio-system", labels)];
        let documents = [server(1), policy.clone(), selecting()];
        let all: Vec<&str> = documents.iter().chain(&spaces).map(String::as_str).collect();
        let (mesh, _) = load(&all);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"server_mode": mode}));
    }
}

#[test]
fn an_operator_tells_of_the_configuration_where_no_config_map_does() {
    let operator = |kind: &str, metadata: &str, spec: &str| {
        let group = if kind == "Istio" { "sailoperator.io/v1" } else { "install.istio.io/v1alpha1" };
        format!("\napiVersion: {group}\nkind: {kind}{metadata}\nspec: {{{spec}}}\n")
    };
    let named = "\nmetadata: {name: default}";
    let off = "meshConfig: {enableAutoMtls: false}";
    let config = config("istio");
    let (client, server, service) = (client(), server(1), service(HTTP));
    let tls = |documents: &[&str], tls: Option<&str>, cited: &str| {
        let mut all = vec![&*client, &*server, &*service];
        all.extend(documents);
        let (mesh, errors) = load(&all);
        assert_eq!(errors, []);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls": tls}));
        let answer = answer(&mesh, "10.0.0.1", "10.0.1.1:8080", None);
        assert!(answer["because"].to_string().contains(cited), "{answer:#}");
    };
    for (kind, metadata, spec, field) in [
        ("IstioOperator", named, off.to_owned(), "spec.meshConfig.enableAutoMtls"),
        ("IstioOperator", "", off.to_owned(), "spec.meshConfig.enableAutoMtls"),
        ("IstioOperator", named, format!("values: {{{off}}}"), "spec.values.meshConfig.enableAutoMtls"),
        ("Istio", named, format!("values: {{{off}}}"), "spec.values.meshConfig.enableAutoMtls"),
    ] {
        let own = operator(kind, metadata, &spec);
        tls(&[&own], None, field);
        // What istiod reads itself counts.
        tls(&[&own, &config], Some("ISTIO_MUTUAL"), "");
        tls(&[&config, &own], Some("ISTIO_MUTUAL"), "");
    }
    tls(&[&operator("IstioOperator", named, "profile: default")], Some("ISTIO_MUTUAL"), "");
    // The mesh's own namespace is that of its policies.
    let strict = spec("PeerAuthentication", "own", "control", "mtls: {mode: STRICT}");
    for (more, mode) in [("", "STRICT"), (", meshConfig: {rootNamespace: web}", "PERMISSIVE")] {
        let own = operator("IstioOperator", named, &format!("namespace: control{more}"));
        let (mesh, _) = load(&[&client, &server, &service, &strict, &own]);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"server_mode": mode}));
    }
}

/// `listenerProtocolToIstio`; upgrade notes of 1.28; release notes of 1.30.
#[test]
fn what_is_switched_off_of_the_gateway_api_has_no_effect() {
    let gateway_api = |kind: &str, name: &str, text: &str| {
        spec(kind, name, "web", text).replace("networking.istio.io/v1", "gateway.networking.k8s.io/v1")
    };
    let policy = spec(
        "BackendTLSPolicy",
        "policy",
        "web",
        "targetRefs: [{group: '', kind: Service, name: server}], validation: {hostname: a.example, wellKnownCACertificates: System}",
    );
    let router = pod(
        "gw-0",
        "10.0.3.1",
        ", labels: {gateway.networking.k8s.io/gateway-name: gw}",
        "containers: [{name: istio-proxy, args: [proxy, router]}]",
    );
    let listeners = "{name: a, port: 8001, protocol: HTTP}, {name: b, port: 8002, protocol: TLS, tls: {mode: Passthrough}}, {name: c, port: 8003, protocol: TCP}";
    let allowed = "allowedListeners: {namespaces: {from: All}}";
    let gateway = gateway_api(
        "Gateway",
        "gw",
        &format!("gatewayClassName: istio, {allowed}, listeners: [{listeners}]"),
    );
    let set = gateway_api(
        "ListenerSet",
        "set",
        "parentRef: {name: gw}, listeners: [{name: d, port: 8004, protocol: HTTP}]",
    );
    let istiod = |version: &str, env: &str| {
        istiod("istiod-1", "", env).replace("pilot:1.30.3", &format!("pilot:{version}"))
    };
    let alpha = "{name: PILOT_ENABLE_ALPHA_GATEWAY_API, value: 'true'}";
    let hidden = "{name: PILOT_ENABLE_ALPHA_GATEWAY_API, valueFrom: {configMapKeyRef: {name: a, key: b}}}";
    let off = "{name: PILOT_ENABLE_GATEWAY_API, value: 'false'}";
    // The ports that are open, and whether the policy counts.
    for (istiod, open, counts, said) in [
        (String::new(), &[8001, 8002, 8003, 8004][..], true, 0),
        (istiod("1.32.0", ""), &[8001, 8002, 8004], true, 1),
        (istiod("1.30.0", ""), &[8001, 8002, 8004], true, 1),
        (istiod("1.29.0", ""), &[8001], true, 3),
        (istiod("1.28.0", ""), &[8001], true, 3),
        (istiod("1.27.0", ""), &[8001], false, 4),
        (istiod("1.27.0", alpha), &[8001, 8002, 8003, 8004], true, 0),
        (istiod("1.27.0", hidden), &[8001, 8002, 8003, 8004], true, 0),
        (istiod("1.32.0", off), &[], false, 3),
        (
            format!(
                "{}---{}",
                istiod("1.27.0", ""),
                istiod("1.32.0", "{name: REVISION, value: new}").replace("istiod-1", "istiod-2")
            ),
            &[8001, 8002, 8003, 8004],
            true,
            0,
        ),
    ] {
        let documents =
            [&*client(), &*server(1), &*service(HTTP), &*policy, &*router, &*gateway, &*set, &*istiod];
        let (mesh, errors) = load(&documents);
        assert_eq!(errors.len(), said, "{istiod}: {errors:?}");
        let tls = if counts { "SIMPLE" } else { "ISTIO_MUTUAL" };
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls": tls}));
        for port in 8001..8005 {
            let answer = answer(&mesh, "192.0.2.1", &format!("10.0.3.1:{port}"), None);
            assert_eq!(answer["gateway_server"].is_object(), open.contains(&port), "{port} {istiod}");
        }
    }
}

/// Release notes of 1.28 and 1.32.
#[test]
fn what_istiod_does_not_know_yet_of_the_gateway_api_has_no_effect() {
    let router = pod(
        "gw-0",
        "10.0.3.1",
        ", labels: {gateway.networking.k8s.io/gateway-name: gw}",
        "containers: [{name: istio-proxy, args: [proxy, router]}]",
    );
    let frontend = "tls: {frontend: {default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}}}";
    let listeners =
        "listeners: [{name: a, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: a}]}}]";
    let gateway = spec("Gateway", "gw", "web", &format!("gatewayClassName: istio, {frontend}, {listeners}"))
        .replace("networking.istio.io/v1", "gateway.networking.k8s.io/v1");
    let backend = spec(
        "XBackend",
        "own",
        "web",
        "type: ExternalHostname, externalHostname: {hostname: server.web.svc.cluster.local}, port: {port: 80}, tls: {mode: ServerOnly, validation: {hostname: a.example}}",
    )
    .replace("networking.istio.io/v1", "gateway.networking.x-k8s.io/v1alpha1");
    for (version, mode, tls, said) in [
        ("1.32.0", "MUTUAL", "SIMPLE", 0),
        ("1.31.0", "MUTUAL", "ISTIO_MUTUAL", 1),
        ("1.28.0", "MUTUAL", "ISTIO_MUTUAL", 1),
        ("1.27.0", "SIMPLE", "ISTIO_MUTUAL", 2),
    ] {
        let istiod = istiod("istiod-1", "", "").replace("pilot:1.30.3", &format!("pilot:{version}"));
        let documents = [&*client(), &*server(1), &*service(HTTP), &*router, &*gateway, &*backend, &*istiod];
        let (mesh, errors) = load(&documents);
        assert_eq!(errors.len(), said, "{version}: {errors:?}");
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls": tls}));
        let answer = answer(&mesh, "192.0.2.1", "10.0.3.1:8443", None);
        assert_eq!(answer["gateway_server"]["tls_mode"], mode, "{version}");
    }
}
