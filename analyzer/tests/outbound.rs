//! What a client is declared to send, over small meshes written out here.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

use analyzer::explain::{Question, explain};
use analyzer::mesh::{Manifest, Mesh};
use flow::{Class, Endpoint};

const CLIENT: &str = "
apiVersion: v1
kind: Pod
metadata: {name: client-0, namespace: web, labels: {app: client, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.1}
";

const ENTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: web}
spec:
  hosts: [api.example.com]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8443}, {number: 443, name: https, protocol: HTTPS}]
";

fn rule(name: &str, selector: &str, host: &str, mode: &str) -> String {
    let files = if mode == "MUTUAL" { ", clientCertificate: /c, privateKey: /k" } else { "" };
    format!(
        "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: web}}
spec: {{host: '{host}', {selector} trafficPolicy: {{tls: {{mode: {mode}{files}}}}}}}
"
    )
}

#[track_caller]
fn check(documents: &[&str], to: &str, sni: Option<&str>, tls: Option<&str>, from: &str, wire: &[Class]) {
    let text = documents.join("---");
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]);
    assert_eq!(errors, []);
    let to: std::net::SocketAddr = to.parse().unwrap();
    let question = Question {
        from: "10.0.0.1".parse().unwrap(),
        to: Endpoint { ip: to.ip(), port: to.port() },
        sni: sni.map(str::to_owned),
    };
    let answer = explain(&mesh, &question).expected;
    let got = (answer.client_tls.map(|tls| tls.to_string()), answer.client_tls_from, answer.client_wire);
    assert_eq!(got, (tls.map(str::to_owned), from.to_owned(), wire.to_vec()));
}

#[test]
fn an_address_that_a_name_resolved_to_is_known_by_its_sni() {
    use Class::{Mtls, Plaintext, Tls};
    let rule = rule("api", "", "api.example.com", "SIMPLE");
    // The application's own HTTPS leaves as it is.
    check(&[CLIENT, ENTRY], "192.0.2.7:443", Some("api.example.com"), None, "default", &[Tls, Mtls]);
    // The sidecar originates TLS from port 80 to the target port.
    let from = "DestinationRule/web/api";
    check(&[CLIENT, ENTRY, &rule], "192.0.2.7:8443", Some("api.example.com"), Some("SIMPLE"), from, &[Tls]);
    // Another name, or none, is an unknown destination.
    let all = [Plaintext, Tls, Mtls];
    check(&[CLIENT, ENTRY, &rule], "192.0.2.7:443", Some("other.example.com"), None, "default", &all);
    check(&[CLIENT, ENTRY, &rule], "192.0.2.7:443", None, None, "default", &all);
}

#[test]
fn a_matching_host_ends_the_search_even_where_its_rule_is_for_other_workloads() {
    use Class::{Mtls, Tls};
    let exact = |app: &str| {
        let selector = format!("workloadSelector: {{matchLabels: {{app: {app}}}}},");
        rule("exact", &selector, "api.example.com", "SIMPLE")
    };
    let wildcard = rule("wildcard", "", "*.example.com", "MUTUAL");
    let (to, sni) = ("192.0.2.7:443", Some("api.example.com"));
    let own = exact("client");
    check(&[CLIENT, ENTRY, &own, &wildcard], to, sni, Some("SIMPLE"), "DestinationRule/web/exact", &[Tls]);
    let other = exact("other");
    check(&[CLIENT, ENTRY, &other, &wildcard], to, sni, None, "default", &[Tls, Mtls]);
}

/// A Service of two ports before two sidecars, of which one has the port `extra` alone, and one has no label of Istio's.
const SERVERS: &str = "
apiVersion: v1
kind: Service
metadata: {name: store, namespace: data}
spec:
  clusterIP: 10.96.0.9
  selector: {app: store}
  ports: [{port: 90, targetPort: extra, name: tcp}, {port: 80, targetPort: 8080, name: http}, {port: 70, targetPort: 7070, name: any}]
---
apiVersion: v1
kind: Pod
metadata: {name: store-0, namespace: data, labels: {app: store, version: v1, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app, ports: [{name: extra, containerPort: 9090}, {containerPort: 8080}]}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: store-1, namespace: data, labels: {app: store}}
spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}
status: {podIP: 10.0.0.3}
";

#[test]
fn endpoints_that_do_not_serve_a_port_say_nothing_of_it() {
    use Class::{Mtls, Plaintext};
    let documents = [CLIENT, SERVERS];
    check(&documents, "10.96.0.9:90", None, Some("ISTIO_MUTUAL"), "auto-mtls", &[Mtls]);
    check(&documents, "10.96.0.9:80", None, Some("DISABLE"), "auto-mtls", &[Plaintext]);
}

#[test]
fn a_route_leads_to_a_subset_only_at_ports_of_its_kind() {
    use Class::{Mtls, Tls};
    let rule = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: store, namespace: web}
spec:
  host: store.data.svc.cluster.local
  subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {tls: {mode: SIMPLE}}}]
";
    let route = |kind: &str| {
        format!(
            "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: store, namespace: web}}
spec:
  hosts: [store.data.svc.cluster.local]
  {kind}: [{{route: [{{destination: {{host: store.data.svc.cluster.local, subset: v1}}}}]}}]
"
        )
    };
    let (http, tcp) = (route("http"), route("tcp"));
    let simple = |routes: &str, to: &str| {
        let from = "DestinationRule/web/store";
        check(&[CLIENT, SERVERS, rule, routes], to, None, Some("SIMPLE"), from, &[Tls]);
    };
    let automatic = |routes: &str, to: &str| {
        check(&[CLIENT, SERVERS, rule, routes], to, None, Some("ISTIO_MUTUAL"), "auto-mtls", &[Mtls]);
    };
    automatic(&http, "10.0.0.2:9090");
    simple(&tcp, "10.0.0.2:9090");
    simple(&http, "10.0.0.2:8080");
    automatic(&tcp, "10.0.0.2:8080");
    // At an undeclared port the application's bytes tell which route is taken.
    simple(&http, "10.0.0.2:7070");
    simple(&tcp, "10.0.0.2:7070");
}
