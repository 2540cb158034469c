//! The meshes of Istio's own tests, and what changed between its versions, each as one question.

mod meshes;

use analyzer::mesh::control_plane::IstioVersion;
use meshes::{
    BARE, HTTP, PROXY, all, ask, check, client, found, istiod, load, object, pod, server, service, spec,
};
use serde_json::{Value, json};

#[test]
fn an_external_name_stands_outside_and_has_no_endpoints() {
    let alias = spec(
        "Service",
        "alias",
        "web",
        "type: ExternalName, externalName: api.example.com, selector: {app: server}, \
         ports: [{name: tcp, port: 8080}]",
    );
    let (client, server) = (client(), server(1));
    let mesh = load(&[&client, &server, &alias]);
    let host = mesh.hosts.iter().find(|host| host.host == "alias.web.svc.cluster.local").unwrap();
    assert!(host.external);
    assert_eq!(host.endpoints, []);
    // The pod that it seems to select is a pod of no Service.
    ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"protocol": null, "client_tls": null}));
}

#[test]
fn an_alias_leads_to_what_it_names() {
    let alias =
        spec("Service", "alias", "web", "type: ExternalName, externalName: server.web.svc.cluster.local");
    let expected =
        json!({"client_tls": "ISTIO_MUTUAL", "sni": "outbound_.80_._.server.web.svc.cluster.local"});
    check(&[&client(), &server(1), &service(HTTP), &alias], "10.0.1.1:8080", None, &expected);
}

fn outside(ports: &str, more: &str) -> String {
    spec("ServiceEntry", "api", "web", &format!("hosts: [api.example.com], ports: [{ports}]{more}"))
}

fn backend_policy(target: &str) -> String {
    let validation = "validation: {hostname: tls.example.com, wellKnownCACertificates: System}";
    spec("BackendTLSPolicy", "policy", "web", &format!("targetRefs: [{{{target}}}], {validation}"))
}

#[test]
fn a_backend_tls_policy_may_be_for_a_service_entry() {
    let entry = outside(
        "{number: 443, name: http, protocol: HTTP}, {number: 80, name: plain, protocol: HTTP}",
        ", resolution: DNS",
    );
    let secured = json!({"client_tls": "SIMPLE", "client_tls_from": "BackendTLSPolicy/web/policy", "sni": "tls.example.com"});
    let plain = json!({"client_tls": null, "client_tls_from": "default", "client_wire": ["plaintext"]});
    let name = Some("api.example.com");
    let reference = "group: networking.istio.io, kind: ServiceEntry, name: api";
    for (section, at_443, at_80) in [
        ("", &secured, &secured),
        (", sectionName: http", &secured, &plain),
        (", sectionName: missing", &plain, &plain),
    ] {
        let policy = backend_policy(&format!("{reference}{section}"));
        let mesh = load(&[&client(), &entry, &policy]);
        ask(&mesh, "10.0.0.1", "192.0.2.1:443", name, at_443);
        ask(&mesh, "10.0.0.1", "192.0.2.1:80", name, at_80);
    }
}

/// `testdata/backend-tls-policy-ignored.yaml` of `pilot/pkg/config/kube/gateway`.
#[test]
fn a_backend_tls_policy_may_be_left_to_another_controller() {
    let policy = backend_policy("group: '', kind: Service, name: server");
    let annotated = |value: &str| {
        policy.replace(
            "namespace: web",
            &format!("namespace: web, annotations: {{istio.io/ignore-policy-attachment: '{value}'}}"),
        )
    };
    for (value, from) in [("true", "auto-mtls"), ("false", "BackendTLSPolicy/web/policy")] {
        let expected = json!({"client_tls_from": from});
        check(&[&client(), &server(1), &service(HTTP), &annotated(value)], "10.0.1.1:8080", None, &expected);
    }
}

/// `testdata/frontend-tls-invalid.yaml` of `pilot/pkg/config/kube/gateway`.
#[test]
fn a_listener_whose_ca_istio_cannot_read_is_left_out() {
    let managed = gateway_pod("", "").replace("istio: gw", "gateway.networking.k8s.io/gateway-name: gw");
    let gateway = |refs: &str| {
        let listener = "{name: https, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}}";
        let validation = format!("validation: {{caCertificateRefs: [{refs}]}}");
        let frontend =
            format!("frontend: {{default: {{{}}}}}", if refs.is_empty() { "" } else { &validation });
        let text = spec("Gateway", "gw", "web", &format!("listeners: [{listener}], tls: {{{frontend}}}"));
        text.replace("networking.istio.io", "gateway.networking.k8s.io")
    };
    for (refs, allowed) in [
        ("", json!(["tls"])),
        ("{name: ca}", json!(["mtls"])),
        ("{kind: ConfigMap, name: ca}", json!(["mtls"])),
        ("{kind: Secret, name: ca}", json!(["mtls"])),
        ("{kind: Service, name: ca}", json!([])),
        ("{name: ca}, {name: other}", json!([])),
    ] {
        let mesh = load(&[&managed, &gateway(refs)]);
        ask(&mesh, "10.0.0.1", "10.0.3.1:8443", None, &json!({"allowed": allowed}));
    }
}

#[test]
fn before_1_31_a_backend_tls_policy_is_the_oldest_rule() {
    let policy = backend_policy("group: '', kind: Service, name: server");
    let rule = spec("DestinationRule", "own", "web", "host: server, trafficPolicy: {tls: {mode: DISABLE}}");
    let mut mesh = load(&[&client(), &server(1), &service(HTTP), &policy, &rule]);
    let (own, theirs) = ("DestinationRule/web/own", "BackendTLSPolicy/web/policy");
    for (minor, from) in [(32, own), (31, own), (30, theirs)] {
        mesh.control_plane.version = IstioVersion::new(1, minor);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls_from": from}));
    }
}

#[test]
fn a_tcp_entry_without_addresses_takes_its_whole_port() {
    let rule =
        spec("DestinationRule", "api", "web", "host: api.example.com, trafficPolicy: {tls: {mode: SIMPLE}}");
    let tcp = "{number: 9000, name: tcp, protocol: TCP}";
    let taken = json!({"client_tls": "SIMPLE", "client_wire": ["tls"], "protocol": "TCP"});
    let unknown = json!({"client_tls": null, "client_wire": all(), "protocol": null});
    for (ports, more, expected) in [
        (tcp, "", &taken),
        (tcp, ", resolution: DNS", &taken),
        (tcp, ", addresses: [192.0.2.9]", &unknown),
        (tcp, ", resolution: STATIC, endpoints: [{address: 192.0.2.9}]", &unknown),
        ("{number: 9000, name: http, protocol: HTTP}", "", &unknown),
        ("{number: 9001, name: tcp, protocol: TCP}", "", &unknown),
    ] {
        check(&[&client(), &outside(ports, more), &rule], "192.0.2.1:9000", None, expected);
    }
}

#[test]
fn one_entry_with_two_ports_for_443_is_meant_by_the_one_that_originates_tls() {
    let entry = outside(
        "{number: 80, name: http, protocol: HTTP, targetPort: 443}, {number: 443, name: https, protocol: HTTPS}",
        ", resolution: STATIC, endpoints: [{address: 192.0.2.9}]",
    );
    let rule = spec(
        "DestinationRule",
        "api",
        "web",
        "host: api.example.com, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}",
    );
    let originated = json!({"client_tls": "SIMPLE", "client_wire": ["tls"], "sni": "api.example.com"});
    check(&[&client(), &entry, &rule], "192.0.2.9:443", None, &originated);
    let as_it_is = json!({"client_tls": null, "client_wire": ["tls", "mtls"]});
    check(&[&client(), &entry], "192.0.2.9:443", None, &as_it_is);
}

