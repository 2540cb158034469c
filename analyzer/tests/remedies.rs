//! A remedy's YAML, applied to the mesh that was broken, mends what it says it mends.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

use std::path::Path;
use std::sync::Arc;

use analyzer::audit::Auditor;
use analyzer::mesh::{Manifest, Mesh};
use analyzer::report::{Expected, Judged, Judgement, ServerMode};
use flow::{
    ClientAuth, Close, Endpoint, Evidence, Flow, FlowId, Outcome, PerSide, Presented, Proof, Security,
    Timestamp, TlsSession, Transport,
};

fn resources(case: &str) -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/policy").join(case).join("resources.yaml");
    std::fs::read_to_string(path).unwrap()
}

fn judge(text: &str, flow: &Flow) -> Judged {
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text: text.to_owned() }]);
    assert!(errors.is_empty(), "{errors:?}");
    Auditor::new(Arc::new(mesh)).judge(flow)
}

fn flow(from: &str, to: &str, security: Security, answered: bool) -> Flow {
    let to: std::net::SocketAddr = to.parse().unwrap();
    Flow {
        id: FlowId(1),
        start: Timestamp::from_nanos(1),
        end: Timestamp::from_nanos(2),
        transport: Transport::Tcp,
        client: Endpoint { ip: from.parse().unwrap(), port: 40000 },
        server: Endpoint { ip: to.ip(), port: to.port() },
        tunnel: Vec::new(),
        seen_at: Vec::new(),
        security,
        protocol: None,
        upgrade: None,
        from_start: true,
        close: Close::Fin,
        packets: PerSide { client: 3, server: 3 },
        bytes: PerSide { client: 10, server: u64::from(answered) },
    }
}

fn plaintext() -> Security {
    Security::Plaintext(Evidence::WIRE)
}

fn istio_mtls(outcome: Outcome) -> Security {
    let session = TlsSession {
        alpn_offered: vec!["istio".to_owned()],
        ja4: Some("t13".to_owned()),
        outcome,
        ..TlsSession::default()
    };
    let evidence = Evidence { proof: Proof::Exact, reason: None };
    Security::Tls(Arc::new(session), ClientAuth::Proved(Presented::Sent, evidence))
}

/// The lines that name a document: its kind, name and namespace.
fn identity(document: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = document
        .lines()
        .filter(|line| ["kind: ", "  name: ", "  namespace: "].iter().any(|field| line.starts_with(field)))
        .collect();
    lines.sort_unstable();
    lines
}

/// Replaces the document of the same name, which keeps its age, or adds one.
fn apply(mesh: &str, remedy: &str) -> String {
    let mut replaced = remedy.to_owned();
    let mut kept = Vec::new();
    for document in mesh.split("---\n").filter(|document| !document.trim().is_empty()) {
        if identity(document) != identity(remedy) {
            kept.push(document);
        } else if let Some(age) = document.lines().find(|line| line.starts_with("  creationTimestamp: ")) {
            replaced = remedy.replacen("metadata:\n", &format!("metadata:\n{age}\n"), 1);
        }
    }
    kept.push(&replaced);
    kept.join("---\n")
}

/// Judges `broken`, which must be `id`; applies the remedy; then `mended` must conform.
fn check(mesh: &str, broken: &Flow, id: &str, mended: &Flow) -> Expected {
    let violation = judge(mesh, broken).violations.into_iter().next().unwrap();
    assert_eq!(violation.id, id);
    let remedy = violation.remedy.yaml.unwrap();
    let judged = judge(&apply(mesh, &remedy), mended);
    assert_ne!(judged.judgement, Judgement::Violates, "{id}: {:#?}\n{remedy}", judged.violations);
    judged.expected.unwrap()
}

#[test]
fn a_rule_that_switches_tls_off() {
    let (from, to) = ("10.20.134.11", "10.20.134.21:8080");
    let mended = flow(from, to, istio_mtls(Outcome::Established), true);
    let mesh = resources("005-client-rule-disables-tls-to-strict-server");
    let expected = check(&mesh, &flow(from, to, plaintext(), false), "OB02", &mended);
    assert_eq!(expected.conflict, Some(false));
}

#[test]
fn one_port_s_entry_of_a_rule_is_changed_and_the_others_stay() {
    let entries = "  trafficPolicy:\n    portLevelSettings:\n    - port:\n        number: 9\n      tls:\n        mode: SIMPLE\n    \
                   - port:\n        number: PORT\n      tls:\n        mode: DISABLE\n";
    let (from, to) = ("10.20.134.11", "10.20.134.21:8080");
    let mesh = resources("005-client-rule-disables-tls-to-strict-server");
    let (before, _) = mesh.split_once("  trafficPolicy:\n").unwrap();
    let (_, after) = mesh.split_once("mode: DISABLE\n").unwrap();
    let mesh = format!("{before}{}{after}", entries.replace("PORT", "80"));
    let broken = flow(from, to, plaintext(), false);
    let expected = check(&mesh, &broken, "OB02", &flow(from, to, istio_mtls(Outcome::Established), true));
    assert_eq!(expected.conflict, Some(false));
    let remedy = judge(&mesh, &broken).violations.remove(0).remedy.yaml.unwrap();
    assert!(remedy.contains("number: 9\n      tls:\n        mode: SIMPLE"), "{remedy}");
}

#[test]
fn a_rule_that_sends_mtls_to_a_server_without_proxy() {
    let (from, to) = ("10.20.135.11", "10.20.135.21:8080");
    let broken = flow(from, to, istio_mtls(Outcome::Failed), false);
    let mesh = resources("006-istio-mutual-to-server-without-proxy");
    let expected = check(&mesh, &broken, "OB06", &flow(from, to, plaintext(), true));
    assert_eq!(expected.conflict, Some(false));
}

#[test]
fn a_port_opened_leaves_what_else_the_workload_declares() {
    // A client of another network has no proxy: only the port can be opened to it.
    let outside = |to: &str| flow("203.0.113.7", to, plaintext(), false);
    let own = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: own\n  namespace: pay\n  \
               creationTimestamp: '2026-01-01T00:00:00Z'\nspec:\n  selector:\n    matchLabels:\n      app: ledger\n  mtls:\n    \
               mode: STRICT\n  portLevelMtls:\n    9999:\n      mode: DISABLE\n";
    let mesh = resources("003-workload-permissive-in-strict-mesh");
    let mesh = mesh.replace("mode: PERMISSIVE", "mode: STRICT");
    let expected = check(&mesh, &outside("10.20.132.21:7777"), "OB02", &outside("10.20.132.21:7777"));
    assert_eq!(expected.server_mode, Some(ServerMode::Permissive));
    assert_eq!(expected.server_mode_from, "PeerAuthentication/pay/ledger");

    // The workload's policy in this mesh gives way to one that declares another port as well.
    let named = "kind: PeerAuthentication\nmetadata:\n  name: ledger\n";
    let others = mesh.split("---\n").filter(|document| !document.contains(named));
    let mesh = format!("{}{own}", others.collect::<Vec<_>>().join("---\n"));
    let broken = outside("10.20.132.21:7777");
    check(&mesh, &broken, "OB02", &broken);
    let remedy = judge(&mesh, &broken).violations.remove(0).remedy.yaml.unwrap();
    let other = judge(&apply(&mesh, &remedy), &outside("10.20.132.21:9999"));
    assert_eq!(other.expected.unwrap().server_mode, Some(ServerMode::Disable));
    let rest = judge(&apply(&mesh, &remedy), &outside("10.20.132.21:1234"));
    assert_eq!(rest.expected.unwrap().server_mode, Some(ServerMode::Strict));
}
