//! Sidecars: what they list, and the ports that they open.

use analyzer::mesh::control_plane::IstioVersion;
use serde_json::json;

use super::meshes::{
    CREATED, HTTP, all, ask, check, client, found, istiod, load, load_refused, object, server, service, spec,
};

/// `sidecar_test.go`, `TestCreateSidecarScope`: a host of another form than `namespace/host` lists nothing.
#[test]
fn a_sidecar_lists_hosts_with_their_namespace_only() {
    let host = "server.web.svc.cluster.local";
    for (hosts, from) in [
        (format!("'web/{host}'"), "auto-mtls"),
        (format!("'*/{host}'"), "auto-mtls"),
        (format!("'{host}'"), "default"),
        ("'*'".to_owned(), "default"),
        (format!("'web/server/{host}'"), "default"),
        (format!("'{host}', './*'"), "auto-mtls"),
        (String::new(), "default"),
    ] {
        // Istio's webhook refuses the others: these were stored around it.
        let egress = format!("spec: {{egress: [{{hosts: [{hosts}]}}]}}");
        let sidecar = object("Sidecar", "own", "web", CREATED, &egress);
        let documents = [client(), server(1), service(HTTP), sidecar];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        ask(&load_refused(&documents), "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls_from": from}));
    }
}

/// Pull request 60581: since 1.31 `~` before the namespace leaves hosts out of what the same entry lists, and `~` alone stands for
/// every namespace. Before, such an entry listed nothing, and its webhook refused most of them.
#[test]
fn a_sidecar_leaves_hosts_out() {
    let (host, other) = ("server.web.svc.cluster.local", "other.web.svc.cluster.local");
    let routes = spec(
        "VirtualService",
        "own",
        "web",
        &format!("hosts: [www.example.com], http: [{{route: [{{destination: {{host: {host}}}}}]}}]"),
    );
    let port = "port: {number: 80, protocol: HTTP, name: http}";
    for (egress, more, minor, known) in [
        ("{hosts: ['*/*', '~web/*']}".to_owned(), "", 32, false),
        ("{hosts: ['~web/*', '*/*']}".to_owned(), "", 31, false),
        ("{hosts: ['*/*', '~./*']}".to_owned(), "", 32, false),
        (format!("{{hosts: ['*/*', '~web/{host}']}}"), "", 32, false),
        (format!("{{hosts: ['*/*', '~web/{other}']}}"), "", 32, true),
        (format!("{{hosts: ['*/*', '~/{host}']}}"), "", 32, false),
        ("{hosts: ['web/*', '~/*.web.svc.cluster.local']}".to_owned(), "", 32, false),
        ("{hosts: ['*/*', '~far/*']}".to_owned(), "", 32, true),
        ("{hosts: ['~far/*']}".to_owned(), "", 32, false),
        // Each entry leaves out of its own hosts alone, and what a route leads to is known by the route.
        (format!("{{{port}, hosts: ['web/*']}}, {{hosts: ['*/*', '~web/*']}}"), "", 32, true),
        (format!("{{hosts: ['*/*', '~web/{host}']}}"), &*routes, 32, true),
        ("{hosts: ['*/*', '~web/*']}".to_owned(), &*routes, 32, false),
        (format!("{{hosts: ['*/*', '~/{host}']}}"), "", 30, true),
    ] {
        let sidecar = spec("Sidecar", "own", "web", &format!("egress: [{egress}]"));
        let mut mesh = load(&[&client(), &server(1), &service(HTTP), &sidecar, more]);
        mesh.control_plane.version = IstioVersion::new(1, minor);
        let tls = known.then_some("ISTIO_MUTUAL");
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls": tls}));
    }
}

fn ingress(entry: &str) -> String {
    let ports = format!("ingress: [{{defaultEndpoint: '127.0.0.1:9', {entry}}}]");
    spec("Sidecar", "own", "web", &format!("workloadSelector: {{labels: {{app: server}}}}, {ports}"))
}

/// `listener_inbound.go`, `buildInboundChainConfigs` and `getBindToPort`: without redirection a proxy opens the ports of its
/// Sidecar's ingress list itself.
#[test]
fn a_sidecar_opens_its_ingress_ports_where_nothing_is_redirected() {
    let none = server(1).replace(
        "namespace: web,",
        "namespace: web, annotations: {sidecar.istio.io/interceptionMode: NONE},",
    );
    let strict = spec("PeerAuthentication", "own", "web", "mtls: {mode: STRICT}");
    let taken =
        json!({"server_mode": "STRICT", "allowed": ["mtls"], "istio_mtls": "required", "conflict": false});
    let open = json!({"server_mode": null, "allowed": all(), "istio_mtls": "unterminated", "conflict": true});
    let own = |number: u16| format!("port: {{number: {number}, protocol: HTTP, name: http}}");
    for (entry, expected) in [
        (own(8080), &taken),
        (format!("{}, captureMode: NONE", own(8080)), &taken),
        (format!("{}, bind: 0.0.0.0", own(8080)), &taken),
        (format!("{}, captureMode: IPTABLES", own(8080)), &open),
        (format!("{}, bind: 127.0.0.1", own(8080)), &open),
        (own(9090), &open),
    ] {
        let documents = [client(), none.clone(), service(HTTP), strict.clone(), ingress(&entry)];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        check(&documents, "10.0.1.1:8080", None, expected);
        found("XC07", &documents, *expected == open);
        found("PA07", &documents, *expected == open);
    }
    let documents = [client(), none, service(HTTP), strict];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    check(&documents, "10.0.1.1:8080", None, &open);
}

/// `listener_inbound.go`, `getFilterChainsByServicePort`.
#[test]
fn an_istiod_may_keep_the_services_ports_beside_an_ingress_list() {
    let other = ingress("port: {number: 9090, protocol: TCP, name: tcp}");
    let over = ingress("port: {number: 8080, protocol: TCP, name: tcp}");
    let on = "{name: PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE, value: 'true'}";
    for (env, sidecar, allowed, left_out) in [
        ("", &other, all(), true),
        (on, &other, json!(["plaintext", "mtls"]), false),
        (on, &over, all(), false),
    ] {
        let documents = [client(), server(1), service(HTTP), istiod("1.30.3", env), sidecar.clone()];
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        check(&documents, "10.0.1.1:8080", None, &json!({"allowed": allowed}));
        found("SC02", &documents, left_out);
    }
}