#[test]
fn the_request_s_host_is_the_sni_where_the_rule_has_none() {
    let rule = |sni: &str| {
        let tls = format!("tls: {{mode: SIMPLE{sni}}}");
        spec("DestinationRule", "api", "web", &format!("host: '*.example.com', trafficPolicy: {{{tls}}}"))
    };
    let entry = |host: &str, protocol: &str| {
        let ports = format!("ports: [{{number: 443, name: p, protocol: {protocol}}}]");
        spec("ServiceEntry", "api", "web", &format!("hosts: ['{host}'], {ports}, addresses: [192.0.2.9]"))
    };
    for (host, protocol, sni, expected) in [
        ("api.example.com", "HTTP", "", Some("api.example.com")),
        ("api.example.com", "HTTP", ", sni: other", Some("other")),
        ("api.example.com", "TCP", "", None),
        ("*.example.com", "HTTP", "", None),
    ] {
        let documents = [&client(), &entry(host, protocol), &rule(sni)].map(String::clone);
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        check(&documents, "192.0.2.9:443", None, &json!({"client_tls": "SIMPLE", "sni": expected}));
    }
    // What a gateway sends to an HTTPS port are requests that it routed; a sidecar's application sent TLS there.
    let router = "containers: [{name: istio-proxy, args: [proxy, router]}]";
    let gateway = pod("gw-0", "10.0.0.1", ", labels: {istio: gw}", router);
    for (client, expected) in [(gateway, Some("api.example.com")), (client(), None)] {
        let documents = [&client, &entry("api.example.com", "HTTPS"), &rule("")].map(String::clone);
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        check(&documents, "192.0.2.9:443", None, &json!({"client_tls": "SIMPLE", "sni": expected}));
    }
    // A Service of Kubernetes has several names: which one the request has is not known.
    let rule = spec("DestinationRule", "own", "web", "host: server, trafficPolicy: {tls: {mode: SIMPLE}}");
    let expected = json!({"client_tls": "SIMPLE", "sni": null});
    check(&[&client(), &server(1), &service(HTTP), &rule], "10.0.1.1:8080", None, &expected);
}

fn slice(ready: &str) -> String {
    object(
        "EndpointSlice",
        "server-x",
        "web",
        ", labels: {kubernetes.io/service-name: server}",
        &format!(
            "addressType: IPv4\nendpoints: [{{addresses: [10.0.1.1], conditions: {{{ready}}}, \
             targetRef: {{kind: Pod, name: server-1, namespace: web}}}}]\nports: [{{name: http, port: 8080}}]"
        ),
    )
}

#[test]
fn proxies_send_to_ready_endpoints_only() {
    let documents = [client(), server(1), service(HTTP)];
    let [client, server, service] = &documents;
    let sent = json!({"client_tls": "ISTIO_MUTUAL", "client_tls_from": "auto-mtls", "protocol": "HTTP"});
    let unknown = json!({"client_tls": null, "client_tls_from": "default", "protocol": "HTTP"});
    for (ready, expected) in [("ready: true", &sent), ("", &sent), ("ready: false", &unknown)] {
        check(&[client, server, service, &slice(ready)], "10.0.1.1:8080", None, expected);
    }
    // A headless service's endpoint is what the client dialled.
    let headless = service.replace("10.96.0.2", "None");
    check(&[client, server, &headless, &slice("ready: false")], "10.0.1.1:8080", None, &sent);
}

#[test]
fn an_ambient_pod_may_leave_inbound_connections_to_its_application() {
    let strict = spec("PeerAuthentication", "strict", "web", "mtls: {mode: STRICT}");
    let pod = |bypass: &str| {
        let metadata = format!(
            ", annotations: {{ambient.istio.io/redirection: enabled, ambient.istio.io/bypass-inbound-capture: '{bypass}'}}"
        );
        pod("edge-0", "10.0.1.9", &metadata, BARE)
    };
    let open = json!({"server_mode": null, "server_mode_from": "default", "allowed": all()});
    let closed = json!({"server_mode": "STRICT", "allowed": []});
    for (bypass, expected) in [("true", &open), ("false", &closed)] {
        let mesh = load(&[&client(), &pod(bypass), &strict]);
        ask(&mesh, "10.0.0.1", "10.0.1.9:8080", None, expected);
        ask(&mesh, "10.0.0.1", "10.0.1.9:15008", None, &json!({"allowed": ["mtls"]}));
    }
}

#[test]
fn a_sidecar_s_ingress_tls_takes_the_switch_and_the_mode() {
    let sidecar = |mode: &str| {
        let tls =
            format!("tls: {{mode: {mode}, serverCertificate: /c, privateKey: /k, caCertificates: /ca}}");
        let port = "port: {number: 8080, protocol: HTTPS, name: https}";
        spec(
            "Sidecar",
            "server",
            "web",
            &format!(
                "workloadSelector: {{labels: {{app: server}}}}, ingress: [{{{port}, defaultEndpoint: '127.0.0.1:8080', {tls}}}]"
            ),
        )
    };
    let policy = |mode: &str| spec("PeerAuthentication", "own", "web", &format!("mtls: {{mode: {mode}}}"));
    let on = "{name: ENABLE_TLS_ON_SIDECAR_INGRESS, value: 'true'}";
    for (env, mode, tls, allowed, istio) in [
        (on, "DISABLE", "SIMPLE", json!(["tls"]), "none"),
        (on, "DISABLE", "MUTUAL", json!(["mtls"]), "none"),
        (on, "PERMISSIVE", "SIMPLE", all(), "accepted"),
        ("", "DISABLE", "SIMPLE", all(), "unterminated"),
    ] {
        let documents = [client(), server(1), sidecar(tls), policy(mode), istiod("1.30.3", env)];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        let expected = json!({"server_mode": mode, "allowed": allowed, "istio_mtls": istio});
        check(&documents, "10.0.1.1:8080", None, &expected);
    }
}

#[test]
fn since_1_30_a_client_does_not_know_the_policies_of_a_hidden_namespace() {
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
    let off = spec("PeerAuthentication", "off", "far", "mtls: {mode: DISABLE}");
    let sidecar = |hosts: &str| spec("Sidecar", "own", "web", &format!("egress: [{{hosts: [{hosts}]}}]"));
    let routes = spec(
        "VirtualService",
        "far",
        "web",
        "hosts: [far.example.com], http: [{route: [{destination: {host: far.far.svc.cluster.local}}]}]",
    );
    for (hosts, minor, tls) in [
        ("./*", 30, "ISTIO_MUTUAL"),
        ("./*", 29, "DISABLE"),
        ("'./*', 'far/*'", 30, "DISABLE"),
        ("'*/*'", 30, "DISABLE"),
    ] {
        let mut mesh = load(&[&client(), &far, &service, &off, &sidecar(hosts), &routes]);
        mesh.control_plane.version = IstioVersion::new(1, minor);
        ask(&mesh, "10.0.0.1", "10.0.2.1:8080", None, &json!({"client_tls": tls, "server_mode": "DISABLE"}));
    }
}

