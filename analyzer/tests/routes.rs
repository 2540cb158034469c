//! Which routes lead a client to a host: by what they are bound to, whom they are exported to, and what they match.

mod meshes;

use meshes::{HTTP, answer, client, load, object, pod, server, service, spec};
use serde_json::json;

const SERVER: &str = "server.web.svc.cluster.local";

/// Two subsets of all endpoints: to `plain` clients send what the application does, to `whole` Istio mTLS.
fn subsets() -> String {
    let subset = |name: &str, more: &str| format!("{{name: {name}, labels: {{app: server}}{more}}}");
    let plain = subset("plain", ", trafficPolicy: {tls: {mode: DISABLE}}");
    spec(
        "DestinationRule",
        "server",
        "web",
        &format!("host: {SERVER}, subsets: [{plain}, {}]", subset("whole", "")),
    )
}

fn to(subset: &str) -> String {
    format!("route: [{{destination: {{host: {SERVER}, subset: {subset}}}}}]")
}

fn gateway(name: &str, app: &str) -> String {
    let server = "servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]";
    spec("Gateway", name, "web", &format!("selector: {{app: {app}}}, {server}"))
}

/// Whether a gateway's pod, or a sidecar, may send what the application does.
fn is_plain(documents: &[&str], from: &str, to: &str) -> bool {
    let router = "containers: [{name: istio-proxy, args: [proxy, router]}]";
    let router = pod("front-0", "10.0.0.9", ", labels: {app: front}", router);
    let ports = format!("{HTTP}, {{name: tcp, port: 90, targetPort: 9090}}");
    let (client, server, service, subsets) = (client(), server(1), service(&ports), subsets());
    let (front, other) = (gateway("front", "front"), gateway("other", "other"));
    let mut all = vec![client.as_str(), &router, &server, &service, &subsets, &front, &other];
    all.extend(documents);
    let wire = answer(&load(&all), from, to, None)["client_wire"].clone();
    wire.as_array().is_some_and(|wire| wire.contains(&json!("plaintext")))
}

const FRONT: &str = "10.0.0.9";
const SIDECAR: &str = "10.0.0.1";

#[test]
fn routes_are_for_the_gateways_that_they_name() {
    for (namespace, gateways, of_front, of_sidecar) in [
        ("web", "front", true, false),
        ("web", "web/front", true, false),
        ("web", "mesh, front", true, true),
        ("web", "mesh", false, true),
        ("web", "other", false, false),
        ("web", "shop/front", false, false),
        ("web", "web/back", false, false),
        // A name alone is that of a Gateway in the namespace of the routes.
        ("shop", "front", false, false),
        ("shop", "web/front", true, false),
    ] {
        let routes = format!("hosts: [{SERVER}], gateways: [{gateways}], http: [{{{}}}]", to("plain"));
        let routes = spec("VirtualService", "routes", namespace, &routes);
        let plain = |from| is_plain(&[&routes], from, "10.0.1.1:8080");
        assert_eq!((plain(FRONT), plain(SIDECAR)), (of_front, of_sidecar), "{namespace}: {gateways}");
    }
}

#[test]
fn a_match_may_be_for_some_gateways_and_some_clients_alone() {
    for (condition, of_front, of_sidecar) in [
        ("gateways: [front]", true, false),
        ("gateways: [mesh]", false, true),
        ("gateways: [other]", false, false),
        ("sourceLabels: {app: client}", false, true),
        ("sourceLabels: {app: front}", true, false),
        ("sourceNamespace: web", true, true),
        ("sourceNamespace: shop", false, false),
        ("port: 80", true, true),
        ("port: 81", true, false),
    ] {
        let own = format!(
            "hosts: [{SERVER}], gateways: [front, mesh], http: [{{match: [{{{condition}}}], {}}}, {{{}}}]",
            to("plain"),
            to("whole")
        );
        let routes = spec("VirtualService", "routes", "web", &own);
        let plain = |from| is_plain(&[&routes], from, "10.0.1.1:8080");
        assert_eq!((plain(FRONT), plain(SIDECAR)), (of_front, of_sidecar), "{condition}");
    }
}

#[test]
fn of_routes_of_bytes_those_for_fewer_are_asked_first_and_then_the_older() {
    let routes = |name: &str, age: u8, export: &str, subset: &str| {
        let created = format!(", creationTimestamp: '2026-01-{age:02}T00:00:00Z'");
        let routes = format!("spec: {{hosts: [{SERVER}], {export}tcp: [{{{}}}]}}", to(subset));
        object("VirtualService", name, "web", &created, &routes)
    };
    for (older, newer, takes_newer) in [
        ("", "", false),
        ("exportTo: ['*'], ", "exportTo: ['*'], ", false),
        ("exportTo: ['*'], ", "exportTo: ['.'], ", true),
        ("", "exportTo: ['.'], ", true),
        ("exportTo: ['*'], ", "exportTo: [web], ", true),
        ("exportTo: ['*'], ", "exportTo: [shop, web], ", true),
        ("exportTo: ['.'], ", "exportTo: [web], ", false),
        ("exportTo: ['.'], ", "", false),
    ] {
        let (older_routes, newer_routes) = (routes("a", 1, older, "whole"), routes("b", 2, newer, "plain"));
        let plain = is_plain(&[&older_routes, &newer_routes], SIDECAR, "10.0.1.1:9090");
        assert_eq!(plain, takes_newer, "{older}{newer}");
        // Routes of requests are none at such a port.
        let requests = routes("c", 3, "exportTo: ['.'], ", "plain").replace("tcp:", "http:");
        assert!(!is_plain(&[&routes("a", 1, older, "whole"), &requests], SIDECAR, "10.0.1.1:9090"));
    }
}

#[test]
fn what_routes_bring_to_an_egress_gateway_is_what_they_are_routes_of() {
    let router = "containers: [{name: istio-proxy, args: [proxy, router]}]";
    let egress = pod("egress-0", "10.0.0.8", ", labels: {app: egress}", router);
    let service = spec(
        "Service",
        "egress",
        "web",
        "clusterIP: 10.96.0.8, selector: {app: egress}, ports: [{name: tcp, port: 443, targetPort: 8443}]",
    );
    let wire = |routes: &str, export: &str| {
        let routes =
            spec("VirtualService", "routes", "web", &format!("hosts: [api.example.com], {export}{routes}"));
        let mesh = load(&[&client(), &egress, &service, &routes]);
        answer(&mesh, SIDECAR, "10.0.0.8:8443", None)["client_wire"].clone()
    };
    let to = |port: u16, host: &str| {
        format!("route: [{{destination: {{host: {host}, port: {{number: {port}}}}}}}]")
    };
    let requests = |port: u16, host: &str| format!("http: [{{{}}}]", to(port, host));
    let tls = format!("tls: [{{match: [{{sniHosts: [api.example.com]}}], {}}}]", to(443, "egress"));
    let (plaintext, all) = (json!(["plaintext"]), json!(["plaintext", "tls", "mtls"]));
    assert_eq!(wire(&requests(443, "egress"), ""), plaintext);
    assert_eq!(wire(&tls, ""), json!(["tls", "mtls"]));
    assert_eq!(wire(&format!("{tls}, {}", requests(443, "egress")), ""), all);
    // Routes that lead elsewhere, to another port, or that the client does not have, bring nothing here.
    assert_eq!(wire(&requests(444, "egress"), ""), all);
    assert_eq!(wire(&requests(443, "other"), ""), all);
    assert_eq!(wire(&requests(443, "egress"), "exportTo: [shop], "), all);
    assert_eq!(wire(&requests(443, "egress"), "gateways: [front], "), all);
}
