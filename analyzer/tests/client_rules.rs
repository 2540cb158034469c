//! Which DestinationRule acts for a client, over small meshes written out here.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

use analyzer::explain::{Question, explain};
use analyzer::mesh::{Manifest, Mesh};
use analyzer::report::Expected;
use flow::Endpoint;

const BASE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: client-0, namespace: web, labels: {app: client, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: shop-0, namespace: shop, labels: {app: shop, version: v1, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: shop}
spec: {clusterIP: 10.96.0.2, selector: {app: shop}, ports: [{name: http, port: 80, targetPort: 8080}]}
";

const HOST: &str = "shop.shop.svc.cluster.local";

fn rule(place: &str, name: &str, age: u8, spec: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {place}, creationTimestamp: '2026-01-{age:02}T00:00:00Z'}}
spec: {{{spec}}}
"
    )
}

fn tls(place: &str, name: &str, age: u8, host: &str, export: &str, mode: &str) -> String {
    rule(
        place,
        name,
        age,
        &format!("host: '{host}', exportTo: [{export}], trafficPolicy: {{tls: {{mode: {mode}}}}}"),
    )
}

#[track_caller]
fn ask(documents: &[&str], to: &str, sni: Option<&str>) -> Expected {
    let text = [&[BASE], documents].concat().join("---");
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]);
    assert_eq!(errors, []);
    let to: std::net::SocketAddr = to.parse().unwrap();
    let question = Question {
        from: "10.0.0.1".parse().unwrap(),
        to: Endpoint { ip: to.ip(), port: to.port() },
        sni: sni.map(str::to_owned),
    };
    explain(&mesh, &question).expected
}

#[track_caller]
fn check(documents: &[&str], tls: &str, from: &str) {
    let answer = ask(documents, "10.0.0.2:8080", None);
    let got = (answer.client_tls.map(|tls| tls.to_string()), answer.client_tls_from);
    assert_eq!(got, (Some(tls.to_owned()), from.to_owned()));
}

#[test]
fn a_rule_for_other_namespaces_only_is_not_found_at_home() {
    check(&[&tls("web", "away", 1, HOST, "shop", "DISABLE")], "ISTIO_MUTUAL", "auto-mtls");
    check(&[&tls("web", "home", 1, HOST, "shop, web", "DISABLE")], "DISABLE", "DestinationRule/web/home");
}

#[test]
fn the_most_specific_host_is_found_before_its_export_counts() {
    let exact = tls("shop", "exact", 1, HOST, "other", "SIMPLE");
    let wildcard = tls("shop", "wildcard", 1, "*.cluster.local", "'*'", "DISABLE");
    let root = tls("istio-system", "root", 1, "*.local", "'*'", "MUTUAL");
    check(&[&wildcard, &root], "DISABLE", "DestinationRule/shop/wildcard");
    check(&[&exact, &wildcard, &root], "MUTUAL", "DestinationRule/istio-system/root");
    // Rules that are private to their namespace hide nothing from others.
    let private = tls("shop", "exact", 1, HOST, "'.'", "SIMPLE");
    check(&[&private, &wildcard, &root], "DISABLE", "DestinationRule/shop/wildcard");
}

#[test]
fn a_private_default_counts_for_rules_without_export() {
    let config = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'defaultDestinationRuleExportTo: [\".\"]'}
";
    let rule = tls("shop", "rule", 1, HOST, "", "DISABLE");
    check(&[&rule], "DISABLE", "DestinationRule/shop/rule");
    check(&[&rule, config], "ISTIO_MUTUAL", "auto-mtls");
}

#[test]
fn rules_exported_apart_are_not_merged() {
    let old = tls("web", "old", 1, HOST, "'.'", "DISABLE");
    let new = tls("web", "new", 2, HOST, "'*'", "SIMPLE");
    check(&[&old, &new], "SIMPLE", "DestinationRule/web/new");
    let alike = tls("web", "new", 2, HOST, "'.'", "SIMPLE");
    check(&[&old, &alike], "DISABLE", "DestinationRule/web/old");
    // A rule that is exported further fills in the older one, and stands for itself elsewhere.
    let some = tls("shop", "some", 1, HOST, "web", "DISABLE");
    let more = tls("shop", "more", 2, HOST, "'web', other", "SIMPLE");
    check(&[&some, &more], "DISABLE", "DestinationRule/shop/some");
    let elsewhere = tls("shop", "some", 1, HOST, "other", "DISABLE");
    check(&[&elsewhere, &more], "SIMPLE", "DestinationRule/shop/more");
}

#[test]
fn a_selecting_rule_takes_what_it_lacks_only_from_a_private_one() {
    let own = |age| {
        rule("web", "own", age, &format!("host: {HOST}, workloadSelector: {{matchLabels: {{app: client}}}}"))
    };
    let private = tls("web", "all", 1, HOST, "'.'", "DISABLE");
    check(&[&own(1), &private], "DISABLE", "DestinationRule/web/all");
    let public = tls("web", "all", 1, HOST, "", "DISABLE");
    check(&[&own(2), &public], "ISTIO_MUTUAL", "auto-mtls");
}

#[test]
fn a_backend_tls_policy_fills_in_what_rules_leave_out() {
    let policy = |name: &str, section: &str| {
        format!(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {name}, namespace: shop}}
spec:
  targetRefs: [{{group: '', kind: Service, name: shop{section}}}]
  validation: {{hostname: shop.example.com, wellKnownCACertificates: System}}
"
        )
    };
    let (whole, port) = (policy("whole", ""), policy("port", ", sectionName: http"));
    let from = "BackendTLSPolicy/shop/whole";
    check(&[&whole], "SIMPLE", from);
    let plain =
        rule("shop", "lb", 1, &format!("host: {HOST}, trafficPolicy: {{loadBalancer: {{simple: RANDOM}}}}"));
    check(&[&whole, &plain], "SIMPLE", from);
    check(&[&whole, &tls("shop", "own", 1, HOST, "", "DISABLE")], "DISABLE", "DestinationRule/shop/own");
    check(&[&whole, &tls("shop", "own", 1, HOST, "'*'", "DISABLE")], "DISABLE", "DestinationRule/shop/own");
    check(&[&whole, &port], "SIMPLE", "BackendTLSPolicy/shop/port");
}