#[test]
fn a_proxy_s_own_certificates_take_the_place_of_the_mesh_s() {
    let env = "env: [{name: ISTIO_META_TLS_CLIENT_CERT_CHAIN, value: /etc/cert.pem}]";
    let spec_of = |env: &str| {
        format!("containers: [{{name: app}}, {{name: istio-proxy, args: [proxy, sidecar], {env}}}]")
    };
    let labels = ", labels: {app: client}";
    let by_env = pod("client-0", "10.0.0.1", labels, &spec_of(env));
    let annotated = pod(
        "client-0",
        "10.0.0.1",
        ", annotations: {proxy.istio.io/config: 'proxyMetadata: {ISTIO_META_TLS_CLIENT_CERT_CHAIN: /c}'}",
        &spec_of("env: []"),
    );
    let plain = pod("client-0", "10.0.0.1", labels, &spec_of("env: []"));
    let rule = |host: &str, mode: &str| {
        let tls = format!("tls: {{mode: {mode}, sni: named}}");
        spec("DestinationRule", "own", "web", &format!("host: '{host}', trafficPolicy: {{{tls}}}"))
    };
    let entry = outside("{number: 443, name: http, protocol: HTTP}", ", addresses: [192.0.2.9]");
    for (client, tls) in [(&by_env, "MUTUAL"), (&annotated, "MUTUAL"), (&plain, "ISTIO_MUTUAL")] {
        let (server, service) = (server(1), service(HTTP));
        let auto = json!({
            "client_tls": tls, "client_tls_from": "auto-mtls",
            "sni": "outbound_.80_._.server.web.svc.cluster.local",
        });
        check(&[client, &server, &service], "10.0.1.1:8080", None, &auto);
        let named = json!({"client_tls": tls, "sni": "named"});
        check(&[client, &server, &service, &rule("server", "ISTIO_MUTUAL")], "10.0.1.1:8080", None, &named);
        let simple = json!({"client_tls": "SIMPLE"});
        check(&[client, &server, &service, &rule("server", "SIMPLE")], "10.0.1.1:8080", None, &simple);
        // What is outside has its own authorities.
        let outside = json!({"client_tls": "ISTIO_MUTUAL"});
        check(&[client, &entry, &rule("*.example.com", "ISTIO_MUTUAL")], "192.0.2.9:443", None, &outside);
    }
}

#[test]
fn mutual_without_any_certificate_is_no_tls() {
    // As it comes from a cluster: a file that says so never gets into one.
    let rule = |fields: &str| {
        let spec = format!("spec: {{host: server, trafficPolicy: {{tls: {{mode: MUTUAL{fields}}}}}}}");
        object("DestinationRule", "own", "web", ", uid: a", &spec)
    };
    for (fields, tls, wire) in [
        ("", "DISABLE", json!(["plaintext"])),
        (", caCertificates: /ca", "DISABLE", json!(["plaintext"])),
        (", clientCertificate: /c, privateKey: /k", "MUTUAL", json!(["mtls"])),
        (", credentialName: 'configmap://web/cert'", "MUTUAL", json!(["mtls"])),
    ] {
        let expected =
            json!({"client_tls": tls, "client_tls_from": "DestinationRule/web/own", "client_wire": wire});
        check(&[&client(), &server(1), &service(HTTP), &rule(fields)], "10.0.1.1:8080", None, &expected);
    }
}

fn gateway_pod(env: &str, more: &str) -> String {
    let container = format!("{{name: istio-proxy, args: [proxy, router], env: [{env}]}}");
    pod("gw-0", "10.0.3.1", ", labels: {istio: gw}", &format!("containers: [{container}]{more}"))
}

fn gateway(metadata: &str, selector: &str, port: u16) -> String {
    let server = format!("{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*']}}");
    object(
        "Gateway",
        "gw",
        "web",
        metadata,
        &format!("spec: {{selector: {{{selector}}}, servers: [{server}]}}"),
    )
}

#[test]
fn an_unprivileged_gateway_opens_no_port_below_1024() {
    let gateway = gateway("", "istio: gw", 80);
    for (env, open) in [("", true), ("{name: ISTIO_META_UNPRIVILEGED_POD, value: 'true'}", false)] {
        let mesh = load(&[&gateway_pod(env, ""), &gateway]);
        let host = analyzer::policy::gateway::servers_on(&mesh, &mesh.pods[0], 80);
        assert_eq!(!host.is_empty(), open, "{env}");
    }
}

#[test]
fn a_gateway_of_the_host_network_need_not_declare_its_ports() {
    let pod = gateway_pod("", ", hostNetwork: true");
    let gateway = gateway("", "istio: gw", 8080);
    let expected = json!({"allowed": ["plaintext"]});
    let mesh = load(&[&pod, &gateway]);
    ask(&mesh, "10.0.0.1", "10.0.3.1:8080", None, &expected);
    ask(&mesh, "10.0.0.1", "10.0.3.1:8081", None, &json!({"gateway_server": null, "allowed": all()}));
}

fn ports_of_gateway(name: &str, metadata: &str, target: u16, age: u8) -> String {
    let ports = format!("ports: [{{number: 80, targetPort: {target}, name: http, protocol: HTTP}}]");
    let endpoints = "endpoints: [{address: 10.0.3.1, labels: {istio: gw}}]";
    object(
        "ServiceEntry",
        name,
        "web",
        &format!(", creationTimestamp: '2026-01-0{age}T00:00:00Z'{metadata}"),
        &format!(
            "spec: {{hosts: [{name}.example.com], {ports}, resolution: STATIC, location: MESH_INTERNAL, {endpoints}}}"
        ),
    )
}

/// `gateway_simulation_test.go`, `TestDisablePortTranslation` and `TestTargetPort`.
#[test]
fn a_gateway_s_port_is_looked_up_in_what_leads_to_its_pod() {
    let disabled = ", labels: {experimental.istio.io/disable-gateway-port-translation: 'true'}";
    let first = ports_of_gateway("a", disabled, 8081, 1);
    let second = ports_of_gateway("b", "", 8080, 2);
    let third = ports_of_gateway("c", "", 8082, 3);
    let mesh = load(&[&gateway_pod("", ""), &gateway("", "istio: gw", 80), &first, &second, &third]);
    let served = json!({"allowed": ["plaintext"]});
    let nothing = json!({"allowed": [], "gateway_server": null});
    for (port, expected) in [(8080, &served), (8081, &nothing), (8082, &nothing), (80, &nothing)] {
        ask(&mesh, "10.0.0.1", &format!("10.0.3.1:{port}"), None, expected);
    }
    // A Gateway that names its Services has all of their ports, and no other.
    let named = ", annotations: {internal.istio.io/gateway-service: 'b.example.com,c.example.com'}";
    for (number, open) in [(80, true), (443, false)] {
        let mesh = load(&[&gateway_pod("", ""), &gateway(named, "", number), &first, &second, &third]);
        let expected = if open { &served } else { &nothing };
        ask(&mesh, "10.0.0.1", "10.0.3.1:8080", None, expected);
        ask(&mesh, "10.0.0.1", "10.0.3.1:8082", None, expected);
        ask(&mesh, "10.0.0.1", "10.0.3.1:443", None, &nothing);
    }
}

#[test]
fn gateways_may_be_bound_to_their_namespace() {
    let gateway = gateway("", "istio: gw", 8080).replace("namespace: web", "namespace: other");
    let on = "{name: PILOT_SCOPE_GATEWAY_TO_NAMESPACE, value: 'true'}";
    for (env, allowed) in [("", json!(["plaintext"])), (on, json!([]))] {
        let mesh = load(&[&gateway_pod("", ""), &gateway, &istiod("1.30.3", env)]);
        ask(&mesh, "10.0.0.1", "10.0.3.1:8080", None, &json!({"allowed": allowed}));
    }
}

