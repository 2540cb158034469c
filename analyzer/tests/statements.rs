//! What Istio's reference and code say of policies, one statement a test.

mod meshes;

use std::slice::from_ref;

use meshes::{BARE, HTTP, PROXY, all, answer, ask, check, client, load, object, pod, server, service, spec};
use serde_json::{Value, json};

fn policy(namespace: &str, name: &str, day: u8, spec: &str) -> String {
    let created = format!(", creationTimestamp: '2026-01-{day:02}T00:00:00Z'");
    object("PeerAuthentication", name, namespace, &created, &format!("spec: {{{spec}}}"))
}

const SERVER: &str = "selector: {matchLabels: {app: server}}";

#[track_caller]
fn mode(policies: &[String], port: u16, mode: &str, from: &str) {
    let (client, server, service) = (client(), server(1), service(HTTP));
    let documents: Vec<&str> =
        [&client, &server, &service].into_iter().chain(policies).map(String::as_str).collect();
    let from = if from.is_empty() { "default".to_owned() } else { format!("PeerAuthentication/{from}") };
    check(
        &documents,
        &format!("10.0.1.1:{port}"),
        None,
        &json!({"server_mode": mode, "server_mode_from": from}),
    );
}

#[test]
fn mesh_namespace_and_workload_override_each_other_if_they_set_a_mode() {
    let mesh = policy("istio-system", "mesh", 1, "mtls: {mode: STRICT}");
    let namespace = policy("web", "ns", 1, "mtls: {mode: DISABLE}");
    let workload = policy("web", "own", 1, &format!("{SERVER}, mtls: {{mode: PERMISSIVE}}"));
    mode(&[], 8080, "PERMISSIVE", "");
    mode(from_ref(&mesh), 8080, "STRICT", "istio-system/mesh");
    mode(&[mesh.clone(), namespace.clone()], 8080, "DISABLE", "web/ns");
    mode(&[mesh.clone(), namespace.clone(), workload], 8080, "PERMISSIVE", "web/own");
    for unset in ["mtls: {mode: UNSET}", "mtls: {}", "selector: {}"] {
        mode(&[mesh.clone(), policy("web", "ns", 1, unset)], 8080, "STRICT", "istio-system/mesh");
        let workload =
            policy("web", "own", 1, &format!("{SERVER}, {}", unset.replace("selector: {}", "mtls: {}")));
        mode(&[mesh.clone(), namespace.clone(), workload], 8080, "DISABLE", "web/ns");
    }
}

#[test]
fn a_selector_without_labels_is_for_the_whole_namespace() {
    for selector in ["selector: {}", "selector: {matchLabels: {}}"] {
        let policy = policy("istio-system", "mesh", 1, &format!("{selector}, mtls: {{mode: STRICT}}"));
        mode(&[policy], 8080, "STRICT", "istio-system/mesh");
    }
}

#[test]
fn labels_in_the_root_namespace_choose_nothing_and_others_their_own_namespace() {
    for namespace in ["istio-system", "other"] {
        let policy = policy(namespace, "own", 1, &format!("{SERVER}, mtls: {{mode: STRICT}}"));
        mode(&[policy], 8080, "PERMISSIVE", "");
    }
    // Not even a pod of the root namespace itself.
    let config = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'rootNamespace: web'}
";
    let own = policy("web", "own", 1, &format!("{SERVER}, mtls: {{mode: STRICT}}"));
    mode(&[config.to_owned(), own], 8080, "PERMISSIVE", "");
    mode(&[config.to_owned(), policy("web", "all", 1, "mtls: {mode: STRICT}")], 8080, "STRICT", "web/all");
}

