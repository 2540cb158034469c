//! Certificates and CAs of other namespaces: `pilot/pkg/config/kube/gateway/testdata`, `reference-policy-tls.yaml` and
//! `frontend-tls-refgrant.yaml`.

mod meshes;

use analyzer::mesh::{Manifest, Mesh};
use meshes::{ask, pod};
use serde_json::{Value, json};

/// The pod that istiod makes for the Gateway `edge`, in `web`.
fn router() -> String {
    let labels = ", labels: {gateway.networking.k8s.io/gateway-name: edge, gateway.istio.io/managed: istio.io-gateway-controller}";
    pod("edge-istio-1", "10.0.3.1", labels, "containers: [{name: istio-proxy, args: [proxy, router]}]")
}

fn api(version: &str, kind: &str, namespace: &str, spec: &str) -> String {
    format!(
        "\napiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: edge, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )
}

/// A listener on 8443, and one on 8080 that stays what it is.
fn listeners(tls: &str) -> String {
    let plain = "{name: http, port: 8080, protocol: HTTP}";
    format!("listeners: [{plain}, {{name: https, port: 8443, protocol: HTTPS, tls: {{{tls}}}}}]")
}

fn gateway(tls: &str, more: &str) -> String {
    api("v1", "Gateway", "web", &format!("gatewayClassName: istio{more}, {}", listeners(tls)))
}

fn grant(version: &str, namespace: &str, from: &str, to: &str) -> String {
    let from = format!("from: [{{group: gateway.networking.k8s.io, {from}}}]");
    api(version, "ReferenceGrant", namespace, &format!("{from}, to: [{{group: '', {to}}}]"))
}

const OF_CERTS: &str = "certificateRefs: [{name: cert, namespace: certs}]";

/// Asks what 8443 takes, and that it is told if it is left out.
#[track_caller]
fn check(documents: &[&str], allowed: &Value) {
    let text = [&[&*router()], documents].concat().join("---");
    let (mesh, notes) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]);
    ask(&mesh, "192.0.2.1", "10.0.3.1:8443", Some("a.example.com"), &json!({"allowed": allowed}));
    ask(&mesh, "192.0.2.1", "10.0.3.1:8080", None, &json!({"allowed": ["plaintext"]}));
    let said = notes.iter().filter(|note| note.message.contains("no ReferenceGrant of certs lets it use"));
    assert_eq!(said.count(), usize::from(*allowed == json!([])), "{notes:?}");
    // A cluster may well hold such a Gateway: nothing of it was left unread.
    assert!(notes.iter().all(|note| !note.fatal), "{notes:?}");
}

#[test]
fn a_certificate_of_another_namespace_takes_a_grant() {
    let edge = gateway(OF_CERTS, "");
    check(&[&edge], &json!([]));
    for version in ["v1", "v1beta1"] {
        for (namespace, from, to, granted) in [
            ("certs", "kind: Gateway, namespace: web", "kind: Secret", true),
            ("certs", "kind: Gateway, namespace: web", "kind: Secret, name: ''", true),
            ("certs", "kind: Gateway, namespace: web", "kind: Secret, name: cert", true),
            ("certs", "kind: Gateway, namespace: web", "kind: Secret, name: another", false),
            ("certs", "kind: Gateway, namespace: web", "kind: ConfigMap", false),
            ("certs", "kind: Gateway, namespace: other", "kind: Secret", false),
            ("certs", "kind: ListenerSet, namespace: web", "kind: Secret", false),
            ("web", "kind: Gateway, namespace: web", "kind: Secret", false),
        ] {
            let expected = if granted { json!(["tls"]) } else { json!([]) };
            check(&[&edge, &grant(version, namespace, from, to)], &expected);
        }
    }
}

#[test]
fn what_is_of_the_own_namespace_takes_none() {
    for tls in ["certificateRefs: [{name: cert}]", "certificateRefs: [{name: cert, namespace: web}]"] {
        check(&[&gateway(tls, "")], &json!(["tls"]));
    }
}

#[test]
fn every_certificate_of_a_listener_is_asked_for() {
    let edge = gateway("certificateRefs: [{name: own}, {name: cert, namespace: certs}]", "");
    check(&[&edge], &json!([]));
}

#[test]
fn a_ca_of_another_namespace_takes_a_grant() {
    let frontend = ", tls: {frontend: {default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca, namespace: certs}]}}}}";
    let edge = gateway("certificateRefs: [{name: cert}]", frontend);
    check(&[&edge], &json!([]));
    let from = "kind: Gateway, namespace: web";
    check(&[&edge, &grant("v1", "certs", from, "kind: ConfigMap, name: ca")], &json!(["mtls"]));
    check(&[&edge, &grant("v1", "certs", from, "kind: Secret")], &json!([]));
}

#[test]
fn a_listener_set_takes_grants_of_its_own() {
    let listeners = |name: &str| {
        format!("{{name: {name}, port: 8443, protocol: HTTPS, hostname: a.example.com, tls: {{{OF_CERTS}}}}}")
    };
    let edge = gateway("certificateRefs: [{name: cert}]", ", allowedListeners: {namespaces: {from: All}}")
        .replace("port: 8443", "port: 9443");
    let parent = "parentRef: {group: gateway.networking.k8s.io, kind: Gateway, name: edge, namespace: web}";
    let set = api("v1", "ListenerSet", "other", &format!("{parent}, listeners: [{}]", listeners("more")));
    check(&[&edge, &set], &json!([]));
    let of_gateway = grant("v1", "certs", "kind: Gateway, namespace: other", "kind: Secret");
    check(&[&edge, &set, &of_gateway], &json!([]));
    let of_set = grant("v1", "certs", "kind: ListenerSet, namespace: other", "kind: Secret");
    check(&[&edge, &set, &of_set], &json!(["tls"]));
}

#[test]
fn what_passes_through_uses_no_certificate() {
    let edge = gateway(&format!("mode: Passthrough, {OF_CERTS}"), "").replace("HTTPS", "TLS");
    let text = [&*router(), &*edge].join("---");
    let (_, notes) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]);
    assert!(notes.iter().all(|note| !note.message.contains("ReferenceGrant")), "{notes:?}");
}