/// `cluster_tls_test.go`, `TestApplyUpstreamTLSSettingsHBONE`: HBONE is outermost, whatever a rule puts inside.
#[test]
fn a_rule_s_own_tls_goes_inside_hbone() {
    let ambient = ", labels: {app: server}, annotations: {ambient.istio.io/redirection: enabled}";
    let server = pod("server-1", "10.0.1.1", ambient, BARE);
    let rule = |mode: &str| {
        spec(
            "DestinationRule",
            "own",
            "web",
            &format!("host: server, trafficPolicy: {{tls: {{mode: {mode}}}}}"),
        )
    };
    let inside = json!({"client_tls_from": "hbone", "client_wire": ["mtls"], "conflict": false});
    for mode in ["DISABLE", "SIMPLE", "ISTIO_MUTUAL"] {
        check(&[&client(), &server, &service(HTTP), &rule(mode)], "10.0.1.1:8080", None, &inside);
    }
    let without = istiod("1.30.3", "{name: PILOT_ENABLE_AMBIENT, value: 'false'}");
    let plain = json!({"client_tls": "DISABLE", "client_wire": ["plaintext"]});
    check(&[&client(), &server, &service(HTTP), &rule("DISABLE"), &without], "10.0.1.1:8080", None, &plain);
}

/// `sidecar_simulation_test.go`, `TestLoop`.
#[test]
fn a_direct_call_to_a_redirect_target_is_dropped() {
    for port in [15001, 15006] {
        let expected = json!({"server_mode": null, "allowed": [], "istio_mtls": "none"});
        check(&[&client(), &server(1)], &format!("10.0.1.1:{port}"), None, &expected);
    }
}

#[test]
fn a_workload_outside_kubernetes_is_a_client_with_a_proxy() {
    let entry = |more: &str| {
        spec("WorkloadEntry", "vm-0", "web", &format!("address: 10.1.0.1, labels: {{app: vm}}{more}"))
    };
    let mutual = json!({"client_tls": "ISTIO_MUTUAL", "client_tls_from": "auto-mtls", "conflict": false});
    let bare = json!({"client_tls": null, "client_tls_from": "default"});
    for (more, expected) in [(", serviceAccount: vm", &mutual), ("", &bare)] {
        let mesh = load(&[&server(1), &service(HTTP), &entry(more)]);
        ask(&mesh, "10.1.0.1", "10.0.1.1:8080", None, expected);
    }
}

#[test]
fn a_service_selects_workloads_outside_kubernetes_too() {
    let entry = spec(
        "WorkloadEntry",
        "vm-0",
        "web",
        "address: 10.1.0.1, labels: {app: server}, serviceAccount: vm, ports: {http: 9080}",
    );
    let expected = json!({"client_tls": "ISTIO_MUTUAL", "server_mode": "PERMISSIVE", "protocol": "HTTP"});
    check(&[&client(), &service(HTTP), &entry], "10.1.0.1:9080", None, &expected);
    let unknown = json!({"client_tls": null, "server_mode": null});
    check(&[&client(), &service(HTTP), &entry], "10.1.0.1:8080", None, &unknown);
}

#[test]
fn labels_of_a_workload_entry_come_before_those_of_its_spec() {
    let entry = |outer: &str, inner: &str| {
        let spec = format!("spec: {{address: 10.1.0.1, labels: {{{inner}}}}}");
        object("WorkloadEntry", "vm-0", "web", &format!(", labels: {{{outer}}}"), &spec)
    };
    let mutual = json!({"client_tls": "ISTIO_MUTUAL", "client_tls_from": "auto-mtls"});
    let plain = json!({"client_tls": "DISABLE", "client_tls_from": "auto-mtls"});
    let unknown = json!({"client_tls": null, "client_tls_from": "default"});
    let (on, off) = ("security.istio.io/tlsMode: istio", "security.istio.io/tlsMode: disabled");
    for (outer, inner, expected) in [
        (format!("app: server, {on}"), "app: other".to_owned(), &mutual),
        (on.to_owned(), format!("app: server, {off}"), &mutual),
        (off.to_owned(), format!("app: server, {on}"), &plain),
        ("app: other".to_owned(), format!("app: server, {on}"), &unknown),
    ] {
        check(&[&client(), &service(HTTP), &entry(&outer, &inner)], "10.1.0.1:8080", None, expected);
    }
}

#[test]
fn a_virtual_address_promises_what_every_pod_keeps() {
    let bare = pod("server-2", "10.0.1.2", ", labels: {app: server}", BARE);
    let strict = spec("PeerAuthentication", "strict", "web", "mtls: {mode: STRICT}");
    let documents = [client(), server(1), service(HTTP), strict];
    let [client, server, service, strict] = &documents;
    let expected = json!({"istio_mtls": "required", "server_mode": "STRICT"});
    check(&[client, server, service, strict], "10.96.0.2:80", None, &expected);
    let expected = json!({"istio_mtls": "unterminated", "server_mode": null, "allowed": ["mtls"]});
    check(&[client, server, service, strict, &bare], "10.96.0.2:80", None, &expected);
}

#[test]
fn endpoints_follow_the_tls_block_above_a_port_entry_without_one() {
    let rule = |top: &str| {
        spec(
            "DestinationRule",
            "own",
            "web",
            &format!(
                "host: server, trafficPolicy: {{{top}portLevelSettings: [{{port: {{number: 80}}, loadBalancer: {{simple: RANDOM}}}}]}}"
            ),
        )
    };
    let bare = pod("server-2", "10.0.1.2", ", labels: {app: server}", BARE);
    for (top, with_proxy, without) in [
        ("", "ISTIO_MUTUAL", "DISABLE"),
        ("tls: {mode: DISABLE}, ", "DISABLE", "DISABLE"),
        ("tls: {mode: SIMPLE}, ", "DISABLE", "DISABLE"),
        // What the endpoint can do counts even so: `endpoint_builder.go`, `buildEnvoyLbEndpoint`.
        ("tls: {mode: ISTIO_MUTUAL}, ", "ISTIO_MUTUAL", "DISABLE"),
    ] {
        let mesh = load(&[&client(), &server(1), &bare, &service(HTTP), &rule(top)]);
        let expected = |tls: &str| json!({"client_tls": tls, "client_tls_from": "auto-mtls"});
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &expected(with_proxy));
        ask(&mesh, "10.0.0.1", "10.0.1.2:8080", None, &expected(without));
    }
}

#[test]
fn since_1_31_the_endpoints_of_a_subset_follow_the_top_too() {
    let rule = spec(
        "DestinationRule",
        "own",
        "web",
        "host: server, trafficPolicy: {tls: {mode: DISABLE}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]}, \
         subsets: [{name: v1, labels: {app: server}}]",
    );
    let mut mesh = load(&[&client(), &server(1), &service(HTTP), &rule]);
    let sni = Some("outbound_.80_.v1_.server.web.svc.cluster.local");
    for (minor, tls) in [(31, "DISABLE"), (30, "ISTIO_MUTUAL")] {
        mesh.control_plane.version = IstioVersion::new(1, minor);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", sni, &json!({"client_tls": tls}));
    }
}

#[test]
fn a_selector_without_labels_is_a_selector_all_the_same() {
    let rule = |selector: &str| {
        spec(
            "DestinationRule",
            "own",
            "shop",
            &format!(
                "host: server.web.svc.cluster.local{selector}, trafficPolicy: {{tls: {{mode: DISABLE}}}}"
            ),
        )
    };
    let server = server(1);
    let in_shop = service(HTTP).replace("namespace: web", "namespace: shop");
    let documents = [client(), server.replace("namespace: web", "namespace: shop"), in_shop];
    let [client, server, service] = &documents;
    for (selector, tls) in [("", "DISABLE"), (", workloadSelector: {matchLabels: {}}", "ISTIO_MUTUAL")] {
        let rule = rule(selector).replace("server.web", "server.shop");
        check(&[client, server, service, &rule], "10.0.1.1:8080", None, &json!({"client_tls": tls}));
        let at_home = rule.replace("namespace: shop", "namespace: web");
        check(&[client, server, service, &at_home], "10.0.1.1:8080", None, &json!({"client_tls": "DISABLE"}));
    }
}