#[test]
fn of_several_the_oldest_acts_then_the_first_by_name() {
    let of = |name: &str, day: u8, mode: &str| policy("web", name, day, &format!("mtls: {{mode: {mode}}}"));
    let own = |name: &str, day: u8, rest: &str| policy("web", name, day, &format!("{SERVER}, {rest}"));
    mode(&[of("a", 2, "STRICT"), of("b", 1, "DISABLE")], 8080, "DISABLE", "web/b");
    mode(&[of("b", 1, "DISABLE"), of("a", 1, "STRICT")], 8080, "STRICT", "web/a");
    // The oldest acts although it sets nothing.
    mode(&[of("a", 2, "STRICT"), of("b", 1, "UNSET")], 8080, "PERMISSIVE", "");
    // Policies for workloads are not merged: the younger one's port counts for nothing.
    let first = own("a", 1, "mtls: {mode: STRICT}");
    let second = own("b", 2, "portLevelMtls: {8080: {mode: DISABLE}}");
    mode(&[second, first], 8080, "STRICT", "web/a");
}

#[test]
fn port_levels_go_by_container_port_of_a_policy_for_workloads() {
    let own = |rest: &str| policy("web", "own", 1, &format!("{SERVER}, {rest}"));
    let ports = own("mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}, 9090: {mode: UNSET}}");
    mode(from_ref(&ports), 8080, "DISABLE", "web/own");
    mode(from_ref(&ports), 9090, "STRICT", "web/own");
    mode(&[ports], 7070, "STRICT", "web/own");
    // The Service port is no container port.
    mode(&[own("mtls: {mode: STRICT}, portLevelMtls: {80: {mode: DISABLE}}")], 8080, "STRICT", "web/own");
    mode(
        &[own("mtls: {mode: STRICT}, portLevelMtls: {'8080': {mode: DISABLE}}")],
        8080,
        "DISABLE",
        "web/own",
    );
    // Without a selector ports count for nothing.
    let all = policy("web", "all", 1, "mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}");
    mode(&[all], 8080, "STRICT", "web/all");
    // A port inherits from above where its workload sets nothing.
    let parent = policy("web", "ns", 1, "mtls: {mode: STRICT}");
    mode(&[parent, own("portLevelMtls: {8080: {mode: UNSET}}")], 8080, "STRICT", "web/ns");
}

#[test]
fn ages_are_moments_however_they_are_written() {
    let created = |day: &str, name: &str, of: &str| {
        policy("web", name, 1, &format!("{SERVER}, mtls: {{mode: {of}}}"))
            .replace("2026-01-01T00:00:00Z", day)
    };
    // Two hours east it was ten in the evening of the day before.
    let first = created("2026-01-02T00:00:00+02:00", "b", "STRICT");
    mode(&[first, created("2026-01-01T23:00:00Z", "a", "DISABLE")], 8080, "STRICT", "web/b");
    // A fraction of a second is later than none, though its text comes first.
    let later = created("2026-01-01T23:00:00.5Z", "a", "DISABLE");
    mode(&[later, created("2026-01-01T23:00:00Z", "b", "STRICT")], 8080, "STRICT", "web/b");
}

#[test]
fn the_oldest_service_of_a_container_port_says_its_protocol() {
    let service = |name: &str, day: u8, port: &str| {
        object(
            "Service",
            name,
            "web",
            &format!(", creationTimestamp: '2026-01-{day:02}T00:00:00Z'"),
            &format!(
                "spec: {{clusterIP: 10.96.1.{day}, selector: {{app: server}}, ports: [{{name: {port}, port: {day}, targetPort: 8080}}]}}"
            ),
        )
    };
    let (tcp, http) = (service("b", 1, "tcp"), service("a", 2, "http"));
    check(&[&client(), &server(1), &tcp, &http], "10.0.1.1:8080", None, &json!({"allowed": all()}));
    let (tcp, http) = (service("b", 2, "tcp"), service("a", 1, "http"));
    let expected = json!({"allowed": ["plaintext", "mtls"]});
    check(&[&client(), &server(1), &tcp, &http], "10.0.1.1:8080", None, &expected);
}

