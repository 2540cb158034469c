//! `wireproof describe` as people call it.

#![expect(clippy::expect_used, reason = "a test may stop here")]

use std::path::Path;
use std::process::Output;

use serde_json::Value;

fn describe(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    assert_cmd::Command::cargo_bin("wireproof")
        .expect("the program is built")
        .current_dir(root)
        .arg("describe")
        .args(arguments)
        .args(["--mesh", "testdata/boutique/mesh.yaml"])
        .output()
        .expect("the program runs")
}

#[test]
fn each_kind_has_its_text() {
    for (kind, name, words) in [
        ("workload", "payments/ledger", &["50051", "GRPC", "STRICT", "mesh.yaml:846", "DISABLE", "XC01"][..]),
        ("svc", "ledger.payments", &["service payments/ledger  testdata/boutique/mesh.yaml:", "8443"][..]),
        (
            "ns",
            "legacy",
            &["mode STRICT from PeerAuthentication/legacy/default", "legacy/inventory", "PA07"][..],
        ),
        ("gateway", "partners", &["gateway istio-system/partners", "MUTUAL", "required"][..]),
    ] {
        let said = describe(&[kind, name]);
        let text = String::from_utf8(said.stdout).expect("UTF-8");
        assert_eq!((said.status.code(), said.stderr.as_slice()), (Some(0), &b""[..]), "{kind} {name}");
        for word in words {
            assert!(text.contains(word), "'{word}' expected in: {text}");
        }
        assert!(!text.contains('\u{1b}'), "no colour when piped");
    }
}

#[test]
fn json_has_the_same() {
    let said = describe(&["workload", "payments/ledger", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!((&answer["kind"], &answer["name"]), (&"workload".into(), &"payments/ledger".into()));
    assert_eq!(answer["ports"][0]["mode"], "STRICT");
    assert_eq!(answer["ports"][0]["from"], "PeerAuthentication/payments/default");
}

#[test]
fn an_unknown_name_is_a_usage_error() {
    let said = describe(&["workload", "payments/legder"]);
    assert_eq!((said.status.code(), said.stdout.as_slice()), (Some(2), &b""[..]));
    let errors = String::from_utf8(said.stderr).expect("UTF-8");
    assert!(errors.contains("did you mean payments/ledger?"), "{errors}");
}