#[test]
fn what_is_dialled_is_the_service_that_is_meant() {
    let near = service(HTTP).replace("name: server", "name: near");
    let far = spec(
        "Service",
        "far",
        "far",
        "clusterIP: 10.96.0.9, ports: [{name: http, port: 81, targetPort: 8080}]",
    );
    let slice = object(
        "EndpointSlice",
        "far-x",
        "far",
        ", labels: {kubernetes.io/service-name: far}",
        "addressType: IPv4\nendpoints: [{addresses: [10.0.1.1]}]\nports: [{name: http, port: 8080}]",
    );
    for (excluded, tls) in [("80", Value::Null), ("81", json!("ISTIO_MUTUAL"))] {
        let metadata =
            format!(", annotations: {{traffic.sidecar.istio.io/excludeOutboundPorts: '{excluded}'}}");
        let client = pod("client-0", "10.0.0.1", &metadata, PROXY);
        check(
            &[&client, &server(1), &far, &slice, &near],
            "10.0.1.1:8080",
            None,
            &json!({"client_tls": tls}),
        );
    }
}

#[test]
fn the_version_is_istiod_s_and_not_the_proxies() {
    let old = pod("old-0", "10.0.0.8", "", "containers: [{name: istio-proxy, image: 'istio/proxyv2:1.5.0'}]");
    assert_eq!(load(&[&old]).control_plane.version, IstioVersion::NEWEST);
    assert_eq!(load(&[&old, &istiod("1.29.6", "")]).control_plane.version, IstioVersion::new(1, 29));
    assert_eq!(load(&[&istiod("latest", "")]).control_plane.version, IstioVersion::NEWEST);
    let pinned = istiod("1.29.6@sha256:0123", "");
    assert_eq!(load(&[&pinned]).control_plane.version, IstioVersion::new(1, 29));
    let revision =
        istiod("latest", "").replace("name: istiod,", "name: istiod, labels: {istio.io/rev: 1-28-10},");
    assert_eq!(load(&[&revision]).control_plane.version, IstioVersion::new(1, 28));
}

#[test]
fn before_1_6_only_declared_container_ports_reach_the_sidecar() {
    let mut mesh = load(&[&client(), &server(1)]);
    let (enforced, open) = (json!({"server_mode": "PERMISSIVE"}), json!({"server_mode": null}));
    for (minor, port, expected) in [(5, 8080, &enforced), (5, 9090, &open), (6, 9090, &enforced)] {
        mesh.control_plane.version = IstioVersion::new(1, minor);
        ask(&mesh, "10.0.0.1", &format!("10.0.1.1:{port}"), None, expected);
    }
}

#[test]
fn before_1_10_ports_outside_every_service_refused_tls() {
    let mut mesh = load(&[&client(), &server(1), &service("{name: tcp, port: 90, targetPort: 9090}")]);
    for (minor, port, allowed) in
        [(9, 8080, json!(["plaintext", "mtls"])), (9, 9090, all()), (10, 8080, all())]
    {
        mesh.control_plane.version = IstioVersion::new(1, minor);
        ask(&mesh, "10.0.0.1", &format!("10.0.1.1:{port}"), None, &json!({"allowed": allowed}));
    }
}

#[test]
fn before_1_12_auto_mtls_asked_namespaces_only() {
    let off = spec(
        "PeerAuthentication",
        "off",
        "web",
        "selector: {matchLabels: {app: server}}, mtls: {mode: DISABLE}",
    );
    let mut mesh = load(&[&client(), &server(1), &service(HTTP), &off]);
    for (minor, tls) in [(11, "ISTIO_MUTUAL"), (12, "DISABLE")] {
        mesh.control_plane.version = IstioVersion::new(1, minor);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls": tls}));
    }
}

#[test]
fn one_endpoint_without_a_proxy_turns_a_headless_service_to_plaintext() {
    let bare = pod("server-2", "10.0.1.2", ", labels: {app: server}", BARE);
    let headless = service(HTTP).replace("10.96.0.2", "None");
    let on = "{name: PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES, value: 'true'}";
    for (version, env, tls) in
        [("1.30.3", "", "DISABLE"), ("1.7.0", "", "ISTIO_MUTUAL"), ("1.30.3", on, "ISTIO_MUTUAL")]
    {
        let documents = [client(), server(1), bare.clone(), headless.clone(), istiod(version, env)];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        check(&documents, "10.0.1.1:8080", None, &json!({"client_tls": tls}));
    }
}

#[test]
fn hbone_to_ambient_pods_takes_an_istiod_that_knows_it() {
    let metadata = ", labels: {app: server}, annotations: {ambient.istio.io/redirection: enabled}";
    let ambient = pod("server-1", "10.0.1.1", metadata, BARE);
    let off = "{name: PILOT_ENABLE_AMBIENT, value: 'false'}";
    for (env, tls, from) in [("", "ISTIO_MUTUAL", "hbone"), (off, "DISABLE", "auto-mtls")] {
        let mesh = load(&[&client(), &ambient, &service(HTTP), &istiod("1.30.3", env)]);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls": tls, "client_tls_from": from}));
    }
}

/// `cluster_tls_test.go`, `TestApplyUpstreamTLSSettingsHBONE`; istio/istio pull request 54914 (1.25) and issue 54921.
#[test]
fn hbone_takes_the_place_of_istio_mtls_where_the_client_has_endpoints() {
    let metadata = ", labels: {app: server}, annotations: {ambient.istio.io/redirection: enabled}";
    let ambient = pod("server-1", "10.0.1.1", metadata, BARE);
    let gateway = pod("client-0", "10.0.0.1", "", "containers: [{name: istio-proxy, args: [proxy, router]}]");
    let rule = |policy: &str| {
        spec("DestinationRule", "own", "web", &format!("host: server, trafficPolicy: {{{policy}}}"))
    };
    let mutual = rule("tls: {mode: ISTIO_MUTUAL}");
    let headless = service(HTTP).replace("10.96.0.2", "None");
    let from = |documents: &[&str], tls: &str, from: &str| {
        check(documents, "10.0.1.1:8080", None, &json!({"client_tls": tls, "client_tls_from": from}));
    };
    for client in [&client(), &gateway] {
        from(&[client, &ambient, &service(HTTP), &mutual], "ISTIO_MUTUAL", "hbone");
    }
    found("XC02", &[&client(), &ambient, &service(HTTP), &mutual], false);
    for (version, from, conflict) in [("1.24.6", "DestinationRule/web/own", true), ("1.25.0", "hbone", false)]
    {
        let documents = [&*client(), &ambient, &service(HTTP), &mutual, &istiod(version, "")];
        let expected = json!({"client_tls": "ISTIO_MUTUAL", "client_tls_from": from, "conflict": conflict});
        check(&documents, "10.0.1.1:8080", None, &expected);
        found("XC02", &documents, conflict);
    }
    // The address that the client dialled leads to no endpoint that tells of HBONE.
    from(&[&client(), &ambient, &headless], "DISABLE", "auto-mtls");
    from(&[&client(), &ambient, &headless, &mutual], "ISTIO_MUTUAL", "DestinationRule/web/own");
    from(&[&gateway, &ambient, &headless], "ISTIO_MUTUAL", "hbone");
    let passed = rule("loadBalancer: {simple: PASSTHROUGH}");
    from(&[&client(), &ambient, &service(HTTP), &passed], "DISABLE", "auto-mtls");
}

