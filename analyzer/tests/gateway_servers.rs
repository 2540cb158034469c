//! Servers of Gateways that meet on one port, and the pods that they are for.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

mod meshes;

use analyzer::lint::lint;
use meshes::{answer, ask, istiod, load, object, pod, spec};
use serde_json::{Value, json};

const ROUTER: &str = "containers: [{name: istio-proxy, args: [proxy, router]}]";

fn router() -> String {
    pod("gw-0", "10.0.3.1", ", labels: {istio: gw}", ROUTER)
}

fn front() -> String {
    let ports = "{name: https, port: 443, targetPort: 8443}, {name: other, port: 8443, targetPort: 8443}";
    spec("Service", "gw", "web", &format!("clusterIP: 10.96.0.9, selector: {{istio: gw}}, ports: [{ports}]"))
}

fn gateway(name: &str, servers: &str) -> String {
    spec("Gateway", name, "web", &format!("selector: {{istio: gw}}, servers: [{servers}]"))
}

fn server(port: u16, protocol: &str, more: &str) -> String {
    format!("{{port: {{number: {port}, name: p, protocol: {protocol}}}{more}}}")
}

const ANY: &str = ", hosts: ['*']";

const TLS: &str = ", hosts: [a.example.com], tls: {mode: SIMPLE, credentialName: a}";

const REDIRECT: &str = ", hosts: [a.example.com], tls: {httpsRedirect: true}";

#[track_caller]
fn found(id: &str, documents: &[&str], expected: bool) {
    let ids: Vec<String> = lint(&load(documents)).into_iter().map(|finding| finding.id).collect();
    assert_eq!(ids.iter().any(|own| own == id), expected, "{id} in {ids:?}");
}

#[track_caller]
fn taken(documents: &[&str], to: &str, by: Option<&str>) {
    let answer = by.map_or(Value::Null, |name| json!(format!("Gateway/web/{name}")));
    let mesh = load(documents);
    let to: std::net::SocketAddr = to.parse().unwrap();
    let question = analyzer::explain::Question {
        from: [192, 0, 2, 1].into(),
        to: flow::Endpoint { ip: to.ip(), port: to.port() },
        sni: Some("a.example.com".to_owned()),
    };
    let explained = serde_json::to_value(analyzer::explain::explain(&mesh, &question)).unwrap();
    assert_eq!(explained.pointer("/gateway_server/from").unwrap_or(&Value::Null), &answer);
}

/// `gateway_test.go`, `TestMergeGateways`.
#[test]
fn of_servers_that_cannot_share_a_port_the_first_stays() {
    for (first, second, clash) in [
        (server(443, "HTTP", ANY), server(443, "HTTP2", ANY), false),
        (server(443, "HTTP", ANY), server(443, "TCP", ANY), true),
        (server(443, "TCP", ANY), server(443, "TCP", ANY), true),
        (server(443, "HTTP", ANY), server(443, "HTTPS", TLS), true),
        (server(443, "HTTPS", &TLS.replace("a.example.com", "'*'")), server(443, "HTTP", ANY), true),
        (server(443, "HTTPS", TLS), server(443, "TLS", TLS), true),
        (server(443, "HTTPS", TLS), server(443, "TLS", &TLS.replace("a.example", "b.example")), false),
        (server(443, "HTTP", REDIRECT), server(443, "HTTP", REDIRECT), true),
        (server(443, "HTTP", REDIRECT), server(443, "HTTP", ", hosts: [a.example.com]"), false),
        // Two numbers, and one port of the pod.
        (server(443, "TCP", ANY), server(8443, "HTTP", ANY), true),
        (server(443, "TCP", ANY), server(9443, "HTTP", ANY), false),
    ] {
        let documents = [router(), front(), gateway("a", &first), gateway("b", &second)];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        found("GW11", &documents, clash);
        taken(&documents, "10.0.3.1:8443", Some("a"));
    }
}

/// `gateway.go`, `mergeGateways`: only what comes before TLS keeps it from the port.
#[test]
fn plaintext_beside_tls_takes_what_is_for_none_of_its_names() {
    let tls = gateway("a", &server(443, "HTTPS", TLS));
    let plain = gateway("b", &server(443, "HTTP", ANY));
    let later = gateway("c", &server(443, "HTTPS", &TLS.replace("a.example", "c.example")));
    let documents = [router(), front(), tls, plain, later];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    found("GW11", &documents, false);
    for (sni, by, allowed) in [
        (Some("a.example.com"), "a", "tls"),
        (Some("c.example.com"), "c", "tls"),
        (Some("other.example.com"), "b", "plaintext"),
        (None, "b", "plaintext"),
    ] {
        let from = json!(format!("Gateway/web/{by}"));
        let answer = answer(&load(&documents), "192.0.2.1", "10.0.3.1:8443", sni);
        assert_eq!(
            (&answer["allowed"], &answer["gateway_server"]["from"]),
            (&json!([allowed]), &from),
            "{sni:?}"
        );
    }
}