/// A pod's containers and metadata, and what carries its traffic.
#[test]
fn the_proxy_s_container_or_the_redirection_tells_who_has_a_proxy() {
    let native = "initContainers: [{name: istio-proxy, restartPolicy: Always, args: [proxy, sidecar]}], containers: [{name: app}]";
    let validation =
        "initContainers: [{name: istio-proxy, args: [proxy, sidecar]}], containers: [{name: app}]";
    let router = "containers: [{name: istio-proxy, args: [proxy, router]}]";
    let ambient = ", annotations: {ambient.istio.io/redirection: enabled}";
    for (metadata, spec, kind) in [
        ("", PROXY, "sidecar"),
        ("", native, "sidecar"),
        ("", validation, "no-proxy"),
        ("", BARE, "no-proxy"),
        ("", router, "gateway"),
        (", labels: {gateway.networking.k8s.io/gateway-name: gw}", router, "gateway"),
        (", labels: {gateway.istio.io/managed: istio.io-gateway-controller}", BARE, "gateway"),
        (", labels: {gateway.istio.io/managed: istio.io-mesh-controller}", router, "waypoint"),
        (ambient, BARE, "ambient"),
        (ambient, PROXY, "sidecar"),
    ] {
        let mesh = load(&[&pod("p-0", "10.0.0.7", metadata, spec)]);
        assert_eq!(mesh.pods[0].proxy.to_string(), kind, "{metadata} {spec}");
    }
}

fn rule(spec_of: &str) -> String {
    spec("DestinationRule", "own", "web", spec_of)
}

#[test]
fn auto_mtls_asks_the_label_and_the_policies_of_the_endpoint() {
    let labelled =
        |mode: &str| pod("server-1", "10.0.1.1", &format!(", labels: {{app: server{mode}}}"), PROXY);
    let off = |port: u16| {
        policy(
            "web",
            "own",
            1,
            &format!("{SERVER}, mtls: {{mode: STRICT}}, portLevelMtls: {{{port}: {{mode: DISABLE}}}}"),
        )
    };
    let istio = ", security.istio.io/tlsMode: istio";
    for (pod, policies, tls) in [
        (labelled(istio), vec![], "ISTIO_MUTUAL"),
        (labelled(""), vec![], "DISABLE"),
        (labelled(", security.istio.io/tlsMode: disabled"), vec![], "DISABLE"),
        (labelled(istio), vec![off(8080)], "DISABLE"),
        (labelled(istio), vec![off(80)], "ISTIO_MUTUAL"),
        (labelled(istio), vec![policy("istio-system", "mesh", 1, "mtls: {mode: DISABLE}")], "DISABLE"),
        // The namespace's mode comes first, whatever the workload's own says.
        (
            labelled(istio),
            vec![
                policy("web", "ns", 1, "mtls: {mode: DISABLE}"),
                policy("web", "own", 1, &format!("{SERVER}, mtls: {{mode: STRICT}}")),
            ],
            "DISABLE",
        ),
    ] {
        let (client, service) = (client(), service(HTTP));
        let documents: Vec<&str> =
            [&client, &pod, &service].into_iter().chain(&policies).map(String::as_str).collect();
        let expected = json!({"client_tls": tls, "client_tls_from": "auto-mtls"});
        check(&documents, "10.0.1.1:8080", None, &expected);
    }
}

#[test]
fn plaintext_by_the_namespace_to_a_strict_workload_is_a_conflict() {
    let policies = [
        policy("web", "ns", 1, "mtls: {mode: DISABLE}"),
        policy("web", "own", 1, &format!("{SERVER}, mtls: {{mode: STRICT}}")),
    ];
    let documents = [client(), server(1), service(HTTP)];
    let documents: Vec<&str> = documents.iter().chain(&policies).map(String::as_str).collect();
    let expected = json!({"client_wire": ["plaintext"], "allowed": ["mtls"], "conflict": true});
    check(&documents, "10.0.1.1:8080", None, &expected);
}

#[test]
fn a_tls_block_without_a_mode_is_disable_and_switches_auto_mtls_off() {
    for tls in ["tls: {}", "tls: {sni: a}"] {
        let rule = rule(&format!("host: server, trafficPolicy: {{{tls}}}"));
        let expected = json!({"client_tls": "DISABLE", "client_tls_from": "DestinationRule/web/own"});
        check(&[&client(), &server(1), &service(HTTP), &rule], "10.0.1.1:8080", None, &expected);
    }
}

