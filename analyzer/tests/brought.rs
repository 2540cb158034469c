//! What brings connections to a proxy: redirection in the pod, and routes to a gateway.

mod meshes;

use meshes::{HTTP, PROXY, all, check, client, object, pod, server, service};
use serde_json::json;

#[test]
fn the_bytes_that_routes_bring_to_an_egress_gateway_are_those_of_their_kind() {
    let gateway = object(
        "Pod",
        "egress-0",
        "istio-system",
        ", labels: {istio: egress}",
        "spec: {containers: [{name: istio-proxy, args: [proxy, router]}]}\nstatus: {podIP: 10.0.1.9}",
    );
    let service = object(
        "Service",
        "egress",
        "istio-system",
        "",
        "spec: {clusterIP: 10.96.0.9, selector: {istio: egress}, ports: [{name: https, port: 443, targetPort: 8443}]}",
    );
    let routes = |kind: &str, conditions: &str| {
        let to = "route: [{destination: {host: egress.istio-system.svc.cluster.local, port: {number: 443}}}]";
        let spec =
            format!("spec: {{hosts: [api.example.com], {kind}: [{{match: [{{{conditions}}}], {to}}}]}}");
        object("VirtualService", "out", "web", "", &spec)
    };
    let elsewhere = "sourceLabels: {app: other}, port: 80";
    for (routes, wire) in [
        (routes("http", "port: 80"), json!(["plaintext"])),
        (routes("tls", "port: 443, sniHosts: [api.example.com]"), json!(["tls", "mtls"])),
        (routes("tcp", "port: 9000"), all()),
        // Without a route for this client the port's own protocol tells.
        (routes("http", elsewhere), json!(["tls", "mtls"])),
    ] {
        let expected = json!({"client_tls": "DISABLE", "client_tls_from": "auto-mtls", "client_wire": wire});
        check(&[&client(), &gateway, &service, &routes], "10.0.1.9:8443", None, &expected);
    }
}

#[test]
fn a_pod_that_does_not_say_is_redirected_as_the_mesh_says() {
    let config = |mode: &str| {
        format!(
            "\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    defaultConfig: {{interceptionMode: {mode}}}\n"
        )
    };
    let mode = |annotation: &str, mode: &str| format!(", annotations: {{{annotation}: '{mode}'}}");
    let own = "sidecar.istio.io/interceptionMode";
    let whole = "proxy.istio.io/config";
    let enforced = json!({"server_mode": "PERMISSIVE"});
    let open = json!({"server_mode": null});
    for (config, annotations, expected) in [
        (config("NONE"), String::new(), &open),
        (config("2"), String::new(), &open),
        (config("TPROXY"), String::new(), &enforced),
        (config("NONE"), mode(own, "REDIRECT"), &enforced),
        (config("REDIRECT"), mode(own, "NONE"), &open),
        (config("REDIRECT"), mode(whole, "interceptionMode: NONE"), &open),
        (config("NONE"), mode(whole, "interceptionMode: REDIRECT"), &enforced),
        (config("NONE"), mode(whole, "concurrency: 2"), &open),
    ] {
        let server = pod("server-1", "10.0.1.1", &format!(", labels: {{app: server}}{annotations}"), PROXY);
        check(&[&client(), &server, &config], "10.0.1.1:8080", None, expected);
    }
    // What the injector wrote tells too, and a client that is not redirected decides for itself.
    let proxy = "containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar], env: [{name: ISTIO_META_INTERCEPTION_MODE, value: NONE}]}]";
    let client = pod("client-0", "10.0.0.1", "", proxy);
    let expected = json!({"client_tls": null, "client_wire": all()});
    check(&[&client, &server(1), &service(HTTP)], "10.0.1.1:8080", None, &expected);
}
