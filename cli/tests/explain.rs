//! `wireproof explain` as people call it.

#![expect(clippy::expect_used, reason = "a test may stop here")]

use std::path::Path;

use serde_json::Value;

struct Said {
    status: Option<i32>,
    answer: String,
    errors: String,
}

fn explain(arguments: &[&str]) -> Said {
    explain_by("testdata/boutique/mesh.yaml", arguments)
}

fn explain_by(mesh: &str, arguments: &[&str]) -> Said {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let output = assert_cmd::Command::cargo_bin("wireproof")
        .expect("the program is built")
        .current_dir(root)
        .args(["explain", "--mesh", mesh])
        .args(arguments)
        .output()
        .expect("the program runs");
    Said {
        status: output.status.code(),
        answer: String::from_utf8(output.stdout).expect("UTF-8"),
        errors: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

#[test]
fn names_give_the_ladder() {
    let said = explain(&["--from", "web/frontend", "--to", "catalog/search:80"]);
    assert_eq!((said.status, said.errors.as_str()), (Some(0), ""));
    let first = said.answer.lines().next().expect("a headline");
    assert!(first.contains("because"), "{first}");
    assert!(first.contains("testdata/boutique/mesh.yaml:"), "the decider's place is in {first}");
    for word in ["FROM     web/frontend", "TO       catalog/search", "client ", "server ", "<- decides"] {
        assert!(said.answer.contains(word), "'{word}' expected in: {}", said.answer);
    }
    assert!(!said.answer.contains('\u{1b}'), "no colour when piped");
}

#[test]
fn a_host_may_end_in_the_dot_of_the_root() {
    let answer = |host: &str| explain(&["--from", "web/frontend", "--to", host, "--port", "80"]).answer;
    let with_dot = answer("search.catalog.svc.cluster.local.");
    assert!(with_dot.starts_with("MTLS because"), "{with_dot}");
    assert_eq!(with_dot, answer("search.catalog.svc.cluster.local"));
}

#[test]
fn a_destination_rule_that_breaks_mtls_is_the_headline_and_comes_with_its_fix() {
    let said = explain(&["--from", "orders/checkout", "--to", "payments/ledger:50051"]);
    assert_eq!(said.status, Some(0), "{}", said.errors);
    let first = said.answer.lines().next().expect("a headline");
    assert!(first.starts_with("CONFLICT because DestinationRule/orders/ledger-plaintext"), "{first}");
    assert!(first.contains("mesh.yaml:870): spec.trafficPolicy.tls.mode: DISABLE"), "{first}");
    assert!(said.answer.contains("XC01, DR12"), "{}", said.answer);
    // Both findings have the same remedy.
    assert_eq!(said.answer.matches("Fix: ").count(), 1, "{}", said.answer);
}

#[test]
fn what_only_the_application_could_do_is_not_promised() {
    let said = explain(&["--from", "batch/cron-pay", "--to", "payments/ledger:50051"]);
    let first = said.answer.lines().next().expect("a headline");
    assert!(first.starts_with("MTLS, else refused, because PeerAuthentication/payments/default"), "{first}");
    assert!(first.ends_with("STRICT for the namespace"), "{first}");
    let gateway = "istio-system/istio-ingressgateway:8443";
    let first = |sni: &str| {
        let said = explain(&["--from", "203.0.113.5", "--to", gateway, "--sni", sni]);
        said.answer.lines().next().expect("a headline").to_owned()
    };
    let shop = first("shop.example.com");
    assert!(shop.starts_with("TLS, else refused, because Gateway/istio-system/shop"), "{shop}");
    let other = first("other.example.com");
    assert!(other.starts_with("CONFLICT because gateway.server: nothing listens on port 8443"), "{other}");
}

#[test]
fn two_ends_that_nothing_declares_do_not_fit_each_other() {
    let said = explain(&["--from", "198.51.100.7", "--to", "198.51.100.9:53"]);
    assert_eq!(said.status, Some(0), "{}", said.errors);
    assert!(said.answer.contains("VERDICT  nothing that is declared has a say"), "{}", said.answer);
}

#[test]
fn what_each_request_decides_is_not_promised() {
    const MESH: &str = "
apiVersion: v1
kind: Pod
metadata: {name: client-0, namespace: web, labels: {app: client, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app}, {name: istio-proxy}]}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: server-0, namespace: web, labels: {app: server, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app}, {name: istio-proxy}]}
status: {podIP: 10.0.1.1}
---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: web}
spec: {clusterIP: 10.96.0.2, selector: {app: server}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: own, namespace: web}
spec:
  host: server
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}
  subsets: [{name: v1, labels: {app: server}, trafficPolicy: {tls: {mode: DISABLE}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: own, namespace: web}
spec:
  hosts: [server]
  http:
  - match: [{uri: {prefix: /a}}]
    route: [{destination: {host: server, subset: v1}}]
  - route: [{destination: {host: server}}]
";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mesh.yaml");
    std::fs::write(&path, MESH).expect("the mesh is written");
    let mesh = path.to_str().expect("UTF-8");
    let said = explain_by(mesh, &["--from", "web/client-0", "--to", "web/server-0:8080"]);
    assert_eq!((said.status, said.errors.as_str()), (Some(0), ""));
    for words in [
        "PLAINTEXT or MTLS because DestinationRule/web/own",
        "CLIENT   each request decides from DestinationRule/web/own: sends plaintext, mtls",
        "(v1, the host as a whole): each may come",
    ] {
        assert!(said.answer.contains(words), "'{words}' expected in: {}", said.answer);
    }
}

#[test]
fn json_and_yaml_say_the_same() {
    let asked = ["--from", "web/frontend", "--to", "catalog/search:80"];
    let json = explain(&[&asked[..], &["-o", "json"]].concat());
    let answer: Value = serde_json::from_str(&json.answer).expect("JSON");
    assert_eq!((&answer["from"], &answer["to"]), (&"web/frontend".into(), &"catalog/search".into()));
    let outcome = &answer["outcomes"][0];
    for key in ["server_mode", "client_tls", "allowed", "conflict", "because", "lint", "pairs", "server_pods"]
    {
        assert!(!outcome[key].is_null(), "{key} in {outcome}");
    }
    let yaml = explain(&[&asked[..], &["-o", "yaml"]].concat());
    assert!(yaml.answer.starts_with("from: web/frontend\nto: catalog/search\n"), "{}", yaml.answer);
    assert_eq!(yaml.answer.matches("server_mode:").count(), json.answer.matches("\"server_mode\":").count());
}

#[test]
fn addresses_keep_their_own_form() {
    let said = explain(&["--from", "10.20.2.21", "--to", "10.20.3.31:8080", "-o", "json"]);
    let answer: Value = serde_json::from_str(&said.answer).expect("JSON");
    assert!(answer.get("outcomes").is_none() && answer.get("server_mode").is_some(), "{answer}");
}

#[test]
fn an_unknown_name_is_a_usage_error_with_near_names() {
    let said = explain(&["--from", "web/frontent", "--to", "catalog/search:80"]);
    assert_eq!((said.status, said.answer.as_str()), (Some(2), ""));
    assert!(said.errors.contains("did you mean web/frontend"), "{}", said.errors);
}