#[test]
fn a_rule_s_host_is_short_or_whole_and_nothing_between() {
    for (host, found) in [
        ("server", true),
        ("server.web", false),
        ("server.web.svc", false),
        ("server.web.svc.cluster.local", true),
        ("'*.web.svc.cluster.local'", true),
        ("'*.local'", true),
        ("'*'", true),
        ("'*.other.svc.cluster.local'", false),
        ("other", false),
    ] {
        let rule = rule(&format!("host: {host}, trafficPolicy: {{tls: {{mode: DISABLE}}}}"));
        let tls = if found { "DISABLE" } else { "ISTIO_MUTUAL" };
        let expected = json!({"client_tls": tls});
        check(&[&client(), &server(1), &service(HTTP), &rule], "10.0.1.1:8080", None, &expected);
    }
}

#[test]
fn port_level_settings_go_by_service_port_and_replace_the_whole_policy() {
    let rule = |port: u16, entry: &str| {
        rule(&format!(
            "host: server, trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL, sni: top}}, portLevelSettings: [{{port: {{number: {port}}}, {entry}}}]}}"
        ))
    };
    for (port, entry, tls, from) in [
        (80, "tls: {mode: SIMPLE}", "SIMPLE", "DestinationRule/web/own"),
        (8080, "tls: {mode: SIMPLE}", "ISTIO_MUTUAL", "DestinationRule/web/own"),
        (80, "loadBalancer: {simple: RANDOM}", "ISTIO_MUTUAL", "auto-mtls"),
    ] {
        let expected = json!({"client_tls": tls, "client_tls_from": from});
        check(&[&client(), &server(1), &service(HTTP), &rule(port, entry)], "10.0.1.1:8080", None, &expected);
    }
}

#[test]
fn an_explicit_istio_mutual_is_sent_to_whatever_stands_there() {
    let rule = rule("host: server, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}");
    let bare = pod("server-1", "10.0.1.1", ", labels: {app: server}", BARE);
    let off = policy("web", "ns", 1, "mtls: {mode: DISABLE}");
    let expected = json!({"client_tls": "ISTIO_MUTUAL", "istio_mtls": "unterminated", "conflict": true});
    check(&[&client(), &bare, &service(HTTP), &rule], "10.0.1.1:8080", None, &expected);
    check(&[&client(), &server(1), &service(HTTP), &rule, &off], "10.0.1.1:8080", None, &expected);
}

#[test]
fn clients_of_the_root_namespace_find_only_their_private_rules_at_home() {
    let config = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'rootNamespace: web'}
";
    let far = object(
        "Pod",
        "far-0",
        "far",
        ", labels: {app: far, security.istio.io/tlsMode: istio}",
        &format!("spec: {{{PROXY}}}\nstatus: {{podIP: 10.0.2.1}}"),
    );
    let service = spec(
        "Service",
        "far",
        "far",
        "clusterIP: 10.96.0.9, selector: {app: far}, ports: [{name: http, port: 80, targetPort: 8080}]",
    );
    let host = "far.far.svc.cluster.local";
    let of = |namespace: &str, export: &str, mode: &str| {
        spec(
            "DestinationRule",
            "own",
            namespace,
            &format!("host: {host}, exportTo: [{export}], trafficPolicy: {{tls: {{mode: {mode}}}}}"),
        )
    };
    let theirs = of("far", "'*'", "SIMPLE");
    for (export, from) in [("'*'", "far"), ("'.'", "web")] {
        let from = format!("DestinationRule/{from}/own");
        let own = of("web", export, "DISABLE");
        check(
            &[&client(), &far, &service, config, &theirs, &own],
            "10.0.2.1:8080",
            None,
            &json!({"client_tls_from": from}),
        );
    }
}

