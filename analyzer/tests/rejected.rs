//! What Istio's webhook refuses has no effect, unless it is in the cluster all the same.

mod meshes;

use analyzer::lint::lint;
use analyzer::mesh::{Declared, Manifest, Mesh};
use analyzer::report::InputError;
use meshes::{HTTP, ask, client, object, server, service, spec};
use serde_json::json;

/// A policy for chosen ports of a whole namespace, which only a policy with a selector may have.
const PORTS: &str = "spec: {mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: STRICT}}}";

fn load(documents: &[&str]) -> (Mesh, Vec<InputError>) {
    Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text: documents.join("---") }])
}

#[test]
fn a_policy_that_istio_rejects_is_reported_and_has_no_effect() {
    let policy = object("PeerAuthentication", "default", "web", "", PORTS);
    let (mesh, errors) = load(&[&client(), &server(1), &service(HTTP), &policy]);
    ask(
        &mesh,
        "10.0.0.1",
        "10.0.1.1:8080",
        None,
        &json!({"server_mode": "PERMISSIVE", "server_mode_from": "default"}),
    );
    let said: Vec<_> = errors.iter().map(|error| (error.message.as_str(), error.fatal)).collect();
    let message = "PeerAuthentication/web/default: spec.portLevelMtls needs a selector with labels; Istio rejects it, so it has no effect and is left out";
    assert_eq!(said, [(message, true)]);
    // What mends it is told all the same, and nothing else is said of what is not there.
    let found: Vec<_> =
        lint(&mesh).into_iter().filter(|one| one.resource == "PeerAuthentication/web/default").collect();
    let ids: Vec<_> = found.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!(ids, ["PA01"]);
    assert!(found[0].yaml.as_deref().is_some_and(|yaml| yaml.contains("portLevelMtls")), "{found:?}");
}

#[test]
fn one_that_is_in_the_cluster_counts_as_istiod_reads_it() {
    for stored in ["uid: 4711", "resourceVersion: '12'", "creationTimestamp: '2026-01-01T00:00:00Z'"] {
        let policy = object("PeerAuthentication", "default", "web", &format!(", {stored}"), PORTS);
        let (mesh, errors) = load(&[&client(), &server(1), &service(HTTP), &policy]);
        assert_eq!(errors, [], "{stored}");
        ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"server_mode": "STRICT"}));
    }
    // Where no finding says it, a note does.
    let rule = "spec: {host: server, exportTo: ['*', shop], trafficPolicy: {tls: {mode: DISABLE}}}";
    let rule = object("DestinationRule", "own", "web", ", uid: 4711", rule);
    let (mesh, errors) = load(&[&client(), &server(1), &service(HTTP), &rule]);
    ask(&mesh, "10.0.0.1", "10.0.1.1:8080", None, &json!({"client_tls": "DISABLE"}));
    let [note] = errors.as_slice() else { panic!("{errors:?}") };
    assert!(!note.fatal && note.message.contains("yet it is in the cluster"), "{note:?}");
}

#[test]
fn a_gateway_goes_whole_for_one_server() {
    let gateway = |broken: &str| {
        let good = "{port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.b], tls: {mode: SIMPLE, credentialName: c}}";
        spec("Gateway", "front", "web", &format!("selector: {{istio: gw}}, servers: [{good}{broken}]"))
    };
    let (mesh, errors) = load(&[&gateway("")]);
    assert_eq!((mesh.gateways.len(), errors.as_slice()), (1, &[][..]));
    let broken = ", {port: {number: 444, name: b, protocol: HTTPS}, hosts: [c.d]}";
    let (mesh, errors) = load(&[&gateway(broken)]);
    assert_eq!((mesh.gateways.len(), errors.len()), (0, 1));
    let ids: Vec<_> = lint(&mesh).into_iter().map(|finding| finding.id).collect();
    assert_eq!(ids, ["GW01"]);
}

/// Objects that are read one by one, as a watch reads them, make the same mesh.
#[test]
fn what_is_rejected_is_rejected_one_by_one_too() {
    let policy = json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "web"},
        "spec": {"mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": "STRICT"}}}});
    let declared = Declared::read("a", &policy);
    let (mesh, errors) = Mesh::of_declared([&declared]);
    assert_eq!((mesh.peer_authentications.len(), errors.len()), (0, 1));
    let ids: Vec<_> = lint(&mesh).into_iter().map(|finding| finding.id).collect();
    assert_eq!(ids, ["PA01"]);
}