#[test]
fn a_sidecar_that_offers_both_is_reached_by_its_own_mtls() {
    let metadata =
        ", labels: {app: server, security.istio.io/tlsMode: istio, networking.istio.io/tunnel: http}";
    let both = pod("server-1", "10.0.1.1", metadata, PROXY);
    let on = "{name: PILOT_PREFER_SENDING_HBONE, value: 'true'}";
    for (env, from) in [("", "auto-mtls"), (on, "hbone")] {
        let mesh = load(&[&client(), &both, &service(HTTP), &istiod("1.30.3", env)]);
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls_from": from}));
    }
}

/// `cluster_waypoint.go`, `buildWaypointTLSContext`; `endpoint_builder.go`, `buildEnvoyLbEndpoint`.
#[test]
fn a_waypoint_speaks_hbone_or_what_a_rule_originates() {
    let labels = ", labels: {gateway.networking.k8s.io/gateway-name: way, gateway.networking.k8s.io/gateway-class-name: istio-waypoint}";
    let waypoint =
        pod("client-0", "10.0.0.1", labels, "containers: [{name: istio-proxy, args: [proxy, waypoint]}]");
    let sidecar = |tunnel: &str| {
        let labels = format!(", labels: {{app: server, security.istio.io/tlsMode: istio{tunnel}}}");
        pod("server-1", "10.0.1.1", &labels, PROXY)
    };
    let rule = |mode: &str, more: &str| {
        spec(
            "DestinationRule",
            "own",
            "web",
            &format!("host: server, trafficPolicy: {{tls: {{mode: {mode}{more}}}}}"),
        )
    };
    let strict = spec("PeerAuthentication", "own", "web", "mtls: {mode: STRICT}");
    let service = service(HTTP);
    let says = |documents: &[&str], tls: Value, from: &str, wire: Value, conflict: bool| {
        let expected =
            json!({"client_tls": tls, "client_tls_from": from, "client_wire": wire, "conflict": conflict});
        let all: Vec<&str> =
            [&*waypoint, &service, &strict].into_iter().chain(documents.iter().copied()).collect();
        check(&all, "10.0.1.1:8080", None, &expected);
    };
    let own = "DestinationRule/web/own";
    let (plain, tunnel) = (sidecar(""), sidecar(", networking.istio.io/tunnel: http"));
    says(&[&plain], json!(null), "default", json!(["plaintext"]), true);
    says(&[&tunnel], json!("ISTIO_MUTUAL"), "hbone", json!(["mtls"]), false);
    says(&[&tunnel, &rule("ISTIO_MUTUAL", "")], json!("ISTIO_MUTUAL"), "hbone", json!(["mtls"]), false);
    says(&[&plain, &rule("ISTIO_MUTUAL", "")], json!("DISABLE"), own, json!(["plaintext"]), true);
    says(&[&plain, &rule("SIMPLE", ", credentialName: ca")], json!("SIMPLE"), own, json!(["tls"]), true);
    says(&[&plain, &rule("MUTUAL", ", credentialName: own")], json!("MUTUAL"), own, json!(["mtls"]), false);
}

/// `conversion.go`, `convertWorkloadInstanceToServiceInstance`.
#[test]
fn a_service_entry_reaches_the_port_that_a_pod_names_alike() {
    let ports = "ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 9000}]";
    let containers =
        format!("containers: [{{name: app, {ports}}}, {{name: istio-proxy, args: [proxy, sidecar]}}]");
    let labels = ", labels: {app: server, security.istio.io/tlsMode: istio}";
    let server = pod("server-1", "10.0.1.1", labels, &containers);
    let entry = |port: &str| {
        let selector = "workloadSelector: {labels: {app: server}}";
        let rest = format!(
            "location: MESH_INTERNAL, resolution: STATIC, {selector}, ports: [{{{port}, protocol: HTTP}}]"
        );
        spec("ServiceEntry", "own", "web", &format!("hosts: [own.example.com], {rest}"))
    };
    for (port, wire) in [
        ("number: 80, name: http", 8080),
        ("number: 80, name: http, targetPort: 7777", 8080),
        ("number: 80, name: web, targetPort: 9000", 9000),
        ("number: 9000, name: web", 9000),
    ] {
        let reached = json!({"client_tls": "ISTIO_MUTUAL", "protocol": "HTTP"});
        check(&[&client(), &server, &entry(port)], &format!("10.0.1.1:{wire}"), None, &reached);
    }
}

#[test]
fn an_east_west_gateway_of_ztunnels_takes_hbone() {
    let labels = ", labels: {gateway.networking.k8s.io/gateway-name: ew, gateway.istio.io/managed: istio.io-eastwest-controller}";
    let gateway = pod("ew-1", "10.0.3.1", labels, "containers: [{name: istio-proxy}]");
    check(&[&client(), &gateway], "10.0.3.1:15008", None, &json!({"allowed": ["mtls"], "server_mode": null}));
    // `pilot/pkg/config/kube/gateway/testdata`, `east-west-ambient.yaml`: other listeners are like any gateway's.
    let listeners = "{name: mesh, port: 15008, protocol: HBONE, tls: {mode: Terminate, options: {gateway.istio.io/tls-terminate-mode: ISTIO_MUTUAL}}}, {name: tls, port: 6443, protocol: TLS, tls: {mode: Passthrough}}";
    let declared = |class: &str| {
        format!(
            "\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: ew, namespace: web}}\nspec: {{gatewayClassName: {class}, listeners: [{listeners}]}}\n"
        )
    };
    let waypoint = gateway.replace("eastwest-controller", "mesh-controller");
    for (pod, class, port, allowed) in [
        (&gateway, "istio-east-west", 15008, json!(["mtls"])),
        (&gateway, "istio-east-west", 6443, json!(["tls", "mtls"])),
        (&gateway, "istio-east-west", 6444, json!([])),
        (&waypoint, "istio-waypoint", 6443, json!([])),
    ] {
        let documents = [&*client(), pod, &declared(class)];
        check(&documents, &format!("10.0.3.1:{port}"), Some("a.example.com"), &json!({"allowed": allowed}));
    }
}

/// `serviceentry_simulation_test.go`, `TestServiceEntry`.
#[test]
fn of_overlapping_ranges_the_longest_prefix_is_meant() {
    let entry = |name: &str, addresses: &str| {
        let ports = "ports: [{number: 9999, name: tcp, protocol: TCP}]";
        spec(
            "ServiceEntry",
            name,
            "web",
            &format!("hosts: [{name}.somedomain], addresses: [{addresses}], {ports}"),
        )
    };
    let rule = |name: &str, mode: &str| {
        let tls = format!("tls: {{mode: {mode}}}");
        spec("DestinationRule", name, "web", &format!("host: {name}.somedomain, trafficPolicy: {{{tls}}}"))
    };
    let (one, two) = (rule("blah1", "DISABLE"), rule("blah2", "SIMPLE"));
    let wide = entry("blah1", "'1234:1f1:123:123:f816:3eff:feb8:2287/16'");
    let narrow = entry("blah2", "'1234:1f1:123:123:f816:3eff:febf:57ce/32'");
    let mesh = load(&[&client(), &wide, &narrow, &one, &two]);
    let to = "[1234:1f1:123:123:f816:3eff:febf:57ce]:9999";
    ask(&mesh, "10.0.0.1", to, None, &json!({"client_tls_from": "DestinationRule/web/blah2"}));
    let to = "[1234::1]:9999";
    ask(&mesh, "10.0.0.1", to, None, &json!({"client_tls_from": "DestinationRule/web/blah1"}));
    // An address that both have is the older one's.
    let (first, second) = (entry("blah1", "1.1.1.1"), entry("blah2", "2.2.2.2, 1.1.1.1"));
    let mesh = load(&[&client(), &first, &second, &one, &two]);
    for (to, name) in [("1.1.1.1:9999", "blah1"), ("2.2.2.2:9999", "blah2")] {
        let from = format!("DestinationRule/web/{name}");
        ask(&mesh, "10.0.0.1", to, None, &json!({"client_tls_from": from}));
    }
}