#[test]
fn gateways_as_clients_ask_headless_endpoints_too() {
    let gateway = pod(
        "gw-0",
        "10.0.0.1",
        ", labels: {istio: gw}",
        "containers: [{name: istio-proxy, args: [proxy, router]}]",
    );
    let headless = service(HTTP).replace("10.96.0.2", "None");
    let off = policy("web", "own", 1, &format!("{SERVER}, mtls: {{mode: DISABLE}}"));
    for (client, tls) in [(gateway, "DISABLE"), (client(), "ISTIO_MUTUAL")] {
        check(&[&client, &server(1), &headless, &off], "10.0.1.1:8080", None, &json!({"client_tls": tls}));
    }
}

#[test]
fn gateway_pods_carry_no_label_and_are_reached_in_plaintext() {
    let gateway = pod(
        "gw-0",
        "10.0.3.1",
        ", labels: {istio: gw}",
        "containers: [{name: istio-proxy, args: [proxy, router]}]",
    );
    let service = spec(
        "Service",
        "gw",
        "web",
        "clusterIP: 10.96.0.5, selector: {istio: gw}, ports: [{name: http, port: 80, targetPort: 8080}]",
    );
    let expected = json!({"client_tls": "DISABLE", "client_tls_from": "auto-mtls"});
    check(&[&client(), &gateway, &service], "10.0.3.1:8080", None, &expected);
}

/// Protocol and tls of a Gateway's server, and what a client meets there.
#[test]
fn a_gateway_s_server_accepts_by_protocol_and_mode() {
    let gateway_pod = pod(
        "gw-0",
        "10.0.3.1",
        ", labels: {istio: gw}",
        "containers: [{name: istio-proxy, args: [proxy, router]}]",
    );
    let certificate = "credentialName: cert";
    for (protocol, tls, allowed, certificates, mode) in [
        ("HTTP", String::new(), json!(["plaintext"]), "none", Value::Null),
        ("GRPC", String::new(), json!(["plaintext"]), "none", Value::Null),
        ("HTTP", "httpsRedirect: true".to_owned(), json!(["plaintext"]), "none", Value::Null),
        ("TCP", String::new(), all(), "none", Value::Null),
        ("MONGO", String::new(), all(), "none", Value::Null),
        ("HTTPS", format!("mode: SIMPLE, {certificate}"), json!(["tls"]), "none", json!("SIMPLE")),
        ("TLS", format!("mode: SIMPLE, {certificate}"), json!(["tls"]), "none", json!("SIMPLE")),
        ("HTTPS", format!("mode: MUTUAL, {certificate}"), json!(["mtls"]), "required", json!("MUTUAL")),
        ("TLS", "mode: ISTIO_MUTUAL".to_owned(), json!(["mtls"]), "required", json!("ISTIO_MUTUAL")),
        (
            "HTTPS",
            format!("mode: OPTIONAL_MUTUAL, {certificate}"),
            json!(["tls", "mtls"]),
            "optional",
            json!("OPTIONAL_MUTUAL"),
        ),
        ("TLS", "mode: PASSTHROUGH".to_owned(), json!(["tls", "mtls"]), "passthrough", json!("PASSTHROUGH")),
        ("HTTPS", certificate.to_owned(), json!(["tls", "mtls"]), "passthrough", json!("PASSTHROUGH")),
    ] {
        let block = if tls.is_empty() { String::new() } else { format!(", tls: {{{tls}}}") };
        let server =
            format!("{{port: {{number: 8443, name: p, protocol: {protocol}}}, hosts: ['*']{block}}}");
        let gateway =
            spec("Gateway", "gw", "other", &format!("selector: {{istio: gw}}, servers: [{server}]"));
        let mesh = load(&[&client(), &gateway_pod, &gateway]);
        let expected = json!({"server_mode": null, "allowed": allowed});
        ask(&mesh, "10.0.0.1", "10.0.3.1:8443", Some("a.example.com"), &expected);
        let listener = analyzer::policy::gateway::listener(
            &mesh,
            mesh.pods.iter().find(|pod| &*pod.meta.name == "gw-0").expect("the gateway"),
            8443,
            Some("a.example.com"),
            &mut analyzer::policy::Trace::default(),
        );
        let server = listener.server.expect("a server");
        assert_eq!(
            (server.client_cert.as_str(), json!(server.tls_mode)),
            (certificates, mode),
            "{protocol} {tls}"
        );
    }
}

