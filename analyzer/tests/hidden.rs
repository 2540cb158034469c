//! What the wire hides stays undecided: no violation claims a certificate, or its absence, that nobody saw.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

mod flows;

use std::path::Path;
use std::sync::Arc;

use analyzer::audit::Auditor;
use analyzer::mesh::{Manifest, Mesh};
use analyzer::report::{Certainty, Judgement};
use flow::{ClientAuth, Evidence, Outcome, Presented, Proof, Reason, Security, TlsSession, Withheld};
use flows::flow;

/// Violations that say something of the client's certificate.
const CLAIMS_OF_CERTIFICATES: [&str; 2] = ["OB03", "OB10"];

/// A case of `testdata/policy`, client, server and SNI: every mode, with and without proxies, and the kinds of gateway.
const CONNECTIONS: [(&str, &str, &str, Option<&str>); 10] = [
    ("001-namespace-strict-grpc", "10.20.130.11", "10.20.130.21:50051", None),
    ("002-permissive-http-client-outside-mesh", "10.20.131.11", "10.20.131.21:8080", None),
    ("003-workload-permissive-in-strict-mesh", "10.20.132.11", "10.20.132.21:7777", None),
    ("004-metrics-port-disabled", "10.20.133.11", "10.20.133.21:9090", None),
    ("005-client-rule-disables-tls-to-strict-server", "10.20.134.11", "10.20.134.21:8080", None),
    ("006-istio-mutual-to-server-without-proxy", "10.20.135.11", "10.20.135.21:8080", None),
    ("010-gateway-mutual", "203.0.113.139", "10.20.139.31:8443", Some("partner.example.com")),
    ("010-gateway-mutual", "203.0.113.139", "10.20.139.31:8443", None),
    ("012-ambient-hbone", "10.20.141.11", "10.20.141.21:15008", None),
    ("012-ambient-hbone", "10.20.141.11", "10.20.141.21:8080", None),
];

fn auditor(case: &str) -> Auditor {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/policy").join(case).join("resources.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    Auditor::new(Arc::new(Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]).0))
}

/// Every way to answer the question after the client's certificate.
fn answers() -> Vec<ClientAuth> {
    let mut answers: Vec<_> = Reason::ALL.iter().map(|reason| ClientAuth::Hidden(*reason)).collect();
    for &proof in Proof::ALL {
        let evidence = Evidence { proof, reason: None };
        answers.extend([Presented::Sent, Presented::Rejected].map(|how| ClientAuth::Proved(how, evidence)));
        answers.extend([Withheld::Absent, Withheld::Declined].map(|how| ClientAuth::Refuted(how, evidence)));
    }
    answers
}

#[test]
fn only_a_missing_certificate_is_called_missing() {
    let mut claimed = 0;
    for (case, from, to, sni) in CONNECTIONS {
        let auditor = auditor(case);
        for auth in answers() {
            for outcome in [Outcome::Established, Outcome::Failed, Outcome::Incomplete] {
                for alpn in ["istio", "h2"] {
                    let session = TlsSession {
                        alpn_offered: vec![alpn.to_owned()],
                        sni: sni.map(str::to_owned),
                        ja4: Some("t13".to_owned()),
                        outcome,
                        ..TlsSession::default()
                    };
                    let judged = auditor.judge(&flow(from, to, Security::Tls(Arc::new(session), auth)));
                    for violation in &judged.violations {
                        let claims = CLAIMS_OF_CERTIFICATES.contains(&violation.id.as_str());
                        let refuted = matches!(auth, ClientAuth::Refuted(..));
                        assert!(!claims || refuted, "{case}: {} for {auth:?}", violation.id);
                        claimed += usize::from(claims);
                        let proved = judged.flow.security.evidence().proof != Proof::None;
                        let certain = violation.certainty == Certainty::Certain;
                        assert!(!certain || proved, "{case}: {} is certain, for {auth:?}", violation.id);
                    }
                }
            }
        }
    }
    assert!(claimed > 0, "the connections are of a kind that could be broken");
}

#[test]
fn an_unknown_class_is_never_a_violation() {
    for (case, from, to, _) in CONNECTIONS {
        let auditor = auditor(case);
        for &reason in Reason::ALL {
            let judged = auditor.judge(&flow(from, to, Security::Unknown(reason)));
            assert_ne!(judged.judgement, Judgement::Violates, "{case}: {reason}");
            assert_ne!(judged.judgement, Judgement::Conforms, "{case}: {reason}");
        }
    }
}
