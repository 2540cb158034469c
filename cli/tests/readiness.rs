//! `wireproof readiness` over real traffic.

#![expect(clippy::expect_used, reason = "a test may stop here")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

fn run(command: &str, capture: &str, mesh: &str, arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    assert_cmd::Command::cargo_bin("wireproof")
        .expect("the program is built")
        .current_dir(root)
        .args([command, capture, "--mesh", mesh])
        .args(arguments)
        .output()
        .expect("the program runs")
}

const CAPTURE: &str = "testdata/strict-migration/capture.pcap";
const MESH: &str = "testdata/strict-migration/mesh.yaml";

fn readiness(arguments: &[&str]) -> (Value, Option<i32>) {
    let said = run("readiness", CAPTURE, MESH, &[arguments, &["-o", "json"]].concat());
    (serde_json::from_slice(&said.stdout).expect("JSON"), said.status.code())
}

/// Flows by client, server, port and class.
fn flows(findings: &Value, ids: &[&str]) -> BTreeMap<String, u64> {
    let mut flows = BTreeMap::new();
    for finding in findings.as_array().expect("a list") {
        if ids.contains(&finding["id"].as_str().expect("an id")) {
            let name = |party: &str| {
                let party = &finding[party];
                format!("{}/{}", party["namespace"], party["workload"]).replace('"', "")
            };
            let class = finding["class"].as_str().expect("a class");
            let edge = format!("{} {} {} {class}", name("client"), name("server"), finding["port"]);
            *flows.entry(edge).or_default() += finding["flows"].as_u64().expect("a count");
        }
    }
    flows
}

fn states(answer: &Value) -> Vec<(&str, &str, &Value)> {
    let workloads = answer["workloads"].as_array().expect("a list").iter();
    workloads
        .map(|workload| {
            let text = |key: &str| workload[key].as_str().expect("a text");
            (text("name"), text("state"), &workload["proposed"])
        })
        .collect()
}

#[test]
fn each_client_that_would_break_is_named() {
    let (answer, status) = readiness(&["-n", "orders"]);
    assert_eq!(status, Some(1));
    // The case's README lists what happened: four ways to reach orders in plaintext, its own TLS, and a stale proxy.
    let expected = [
        ("batch/nightly orders/orders 8080 plaintext", 2),
        ("batch/nightly orders/orders 8443 tls", 1),
        ("batch/nightly orders/orders 9000 plaintext", 2),
        ("batch/nightly orders/stock 8080 plaintext", 1),
        ("monitoring/prometheus orders/orders 8080 plaintext", 2),
        ("reports/reports orders/orders 8080 plaintext", 2),
        ("web/frontend orders/orders 8080 plaintext", 1),
    ];
    let expected: BTreeMap<String, u64> =
        expected.into_iter().map(|(edge, count)| (edge.to_owned(), count)).collect();
    assert_eq!(flows(&answer["breaks"], &["OB02", "OB03"]), expected);
    let strict = Value::from("STRICT");
    assert_eq!(states(&answer), [("orders/orders", "breaks", &strict), ("orders/stock", "breaks", &strict)]);
    let orders = &answer["workloads"][0];
    assert_eq!(
        (&orders["flows"], &orders["stays"], &orders["would_break"]),
        (&16.into(), &6.into(), &10.into())
    );
}

/// What is foretold must be what the declarations say once the proposal is among them.
#[test]
fn the_same_breaks_once_the_proposal_is_declared() {
    for (arguments, replaced) in
        [(&["-n", "orders"][..], "  name: default\n  namespace: orders\n"), (&[][..], "no such policy yet")]
    {
        let (answer, _) = readiness(arguments);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let declared = fs::read_to_string(root.join(MESH)).expect("a mesh");
        let mut documents: Vec<&str> = declared
            .split("---\n")
            .filter(|document| {
                !(document.contains("kind: PeerAuthentication") && document.contains(replaced))
            })
            .collect();
        documents.push(answer["proposal"]["yaml"].as_str().expect("a patch"));
        let folder = tempfile::tempdir().expect("a folder");
        let mesh = folder.path().join("mesh.yaml");
        fs::write(&mesh, documents.join("---\n")).expect("written");
        let said = run("replay", CAPTURE, mesh.to_str().expect("UTF-8"), &["-o", "json"]);
        let audit: Value = serde_json::from_slice(&said.stdout).expect("JSON");
        assert_eq!(audit["errors"], Value::from(Vec::<Value>::new()));
        let mut then = flows(&audit["findings"], &["OB01", "OB02", "OB03"]);
        // Without a proxy nothing is enforced there, whatever is declared: that client does not break.
        then.retain(|edge, _| !edge.contains(" legacy/inventory "));
        // The handshake that the HTTP port refused had failed already. The namespace's own policy keeps it as it is otherwise.
        let failed = then.remove("batch/nightly orders/orders 8080 tls");
        assert_eq!(failed, arguments.first().map(|_| 1));
        assert_eq!(flows(&answer["breaks"], &["OB02", "OB03"]), then, "{arguments:?}");
        assert!(!then.is_empty());
    }
}

#[test]
fn silence_and_missing_proxies_are_not_readiness() {
    let (answer, status) = readiness(&["-n", "legacy"]);
    assert_eq!(status, Some(0));
    assert_eq!(states(&answer), [("legacy/inventory", "not-enforced", &Value::Null)]);
    let (answer, status) = readiness(&["-w", "web/frontend"]);
    assert_eq!(status, Some(0));
    assert_eq!(states(&answer), [("web/frontend", "no-traffic", &"STRICT".into())]);
    assert_eq!(answer["verdict"], "no evidence: no flow that was let in was seen");
    let yaml = answer["proposal"]["yaml"].as_str().expect("a patch");
    assert!(yaml.contains("matchLabels") && yaml.contains("mode: STRICT"), "{yaml}");
    // Nothing to apply where it is STRICT already.
    let (answer, _) = readiness(&["-w", "orders/stock"]);
    assert_eq!(answer["proposal"]["yaml"], Value::Null);
    assert_eq!(answer["proposal"]["resource"], "PeerAuthentication/orders/stock");
    let said = run("readiness", CAPTURE, MESH, &["-n", "legacy"]);
    let text = String::from_utf8(said.stdout).expect("UTF-8");
    assert!(text.starts_with("namespace legacy: not enforced"), "{text}");
}

#[test]
fn a_namespace_that_is_not_there_is_a_usage_error() {
    let said = run("readiness", CAPTURE, MESH, &["-n", "order"]);
    assert_eq!((said.status.code(), said.stdout.as_slice()), (Some(2), &b""[..]));
    let errors = String::from_utf8(said.stderr).expect("UTF-8");
    assert!(errors.contains("did you mean orders?"), "{errors}");
}