#[test]
fn tls_servers_share_a_port_by_the_most_specific_name() {
    let gateway_pod = pod(
        "gw-0",
        "10.0.3.1",
        ", labels: {istio: gw}",
        "containers: [{name: istio-proxy, args: [proxy, router]}]",
    );
    let server = |name: &str, host: &str, mode: &str| {
        format!(
            "{{port: {{number: 8443, name: {name}, protocol: HTTPS}}, hosts: ['{host}'], tls: {{mode: {mode}, credentialName: c}}}}"
        )
    };
    let servers = [
        server("wild", "*.example.com", "SIMPLE"),
        server("exact", "web/a.example.com", "MUTUAL"),
        server("again", "a.example.com", "SIMPLE"),
    ];
    let gateway =
        spec("Gateway", "gw", "web", &format!("selector: {{istio: gw}}, servers: [{}]", servers.join(", ")));
    let mesh = load(&[&client(), &gateway_pod, &gateway]);
    for (sni, mode) in [
        (Some("a.example.com"), json!(["mtls"])),
        (Some("b.example.com"), json!(["tls"])),
        (Some("example.com"), json!([])),
        (None, json!([])),
    ] {
        ask(&mesh, "10.0.0.1", "10.0.3.1:8443", sni, &json!({"allowed": mode}));
    }
}

#[test]
fn a_host_outside_the_mesh_is_none_of_auto_mtls_s() {
    let entry = |location: &str| {
        spec(
            "ServiceEntry",
            "e",
            "web",
            &format!(
                "hosts: [e.example.com], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: STATIC, endpoints: [{{address: 10.9.0.1, serviceAccount: e}}]{location}"
            ),
        )
    };
    for (location, tls, from) in [
        ("", Value::Null, "default"),
        (", location: MESH_EXTERNAL", Value::Null, "default"),
        (", location: MESH_INTERNAL", json!("ISTIO_MUTUAL"), "auto-mtls"),
    ] {
        let expected = json!({"client_tls": tls, "client_tls_from": from});
        check(&[&client(), &entry(location)], "10.9.0.1:80", None, &expected);
    }
}

#[test]
fn an_endpoint_s_own_port_comes_before_the_target_port() {
    let entry = spec(
        "ServiceEntry",
        "e",
        "web",
        "hosts: [e.example.com], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], resolution: STATIC, \
         endpoints: [{address: 10.9.0.1}, {address: 10.9.0.2, ports: {http: 9090}}]",
    );
    let mesh = load(&[&client(), &entry]);
    for (to, protocol) in [
        ("10.9.0.1:8080", json!("HTTP")),
        ("10.9.0.1:80", Value::Null),
        ("10.9.0.2:9090", json!("HTTP")),
        ("10.9.0.2:8080", Value::Null),
    ] {
        ask(&mesh, "10.0.0.1", to, None, &json!({"protocol": protocol}));
    }
}

#[test]
fn ztunnel_leaves_a_disabled_port_strict_unless_another_is_permissive() {
    let metadata = ", labels: {app: server}, annotations: {ambient.istio.io/redirection: enabled}";
    let ambient = pod("server-1", "10.0.1.1", metadata, BARE);
    let parent = policy("web", "ns", 1, "mtls: {mode: STRICT}");
    for (ports, mode) in [
        ("8080: {mode: DISABLE}", "STRICT"),
        ("8080: {mode: PERMISSIVE}", "PERMISSIVE"),
        ("8080: {mode: DISABLE}, 9090: {mode: PERMISSIVE}", "PERMISSIVE"),
    ] {
        let own = policy("web", "own", 1, &format!("{SERVER}, portLevelMtls: {{{ports}}}"));
        check(&[&client(), &ambient, &parent, &own], "10.0.1.1:8080", None, &json!({"server_mode": mode}));
    }
}