/// `sidecar_simulation_test.go`, `TestSidecarRoutes`.
#[test]
fn routes_of_a_namespace_that_is_not_imported_lead_to_no_subset() {
    let routes = spec(
        "VirtualService",
        "server",
        "other",
        "hosts: ['*.cluster.local'], http: [{route: [{destination: {host: server.web.svc.cluster.local, subset: v1}}]}]",
    );
    let rule = spec(
        "DestinationRule",
        "own",
        "web",
        "host: server, subsets: [{name: v1, labels: {app: server}, trafficPolicy: {tls: {mode: DISABLE}}}]",
    );
    let sidecar = |hosts: &str| spec("Sidecar", "own", "web", &format!("egress: [{{hosts: [{hosts}]}}]"));
    for (hosts, tls) in [
        ("'*/*'", "DISABLE"),
        ("'web/*', 'other/server.web.svc.cluster.local'", "DISABLE"),
        ("'web/*'", "ISTIO_MUTUAL"),
    ] {
        let documents = [client(), server(1), service(HTTP), routes.clone(), rule.clone(), sidecar(hosts)];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        check(&documents, "10.0.1.1:8080", None, &json!({"client_tls": tls}));
    }
}

/// `tls_test.go`, `TestMatchTLS` and `TestMatchTCP`; `route.go`, `sourceMatchHTTP`.
#[test]
fn a_route_for_other_clients_leads_nowhere() {
    let rule = spec(
        "DestinationRule",
        "own",
        "web",
        "host: server, subsets: [{name: v1, labels: {app: server}, trafficPolicy: {tls: {mode: DISABLE}}}]",
    );
    let (off, auto) = ("DISABLE", "ISTIO_MUTUAL");
    for (kind, ports, matches, tls) in [
        ("http", HTTP, "sourceNamespace: web", off),
        ("http", HTTP, "sourceNamespace: other", auto),
        ("http", HTTP, "sourceLabels: {app: client}", off),
        ("http", HTTP, "sourceLabels: {app: client, tier: front}", auto),
        ("http", HTTP, "sourceLabels: {app: other}}, {sourceNamespace: web", off),
        ("http", HTTP, "sourceLabels: {app: other}}, {uri: {prefix: /}", off),
        ("http", HTTP, "sourceLabels: {app: other}, gateways: [mesh]", off),
        ("tcp", "{name: tcp, port: 80, targetPort: 8080}", "sourceNamespace: web", off),
        ("tcp", "{name: tcp, port: 80, targetPort: 8080}", "sourceNamespace: other, gateways: [mesh]", auto),
        (
            "tls",
            "{name: tls, port: 80, targetPort: 8080}",
            "sniHosts: [server], sourceNamespace: other",
            auto,
        ),
    ] {
        let route = format!(
            "{kind}: [{{match: [{{{matches}}}], route: [{{destination: {{host: server, subset: v1}}}}]}}]"
        );
        let routes = spec("VirtualService", "own", "web", &format!("hosts: [server], {route}"));
        let documents = [client(), server(1), service(ports), rule.clone(), routes];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        check(&documents, "10.0.1.1:8080", None, &json!({"client_tls": tls}));
    }
}

/// `sidecar.go`, `serviceMatchingVirtualServicePorts`.
#[test]
fn a_virtual_service_brings_the_ports_that_it_names() {
    let far =
        |kind: &str, name: &str, more: &str| object(kind, name, "far", "", &format!("spec: {{{more}}}"));
    let server =
        pod("server-1", "10.0.1.1", ", labels: {app: server, security.istio.io/tlsMode: istio}", PROXY)
            .replace("namespace: web", "namespace: far");
    let ports = format!("{HTTP}, {{name: tcp, port: 90, targetPort: 9090}}");
    let service = far(
        "Service",
        "server",
        &format!("clusterIP: 10.96.0.2, selector: {{app: server}}, ports: [{ports}]"),
    );
    let sidecar = |port: &str| spec("Sidecar", "own", "web", &format!("egress: [{{hosts: ['./*']{port}}}]"));
    let routes = |port: &str| {
        let to = format!("destination: {{host: server.far.svc.cluster.local{port}}}");
        spec(
            "VirtualService",
            "own",
            "web",
            &format!("hosts: [own.example.com], http: [{{route: [{{{to}}}]}}]"),
        )
    };
    let entry = ", port: {number: 90, name: tcp, protocol: TCP}";
    for (listener, port, http, tcp) in [
        ("", "", true, true),
        ("", ", port: {number: 80}", true, false),
        ("", ", port: {number: 90}", false, true),
        (entry, "", false, true),
        (entry, ", port: {number: 80}", false, true),
    ] {
        let documents = [client(), server.clone(), service.clone(), sidecar(listener), routes(port)];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        for (wire, known) in [(8080, http), (9090, tcp)] {
            let tls = if known { json!("ISTIO_MUTUAL") } else { json!(null) };
            check(&documents, &format!("10.0.1.1:{wire}"), None, &json!({"client_tls": tls}));
        }
    }
}

/// `push_context.go`, `virtualServiceDestinationsFilteredBySourceNamespace`.
#[test]
fn a_virtual_service_brings_what_it_mirrors_to_and_what_its_routes_for_the_client_lead_to() {
    let far =
        |kind: &str, name: &str, more: &str| object(kind, name, "far", "", &format!("spec: {{{more}}}"));
    let server =
        pod("server-1", "10.0.1.1", ", labels: {app: server, security.istio.io/tlsMode: istio}", PROXY)
            .replace("namespace: web", "namespace: far");
    let service = far(
        "Service",
        "server",
        &format!("clusterIP: 10.96.0.2, selector: {{app: server}}, ports: [{HTTP}]"),
    );
    let sidecar = |port: &str| spec("Sidecar", "own", "web", &format!("egress: [{{{port}hosts: ['./*']}}]"));
    let to = |host: &str| format!("route: [{{destination: {{host: {host}}}}}]");
    let server_name = "server.far.svc.cluster.local";
    for (route, known) in [
        (to("own"), false),
        (format!("{}, mirror: {{host: {server_name}}}", to("own")), true),
        (format!("{}, mirrors: [{{destination: {{host: {server_name}}}}}]", to("own")), true),
        (format!("match: [{{sourceNamespace: web}}], {}", to(server_name)), true),
        (format!("match: [{{sourceNamespace: far}}], {}", to(server_name)), false),
        (format!("match: [{{sourceNamespace: far}}, {{}}], {}", to(server_name)), false),
        (format!("match: [{{sourceLabels: {{app: other}}}}], {}", to(server_name)), true),
    ] {
        let routes =
            spec("VirtualService", "own", "web", &format!("hosts: [own.example.com], http: [{{{route}}}]"));
        let tls = if known { json!("ISTIO_MUTUAL") } else { json!(null) };
        for port in ["", "port: {number: 80, protocol: HTTP, name: http}, "] {
            let documents = [&client(), &server, &service, &sidecar(port), &routes];
            let documents = documents.map(String::as_str);
            check(&documents, "10.0.1.1:8080", None, &json!({"client_tls": tls}));
        }
    }
}

