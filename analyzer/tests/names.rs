//! Questions by name: what a name stands for, and what is said where it is not clear.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

use analyzer::explain::{Answer, PODS, ask};
use analyzer::mesh::{Manifest, Mesh};
use analyzer::names::{Unclear, known};
use analyzer::report::ServerMode;

const MESH: &str = "
apiVersion: v1
kind: Pod
metadata: {name: frontend-1, namespace: web, labels: {app: frontend, service.istio.io/canonical-name: frontend}}
spec: {containers: [{name: app}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: search-1, namespace: catalog, labels: {app: search, service.istio.io/canonical-name: search, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app, ports: [{containerPort: 8080}]}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 10.0.1.1}
---
apiVersion: v1
kind: Pod
metadata: {name: search-2, namespace: catalog, labels: {app: search, service.istio.io/canonical-name: search}}
spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}
status: {podIP: 10.0.1.2}
---
apiVersion: v1
kind: Pod
metadata: {name: search-0, namespace: shop, labels: {service.istio.io/canonical-name: search}}
spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}
status: {podIP: 10.0.2.1}
---
apiVersion: v1
kind: Pod
metadata: {name: job-1, namespace: batch, labels: {service.istio.io/canonical-name: job}}
spec: {containers: [{name: app}]}
---
apiVersion: v1
kind: Service
metadata: {name: search, namespace: catalog}
spec: {clusterIP: 10.9.0.1, selector: {app: search}, ports: [{name: http, port: 9090, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: catalog}
spec: {clusterIP: None, selector: {app: nobody}, ports: [{name: http, port: 80}, {name: grpc, port: 81}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: web}
spec: {hosts: [api.example.com, '*.wild.example.com'], location: MESH_EXTERNAL, resolution: NONE, ports: [{number: 443, name: https, protocol: TLS}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
";

fn mesh(text: &str) -> Mesh {
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text: text.into() }]);
    assert_eq!(errors, []);
    mesh
}

fn answer(from: &str, to: &str, port: Option<u16>) -> Result<Answer, Unclear> {
    ask(&mesh(MESH), from, to, port, None)
}

fn message(from: &str, to: &str, port: Option<u16>) -> String {
    answer(from, to, port).unwrap_err().to_string()
}

#[test]
fn every_spelling_of_a_service_means_the_same() {
    let expected = answer("web/frontend", "catalog/search", Some(9090)).unwrap();
    assert_eq!((expected.to.as_str(), expected.port, expected.servers), ("catalog/search", 9090, 2));
    for (from, to) in [
        ("frontend", "catalog/search:9090"),
        ("workload/web/frontend", "service/catalog/search:9090"),
        ("web/frontend", "search.catalog:9090"),
        ("web/frontend", "search.catalog.svc:9090"),
        ("web/frontend", "search.catalog.svc.cluster.local:9090"),
        // It has one port only.
        ("web/frontend", "catalog/search"),
    ] {
        assert_eq!(answer(from, to, None).unwrap(), expected, "{from} {to}");
    }
}

#[test]
fn pods_that_differ_are_told_apart() {
    let answer = answer("web/frontend", "catalog/search", Some(9090)).unwrap();
    let told: Vec<_> = answer
        .outcomes
        .iter()
        .map(|outcome| {
            let expected = &outcome.explanation.expected;
            (outcome.server_pods.join(" "), outcome.wire_port, expected.server_mode)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("catalog/search-1".to_owned(), 8080, Some(ServerMode::Strict)),
            ("catalog/search-2".to_owned(), 8080, None)
        ]
    );
}

#[test]
fn a_workload_is_asked_by_its_container_port() {
    let answer = answer("frontend-1", "workload/catalog/search:8080", None).unwrap();
    assert_eq!((answer.from.as_str(), answer.port, answer.servers), ("web/frontend-1", 8080, 2));
    assert_eq!(answer.notes, [""; 0]);
    let undeclared = self::answer("frontend-1", "workload/catalog/search:15", None).unwrap();
    assert_eq!(undeclared.notes.len(), 1, "{:?}", undeclared.notes);
}

#[test]
fn a_host_outside_the_cluster_needs_no_address() {
    for host in ["api.example.com:443", "any.wild.example.com:443", "*.wild.example.com"] {
        let answer = answer("web/frontend", host, None).unwrap();
        let explanation = &answer.outcomes[0].explanation;
        assert_eq!(explanation.expected.protocol.as_deref(), Some("TLS"), "{host}");
    }
}

#[test]
fn addresses_and_names_mix() {
    let by_address = answer("10.0.0.1", "10.0.1.1:8080", None).unwrap();
    let by_name = answer("web/frontend", "pod/catalog/search-1", Some(8080)).unwrap();
    assert_eq!(by_address.outcomes[0].explanation, by_name.outcomes[0].explanation);
    assert!(answer("10.99.0.1", "[fd00::1]:80", None).is_ok());
}

#[test]
fn what_is_not_clear_is_said_with_what_is_near() {
    let check = |message: String, words: &[&str]| {
        for word in words {
            assert!(message.contains(word), "'{word}' expected in: {message}");
        }
    };
    check(message("web/frontent", "catalog/search", None), &["web/frontent", "did you mean web/frontend?"]);
    check(message("web/frontend", "web/search:80", None), &["did you mean catalog/search, shop/search?"]);
    check(message("search", "catalog/search", None), &["workload/catalog/search or workload/shop/search"]);
    check(message("web/frontend", "catalog/search:1", None), &["no port 1", "9090 (http)"]);
    check(message("web/frontend", "catalog/search:1", Some(2)), &["1 and 2"]);
    check(message("web/frontend", "catalog/empty", None), &["a port is needed", "80 (http), 81 (grpc)"]);
    check(message("web/frontend", "catalog/empty:80", None), &["catalog/empty", "no pod with an address"]);
    check(message("batch/job", "catalog/search", None), &["batch/job", "no pod with an address"]);
    check(message("web/frontend", "10.0.0.1", None), &["a port is needed"]);
    check(message("zzz", "catalog/search", None), &["zzz"]);
    for text in ["", "a b", "a/b/c/d", "a:b", "x:0", "x:65536", ":", "::", "///"] {
        assert!(answer("web/frontend", text, None).is_err(), "{text}");
    }
}

#[test]
fn many_pods_are_bounded_and_said() {
    use std::fmt::Write as _;
    let mut text = MESH.to_owned();
    for number in 0..PODS + 6 {
        let (high, low) = (number / 256, number % 256);
        write!(text, "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: crowd-{number}, namespace: web, labels: {{service.istio.io/canonical-name: crowd}}}}\nstatus: {{podIP: 10.8.{high}.{low}}}\n").unwrap();
    }
    let answer = ask(&mesh(&text), "web/crowd", "catalog/search", None, None).unwrap();
    assert_eq!((answer.clients, answer.notes.len()), (PODS + 6, 1));
    assert_eq!(answer.outcomes.iter().map(|outcome| outcome.pairs).sum::<usize>(), PODS * 2);
}

#[test]
fn every_known_name_is_found() {
    let mesh = mesh(MESH);
    for name in known(&mesh) {
        assert!(analyzer::names::find(&mesh, &name).is_ok(), "{name}");
    }
}