#[test]
fn a_sidecar_listens_for_hbone_by_its_label_alone() {
    let labelled =
        |label: &str| pod("server-1", "10.0.1.1", &format!(", labels: {{app: server{label}}}"), PROXY);
    for (label, mode, allowed) in [
        (", networking.istio.io/tunnel: http", json!("PERMISSIVE"), json!(["mtls"])),
        ("", Value::Null, json!([])),
    ] {
        let expected = json!({"server_mode": mode, "allowed": allowed});
        check(&[&client(), &labelled(label)], "10.0.1.1:15008", None, &expected);
    }
}

#[test]
fn what_decides_is_cited_by_its_own_name() {
    let config = |mesh: &str| {
        format!(
            "\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: '{mesh}'}}\n"
        )
    };
    let off = policy("web", "off", 1, "mtls: {mode: DISABLE}");
    let own = spec("Sidecar", "own", "web", "outboundTrafficPolicy: {mode: REGISTRY_ONLY}");
    let entry = spec(
        "ServiceEntry",
        "vm",
        "web",
        "hosts: [vm.example.com], location: MESH_INTERNAL, resolution: STATIC, \
         ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.1.0.1, serviceAccount: vm}]",
    );
    for (more, to, rule, resource) in [
        ("", "10.0.1.1:8080", "inbound.mode-and-protocol", "Service/web/server"),
        (entry.as_str(), "10.1.0.1:80", "inbound.mode-and-protocol", "ServiceEntry/web/vm"),
        (
            &config("enableAutoMtls: false"),
            "10.0.1.1:8080",
            "auto-mtls.conditions",
            "ConfigMap/istio-system/istio",
        ),
        (&off, "10.0.1.1:8080", "auto-mtls.conditions", "PeerAuthentication/web/off"),
        (&own, "10.9.9.9:80", "client.outbound-traffic-policy", "Sidecar/web/own"),
        (
            &config("outboundTrafficPolicy: {mode: REGISTRY_ONLY}"),
            "10.9.9.9:80",
            "client.outbound-traffic-policy",
            "ConfigMap/istio-system/istio",
        ),
        ("", "10.9.9.9:80", "client.outbound-traffic-policy", "default"),
    ] {
        let (client, server, service) = (client(), server(1), service(HTTP));
        let documents = [&client, &server, &service, more];
        let documents: Vec<&str> = documents.into_iter().filter(|text| !text.is_empty()).collect();
        let answer = answer(&load(&documents), "10.0.0.1", to, None);
        let cited = answer["because"].as_array().unwrap().iter().find(|citation| citation["rule"] == rule);
        assert_eq!(cited.map(|citation| &citation["resource"]), Some(&json!(resource)), "{to}: {answer:#}");
    }
}

#[test]
fn a_client_s_own_entry_takes_a_service_s_place_where_it_keeps_the_address() {
    let bare =
        pod("db-0", "10.0.5.1", ", labels: {app: db}", BARE).replace("namespace: web", "namespace: data");
    let service = spec("Service", "db", "data", "selector: {app: db}, ports: [{name: https, port: 443}]");
    let host = "db.data.svc.cluster.local";
    let rule = spec(
        "DestinationRule",
        "own",
        "web",
        &format!("host: {host}, trafficPolicy: {{tls: {{mode: SIMPLE}}}}"),
    );
    let entry = |resolution: &str| {
        let ports = "ports: [{number: 8888, name: http, protocol: HTTP, targetPort: 443}]";
        spec("ServiceEntry", "db", "web", &format!("hosts: [{host}], {resolution} {ports}"))
    };
    for (resolution, tls) in
        [("", Some("SIMPLE")), ("resolution: STATIC, endpoints: [{address: 10.9.0.1}],", None)]
    {
        let entry = entry(resolution);
        check(
            &[&client(), &bare, &service, &entry, &rule],
            "10.0.5.1:443",
            None,
            &json!({"client_tls": tls}),
        );
    }
}