#[test]
fn a_mirror_has_a_subset_like_any_destination() {
    let rule = spec(
        "DestinationRule",
        "own",
        "web",
        "host: server, subsets: [{name: v1, labels: {app: server}, trafficPolicy: {tls: {mode: DISABLE}}}]",
    );
    let route = "hosts: [other], http: [{route: [{destination: {host: other}}]";
    for (mirror, tls) in [
        ("", "ISTIO_MUTUAL"),
        (", mirror: {host: server, subset: v1}", "DISABLE"),
        (", mirrors: [{destination: {host: server, subset: v1}, percentage: {value: 5}}]", "DISABLE"),
    ] {
        let routes = spec("VirtualService", "own", "web", &format!("{route}{mirror}}}]"));
        check(
            &[&client(), &server(1), &service(HTTP), &rule, &routes],
            "10.0.1.1:8080",
            None,
            &json!({"client_tls": tls}),
        );
    }
}

#[test]
fn lint_asks_for_the_clients_that_routes_are_for() {
    let rule = spec(
        "DestinationRule",
        "own",
        "web",
        "host: server, subsets: [{name: v1, labels: {app: server}, trafficPolicy: {tls: {mode: DISABLE}}}]",
    );
    let strict = spec("PeerAuthentication", "strict", "web", "mtls: {mode: STRICT}");
    let one = |number: u8, namespace: &str, app: &str| {
        let labels = format!(", labels: {{app: {app}, security.istio.io/tlsMode: istio}}");
        pod(&format!("{app}-{number}"), &format!("10.0.2.{number}"), &labels, PROXY)
            .replace("namespace: web", &format!("namespace: {namespace}"))
    };
    let clients = [one(1, "any", "client"), one(2, "any", "odd"), one(3, "zone", "client")];
    for (matches, expected) in [
        ("sourceLabels: {app: odd}", true),
        ("sourceLabels: {app: none}", false),
        ("sourceNamespace: zone", true),
        ("sourceNamespace: none", false),
    ] {
        let name = "server.web.svc.cluster.local";
        let to = format!("route: [{{destination: {{host: {name}, subset: v1}}}}]");
        let routes = format!("hosts: [{name}], http: [{{match: [{{{matches}}}], {to}}}]");
        let routes = spec("VirtualService", "own", "web", &routes);
        let mut documents = vec![server(1), service(HTTP), rule.clone(), strict.clone(), routes];
        documents.extend(clients.clone());
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        found("XC01", &documents, expected);
    }
}

#[test]
fn a_backend_tls_policy_lies_under_rules_that_are_exported_alike() {
    let policy = backend_policy("group: '', kind: Service, name: server");
    let rule = |export: &str| {
        let policy = "trafficPolicy: {loadBalancer: {simple: RANDOM}}";
        spec("DestinationRule", "own", "web", &format!("host: server, {policy}{export}"))
    };
    for (export, tls) in
        [("", "SIMPLE"), (", exportTo: ['*']", "ISTIO_MUTUAL"), (", exportTo: [far]", "SIMPLE")]
    {
        check(
            &[&client(), &server(1), &service(HTTP), &policy, &rule(export)],
            "10.0.1.1:8080",
            None,
            &json!({"client_tls": tls}),
        );
    }
}

#[test]
fn a_name_that_several_namespaces_declare_is_known_by_one() {
    let entry = |namespace: &str, age: u8, ip: &str, more: &str| {
        let created = format!(", creationTimestamp: '2026-01-{age:02}T00:00:00Z'");
        let ports = "ports: [{number: 8000, name: http, protocol: HTTP}]";
        let rest = format!(
            "spec: {{hosts: [api.example.com], {ports}, location: MESH_INTERNAL, resolution: STATIC, endpoints: [{{address: {ip}, serviceAccount: vm}}]{more}}}"
        );
        object("ServiceEntry", "api", namespace, &created, &rest)
    };
    let sidecar = |egress: &str| spec("Sidecar", "default", "web", &format!("egress: [{egress}]"));
    let (known, unknown) = (json!({"client_tls": "ISTIO_MUTUAL"}), json!({"client_tls": null}));
    let (own, old, young) =
        (entry("web", 9, "10.1.0.1", ""), entry("b", 1, "10.1.0.2", ""), entry("a", 2, "10.1.0.3", ""));
    let near = entry("a", 2, "10.1.0.3", ", exportTo: [web]");
    let none = "\n".to_owned();
    for (entries, sidecar, expected) in [
        // The client's own namespace comes first, with a Sidecar that lists all or without one.
        ([&own, &old, &young], none.clone(), "10.1.0.1"),
        ([&own, &old, &young], sidecar("{hosts: ['*/*']}"), "10.1.0.1"),
        // Then the oldest, but before what all see what few do.
        ([&none, &old, &young], none.clone(), "10.1.0.2"),
        ([&none, &old, &near], none.clone(), "10.1.0.3"),
        // What the Sidecar leaves out displaces nothing.
        ([&own, &old, &young], sidecar("{hosts: ['a/*', 'b/*']}"), "10.1.0.2"),
        ([&own, &old, &young], sidecar("{hosts: ['a/*']}"), "10.1.0.3"),
        // Of a Sidecar's entries the first that lists the name counts.
        (
            [&none, &old, &young],
            sidecar("{port: {number: 8000}, hosts: ['a/*']}, {hosts: ['*/*']}"),
            "10.1.0.3",
        ),
        ([&none, &old, &young], sidecar("{port: {number: 1}, hosts: ['a/*']}, {hosts: ['*/*']}"), "10.1.0.2"),
    ] {
        let mesh = load(&[&client(), entries[0], entries[1], entries[2], &sidecar]);
        for ip in ["10.1.0.1", "10.1.0.2", "10.1.0.3"] {
            let answer = if ip == expected { &known } else { &unknown };
            ask(&mesh, "10.0.0.1", &format!("{ip}:8000"), None, answer);
        }
    }
}

#[test]
fn a_service_of_kubernetes_comes_before_entries_of_its_name() {
    let squatter = |namespace: &str| {
        let created = ", creationTimestamp: '2026-01-01T00:00:00Z'";
        let rest = "spec: {hosts: [server.web.svc.cluster.local], ports: [{number: 80, name: http, protocol: HTTP}], location: MESH_INTERNAL, resolution: STATIC, endpoints: [{address: 10.1.0.1, serviceAccount: vm}]}";
        object("ServiceEntry", "squatter", namespace, created, rest)
    };
    let other = "\napiVersion: v1\nkind: Pod\nmetadata: {name: client-9, namespace: far, labels: {security.istio.io/tlsMode: istio}}\nspec: {containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]}\nstatus: {podIP: 10.0.9.9}\n";
    let (known, unknown) = (json!({"client_tls": "ISTIO_MUTUAL"}), json!({"client_tls": null}));
    for (namespace, at_service, at_entry) in [("shop", &known, &unknown), ("far", &unknown, &known)] {
        let mesh = load(&[other, &server(1), &service(HTTP), &squatter(namespace)]);
        ask(&mesh, "10.0.9.9", "10.0.1.1:8080", None, at_service);
        ask(&mesh, "10.0.9.9", "10.1.0.1:80", None, at_entry);
    }
}
