//! Sidecars: what they list, and the ports that they open.

use serde_json::json;

use super::meshes::{CREATED, HTTP, ask, client, load_refused, object, server, service};

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