#[test]
fn servers_that_are_bound_apart_do_not_meet() {
    let on = |bind: &str, more: &str| server(443, "HTTPS", &format!("{more}, bind: {bind}"));
    let plain = server(443, "HTTPS", TLS);
    for (bind, reached) in
        [("127.0.0.1", false), ("unix:///socket", false), ("0.0.0.0", true), ("10.0.3.1", true)]
    {
        let bound = on(&format!("'{bind}'"), TLS);
        // A socket has no number.
        let bound = if bind.starts_with("unix") { bound.replace("number: 443, ", "") } else { bound };
        let alone = [router(), front(), gateway("a", &bound)];
        let alone: Vec<&str> = alone.iter().map(String::as_str).collect();
        taken(&alone, "10.0.3.1:8443", reached.then_some("a"));
        let both = [router(), front(), gateway("a", &bound), gateway("b", &plain)];
        let both: Vec<&str> = both.iter().map(String::as_str).collect();
        taken(&both, "10.0.3.1:8443", Some(if reached { "a" } else { "b" }));
        found("GW11", &both, false);
    }
}

/// `gateway_simulation_test.go`, `TestGatewayServices`.
#[test]
fn a_gateway_names_services_of_its_own_namespace_only() {
    for (namespace, listens) in [("web", true), ("other", false)] {
        let entry = spec(
            "ServiceEntry",
            "front",
            namespace,
            "hosts: [front.example.com], ports: [{number: 443, name: p, protocol: HTTPS}], \
             resolution: STATIC, location: MESH_INTERNAL, endpoints: [{address: 10.0.3.1}]",
        );
        let named = ", annotations: {internal.istio.io/gateway-service: front.example.com}";
        let servers = format!("spec: {{servers: [{}]}}", server(443, "HTTPS", TLS));
        let gateway = object("Gateway", "a", "web", named, &servers);
        taken(&[&router(), &entry, &gateway], "10.0.3.1:443", listens.then_some("a"));
    }
}

#[test]
fn a_proxy_alone_that_a_gateway_selects_is_a_gateway() {
    let alone = |args: &str| {
        pod(
            "gw-0",
            "10.0.3.1",
            ", labels: {istio: gw}",
            &format!("containers: [{{name: istio-proxy{args}}}]"),
        )
    };
    let serving = gateway("a", &server(8443, "HTTPS", TLS));
    let (served, sidecar) = (json!({"server_mode": null}), json!({"server_mode": "PERMISSIVE"}));
    ask(&load(&[&alone(""), &serving]), "10.0.0.1", "10.0.3.1:8443", None, &served);
    ask(&load(&[&alone("")]), "10.0.0.1", "10.0.3.1:8443", None, &sidecar);
    let says = alone(", args: [proxy, sidecar]");
    ask(&load(&[&says, &serving]), "10.0.0.1", "10.0.3.1:8443", None, &sidecar);
}

#[test]
fn a_connection_without_a_name_may_meet_no_server() {
    let named = gateway("a", &server(443, "HTTPS", TLS));
    let any = gateway("b", &server(443, "HTTPS", &TLS.replace("a.example.com", "'*'")));
    let without = |documents: &[&str], found: Value| {
        ask(&load(documents), "10.0.0.1", "10.0.3.1:8443", None, &json!({"lint": found}));
    };
    without(&[&router(), &front(), &named], json!(["GW08"]));
    without(&[&router(), &front(), &named, &any], json!([]));
    let mesh = load(&[&router(), &front(), &named]);
    ask(&mesh, "10.0.0.1", "10.0.3.1:8443", Some("a.example.com"), &json!({"lint": []}));
}

#[test]
fn a_host_with_a_namespace_is_for_its_virtual_services() {
    let routes = |namespace: &str| {
        let route = "http: [{route: [{destination: {host: server.web.svc.cluster.local}}]}]";
        spec("VirtualService", "v", namespace, &format!("hosts: [a.example.com], gateways: [web/a], {route}"))
    };
    for (host, namespace, unserved) in [
        ("./a.example.com", "web", false),
        ("./a.example.com", "other", true),
        ("other/*", "other", false),
        ("other/*", "web", true),
        ("'*/a.example.com'", "other", false),
        ("a.example.com", "other", false),
    ] {
        let serving = gateway("a", &server(80, "HTTP", &format!(", hosts: [{host}]")));
        found("GW17", &[&serving, &routes(namespace)], unserved);
    }
}

