//! What a client's own declarations and addresses come to.

use analyzer::mesh::control_plane::IstioVersion;
use serde_json::{Value, json};

use super::meshes::{
    BARE, HTTP, PROXY, all, ask, check, client, istiod, load, object, pod, server, service, spec,
};
use super::outside;

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
    // A pod may be labelled to be left as well, save by clients that keep to it.
    let draining = server.replace("app: server,", "app: server, istio.io/draining: 'true',");
    let sticky =
        service.replace("namespace: web", "namespace: web, labels: {istio.io/persistent-session: c}");
    let ready = slice("ready: true");
    check(&[client, &draining, service, &ready], "10.0.1.1:8080", None, &unknown);
    check(&[client, &draining, &sticky, &ready], "10.0.1.1:8080", None, &sent);
    // A headless service's endpoint is what the client dialled.
    let headless = service.replace("10.96.0.2", "None");
    check(&[client, server, &headless, &slice("ready: false")], "10.0.1.1:8080", None, &sent);
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

/// `sidecar_simulation_test.go`, `TestLoop`.
#[test]
fn a_direct_call_to_a_redirect_target_is_dropped() {
    for port in [15001, 15006] {
        let expected = json!({"server_mode": null, "allowed": [], "istio_mtls": "none"});
        check(&[&client(), &server(1)], &format!("10.0.1.1:{port}"), None, &expected);
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

/// `egress_sidecar_tls_origination_test.go`: an entry by DNS for the name of a Service finds that Service's address, and its own ports
/// and rules hold there.
#[test]
fn an_entry_that_asks_for_the_name_of_a_service_dials_its_address() {
    let host = "out.far.svc.cluster.local";
    let service = object(
        "Service",
        "out",
        "far",
        "",
        "spec: {clusterIP: 10.96.0.7, selector: {app: out}, ports: [{name: http, port: 80}, {name: https, port: 443}]}",
    );
    let server = object(
        "Pod",
        "out-0",
        "far",
        ", labels: {app: out}",
        "spec: {containers: [{name: app}]}\nstatus: {podIP: 10.0.7.1}",
    );
    let entry = |resolution: &str| {
        let ports = "ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}, {number: 443, name: https, protocol: HTTPS}]";
        spec("ServiceEntry", "out", "web", &format!("hosts: [{host}], {ports}, resolution: {resolution}"))
    };
    let tls =
        "tls: {mode: MUTUAL, clientCertificate: /c, privateKey: /k, caCertificates: /ca, sni: out.example}";
    let rule = spec(
        "DestinationRule",
        "out",
        "web",
        &format!("host: {host}, trafficPolicy: {{portLevelSettings: [{{port: {{number: 80}}, {tls}}}]}}"),
    );
    let originated = json!({"client_tls": "MUTUAL", "client_wire": ["mtls"], "sni": "out.example"});
    let unknown = json!({"client_tls": null, "client_tls_from": "default"});
    for to in ["10.96.0.7:443", "10.0.7.1:443"] {
        let documents = [&*client(), &*service, &*server, &*entry("DNS"), &*rule];
        check(&documents, to, None, &originated);
        // One that declares where it is leads elsewhere.
        let elsewhere = entry("DNS, endpoints: [{address: other.example}]");
        check(&[&*client(), &*service, &*server, &*elsewhere, &*rule], to, None, &unknown);
    }
}

/// Istio: `endpoint_builder.go`, `filterIstioEndpoint`: `internalTrafficPolicy: Local`.
#[test]
fn proxies_send_to_their_own_node_where_the_service_says_so() {
    let on = |pod: String, node: &str| match node {
        "" => pod,
        _ => pod.replacen("spec: {", &format!("spec: {{nodeName: {node}, "), 1),
    };
    let local = service(HTTP).replace("ports: [", "internalTrafficPolicy: Local, ports: [");
    let headless = local.replace("10.96.0.2", "None");
    let (known, unknown) = (json!({"client_tls_from": "auto-mtls"}), json!({"client_tls_from": "default"}));
    for (service, own, theirs, expected) in [
        (&local, "a", "a", &known),
        (&local, "a", "b", &unknown),
        (&service(HTTP), "a", "b", &known),
        // Here the client dials the endpoint.
        (&headless, "a", "b", &known),
        // Which node it is, is not known.
        (&local, "", "b", &known),
    ] {
        let documents = [on(client(), own), on(server(1), theirs), service.clone()];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        check(&documents, "10.0.1.1:8080", None, expected);
    }
}

/// `cluster_dfp_sidecar_test.go`, `TestSidecarDynamicDNSClusters`: there is no cluster for other protocols. Pull request 58688: nor
/// for any before 1.30, and `listener_dfp_test.go`: nor for gateways.
#[test]
fn sidecars_resolve_the_names_of_http_and_tls_requests() {
    let rule =
        spec("DestinationRule", "own", "web", "host: '*.example.com', trafficPolicy: {tls: {mode: SIMPLE}}");
    let router = client()
        .replace("args: [proxy, sidecar]", "args: [proxy, router]")
        .replace("{name: app, ports: [{containerPort: 8080}]}, ", "");
    for (client, protocol, minor, known) in [
        (client(), "HTTP", 32, true),
        (client(), "GRPC", 30, true),
        (client(), "TLS", 32, true),
        (client(), "HTTPS", 32, false),
        (client(), "TCP", 32, false),
        (client(), "TLS", 29, false),
        (router, "TLS", 32, false),
    ] {
        let entry = format!(
            "hosts: ['*.example.com'], resolution: DYNAMIC_DNS, ports: [{{number: 443, name: p, protocol: {protocol}}}]"
        );
        let mut mesh = load(&[&client, &spec("ServiceEntry", "own", "web", &entry), &rule]);
        mesh.control_plane.version = IstioVersion::new(1, minor);
        let tls = known.then_some("SIMPLE");
        ask(&mesh, "10.0.0.1", "203.0.113.9:443", Some("a.example.com"), &json!({"client_tls": tls}));
    }
}
