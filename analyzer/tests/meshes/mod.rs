//! Small meshes written out, and one question about each.

#![allow(dead_code, reason = "each test takes what it needs")]
#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

use analyzer::explain::{Question, explain};
use analyzer::lint::lint;
use analyzer::mesh::{Manifest, Mesh};
use flow::Endpoint;
use serde_json::{Value, json};

pub(crate) const PROXY: &str =
    "containers: [{name: app, ports: [{containerPort: 8080}]}, {name: istio-proxy, args: [proxy, sidecar]}]";

pub(crate) const BARE: &str = "containers: [{name: app}]";

pub(crate) fn object(kind: &str, name: &str, namespace: &str, metadata: &str, rest: &str) -> String {
    let version = match kind {
        "Pod" | "Service" => "v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        "Deployment" => "apps/v1",
        "PeerAuthentication" => "security.istio.io/v1",
        "BackendTLSPolicy" => "gateway.networking.k8s.io/v1",
        _ => "networking.istio.io/v1",
    };
    format!(
        "\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}{metadata}}}\n{rest}\n"
    )
}

pub(crate) fn spec(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    object(kind, name, namespace, "", &format!("spec: {{{spec}}}"))
}

pub(crate) fn pod(name: &str, ip: &str, metadata: &str, spec: &str) -> String {
    object("Pod", name, "web", metadata, &format!("spec: {{{spec}}}\nstatus: {{podIP: {ip}}}"))
}

pub(crate) fn client() -> String {
    pod("client-0", "10.0.0.1", ", labels: {app: client, security.istio.io/tlsMode: istio}", PROXY)
}

pub(crate) fn server(number: u8) -> String {
    let metadata = ", labels: {app: server, security.istio.io/tlsMode: istio}";
    pod(&format!("server-{number}"), &format!("10.0.1.{number}"), metadata, PROXY)
}

pub(crate) fn service(ports: &str) -> String {
    spec(
        "Service",
        "server",
        "web",
        &format!("clusterIP: 10.96.0.2, selector: {{app: server}}, ports: [{ports}]"),
    )
}

pub(crate) const HTTP: &str = "{name: http, port: 80, targetPort: 8080}";

pub(crate) fn istiod(tag: &str, env: &str) -> String {
    let container = format!("{{name: discovery, image: 'docker.io/istio/pilot:{tag}', env: [{env}]}}");
    let template = format!("template: {{spec: {{containers: [{container}]}}}}");
    spec("Deployment", "istiod", "istio-system", &template)
}

pub(crate) fn load(documents: &[&str]) -> Mesh {
    let text = documents.join("---");
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]);
    assert_eq!(errors, []);
    mesh
}

/// Loads objects some of which Istio's webhook would refuse, which is told.
pub(crate) fn load_refused(documents: &[&str]) -> Mesh {
    Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text: documents.join("---") }]).0
}

/// Only a cluster's API server sets it.
pub(crate) const CREATED: &str = ", creationTimestamp: '2026-01-01T00:00:00Z'";

/// Demands that `lint` has, or has not, this finding.
#[track_caller]
pub(crate) fn found(id: &str, documents: &[&str], expected: bool) {
    let ids: Vec<String> = lint(&load(documents)).into_iter().map(|finding| finding.id).collect();
    assert_eq!(ids.iter().any(|own| own == id), expected, "{id} in {ids:?}");
}

/// What `explain` answers.
pub(crate) fn answer(mesh: &Mesh, from: &str, to: &str, sni: Option<&str>) -> Value {
    let to: std::net::SocketAddr = to.parse().unwrap();
    let question = Question {
        from: from.parse().unwrap(),
        to: Endpoint { ip: to.ip(), port: to.port() },
        sni: sni.map(str::to_owned),
    };
    serde_json::to_value(explain(mesh, &question)).unwrap()
}

#[track_caller]
pub(crate) fn ask(mesh: &Mesh, from: &str, to: &str, sni: Option<&str>, expected: &Value) {
    let answer = answer(mesh, from, to, sni);
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&answer[key], value, "{key} at {to}: {answer:#}");
    }
}

#[track_caller]
pub(crate) fn check(documents: &[&str], to: &str, sni: Option<&str>, expected: &Value) {
    ask(&load(documents), "10.0.0.1", to, sni, expected);
}

pub(crate) fn all() -> Value {
    json!(["plaintext", "tls", "mtls"])
}