/// `virtualservice_host_not_found_gateway.yaml` of Istio's analyzers.
#[test]
fn a_gateway_that_serves_none_of_the_hosts_is_bound_for_nothing() {
    let serving =
        |name: &str, host: &str| gateway(name, &server(443, "HTTPS", &TLS.replace("a.example.com", host)));
    let (api, home) = (serving("api", "'*.api.example.com'"), serving("home", "'*.home.example.com'"));
    let routes = |hosts: &str, gateways: &str| {
        let to = "http: [{route: [{destination: {host: server}}]}]";
        spec("VirtualService", "own", "web", &format!("hosts: [{hosts}], gateways: [{gateways}], {to}"))
    };
    for (hosts, gateways, nothing) in [
        ("a.api.example.com", "api", false),
        ("a.api.example.com", "api, home", true),
        ("a.api.example.com, a.home.example.com", "api, home", false),
        ("a.api.example.com", "mesh, api", false),
        ("a.api.example.com", "mesh, home", true),
        ("server", "mesh", false),
    ] {
        found("GW17", &[&api, &home, &routes(hosts, gateways)], nothing);
    }
}

#[test]
fn what_is_no_suite_is_offered_to_nobody() {
    for (suites, old) in [
        ("ECDHE-RSA-AES128-GCM-SHA256, fake", false),
        ("ECDHE-RSA-AES128-GCM-SHA256, ECDHE-RSA-AES128-SHA", true),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", false),
        ("DES-CBC3-SHA", true),
    ] {
        let tls = format!(
            ", hosts: [a.example.com], tls: {{mode: SIMPLE, credentialName: c, cipherSuites: [{suites}]}}"
        );
        found("GW12", &[&router(), &front(), &gateway("edge", &server(443, "HTTPS", &tls))], old);
    }
}

/// `PILOT_ENABLE_STRICT_GATEWAY_MERGING`, release notes of 1.31: what istiod made for a Gateway of the Gateway API takes no other
/// Gateway from another namespace.
#[test]
fn what_istiod_made_for_a_gateway_takes_none_of_another_namespace() {
    let made = pod(
        "gw-0",
        "10.0.3.1",
        ", labels: {istio: gw, gateway.istio.io/managed: istio.io-gateway-controller}",
        ROUTER,
    );
    let own = gateway("own", &server(8443, "HTTPS", TLS));
    let far = own.replace("namespace: web", "namespace: far");
    let off = "{name: PILOT_ENABLE_STRICT_GATEWAY_MERGING, value: 'false'}";
    for (pod, gateway, istiod, by) in [
        (&made, &own, String::new(), json!("Gateway/web/own")),
        (&made, &far, String::new(), Value::Null),
        (&made, &far, istiod("1.30.0", ""), json!("Gateway/far/own")),
        (&made, &far, istiod("1.31.0", off), json!("Gateway/far/own")),
        (&router(), &far, String::new(), json!("Gateway/far/own")),
    ] {
        let answer =
            answer(&load(&[pod, gateway, &istiod]), "192.0.2.1", "10.0.3.1:8443", Some("a.example.com"));
        assert_eq!(answer.pointer("/gateway_server/from").unwrap_or(&Value::Null), &by, "{istiod}");
    }
}

/// istio/istio issue 60562.
#[test]
fn a_listener_that_says_nothing_of_tls_takes_none() {
    let made = pod("gw-0", "10.0.3.1", ", labels: {gateway.networking.k8s.io/gateway-name: gw}", ROUTER);
    for (protocol, tls, opens) in [
        ("HTTPS", "", false),
        ("TLS", "", false),
        ("HTTPS", ", tls: {certificateRefs: [{name: a}]}", true),
        ("TLS", ", tls: {mode: Passthrough}", true),
        ("HTTP", "", true),
    ] {
        let listener = format!(
            "gatewayClassName: istio, listeners: [{{name: a, port: 8443, protocol: {protocol}{tls}}}]"
        );
        let gateway = spec("Gateway", "gw", "web", &listener)
            .replace("networking.istio.io/v1", "gateway.networking.k8s.io/v1");
        let answer = answer(&load(&[&made, &gateway]), "192.0.2.1", "10.0.3.1:8443", None);
        assert_eq!(answer.pointer("/gateway_server").is_some_and(Value::is_object), opens, "{listener}");
    }
}
