//! Every observed finding: a conforming flow in a clean mesh has none, and one thing broken has exactly that one.
//!
//! `clean.yaml` is the mesh: `web/front` (sidecar), `shop/orders` (sidecar, STRICT), `open/search` (sidecar, PERMISSIVE),
//! `batch/job` and `legacy/stock` (no proxy), two gateways, two ambient pods, `closed/vault` (REGISTRY_ONLY), istiod, and
//! the external `api.example.com`.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

mod beside;
mod class;
mod egress;
#[path = "../flows/mod.rs"]
mod flows;
mod gateways;
mod grouping;
mod history;
mod kept;
mod notes;
mod remedies;
mod restarts;

use std::collections::BTreeSet;
use std::sync::Arc;

use analyzer::audit::Auditor;
use analyzer::mesh::{Manifest, Mesh};
use analyzer::report::{Judged, Judgement, Severity, Violation};
use analyzer::violation::{RULES, SEEN};
use flow::{
    Certificate, ClientAuth, Evidence, Flow, Outcome, PerSide, Presented, Proof, Security, TlsSession,
    TlsVersion, Withheld,
};
use flows::{at, flow};

pub(crate) const FRONT: &str = "10.1.0.10";
pub(crate) const JOB: &str = "10.1.0.40";
pub(crate) const ORDERS: &str = "10.1.0.20:8080";
pub(crate) const SEARCH: &str = "10.1.0.30:8080";
pub(crate) const SEARCH_TCP: &str = "10.1.0.30:9000";
pub(crate) const SEARCH_HTTPS: &str = "10.1.0.30:8443";
pub(crate) const STOCK: &str = "10.1.0.50:8080";
pub(crate) const INGRESS: &str = "10.1.0.60:8443";
pub(crate) const VAULT: &str = "10.1.0.80";
pub(crate) const STRANGER: &str = "198.51.100.7";

pub(crate) fn clean() -> String {
    include_str!("clean.yaml").to_owned()
}

/// Reads a mesh in which every document must be of use.
pub(crate) fn mesh(text: &str) -> Arc<Mesh> {
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text: text.to_owned() }]);
    assert!(errors.is_empty(), "{errors:?}");
    Arc::new(mesh)
}

/// The same flow without an answer: an attempt.
pub(crate) fn unanswered(flow: Flow) -> Flow {
    Flow { bytes: PerSide { server: 0, ..flow.bytes }, ..flow }
}

pub(crate) const PLAIN: Security = Security::Plaintext(Evidence::WIRE);

pub(crate) fn session(alpn: &[&str], sni: Option<&str>) -> TlsSession {
    TlsSession {
        version: Some(TlsVersion::Tls13),
        alpn_offered: alpn.iter().map(|name| (*name).to_owned()).collect(),
        sni: sni.map(str::to_owned),
        ja4: Some("t13".to_owned()),
        outcome: Outcome::Established,
        ..TlsSession::default()
    }
}

const EXACT: Evidence = Evidence { proof: Proof::Exact, reason: None };

/// TLS with a client certificate.
pub(crate) fn mutual(session: TlsSession) -> Security {
    Security::Tls(Arc::new(session), ClientAuth::Proved(Presented::Sent, EXACT))
}

/// TLS without one.
pub(crate) fn one_way(session: TlsSession) -> Security {
    Security::Tls(Arc::new(session), ClientAuth::Refuted(Withheld::Absent, EXACT))
}

/// What a sidecar sends to a Service of the mesh.
pub(crate) fn istio(sni: &str) -> TlsSession {
    session(&["istio-http/1.1", "istio", "http/1.1"], Some(sni))
}

pub(crate) const TO_ORDERS: &str = "outbound_.80_._.orders.shop.svc.cluster.local";
pub(crate) const TO_SEARCH: &str = "outbound_.80_._.search.open.svc.cluster.local";

/// A workload certificate of a day, as istiod issues it.
pub(crate) fn identity(id: &str) -> Arc<Certificate> {
    Arc::new(Certificate {
        subject: String::new(),
        issuer: "O=corp.example".to_owned(),
        sans: vec![format!("uri:{id}")],
        spiffe_id: Some(id.to_owned()),
        not_before: Some(at("2026-03-01T00:00:00Z")),
        not_after: Some(at("2026-03-02T00:00:00Z")),
        key: "rsa-2048".to_owned(),
        chain: 2,
    })
}

pub(crate) fn judge(text: &str, flow: &Flow) -> Judged {
    Auditor::new(mesh(text)).judge(flow)
}

/// The flow conforms, or is at least not wrong, and nothing is found.
#[track_caller]
pub(crate) fn fine(text: &str, flow: &Flow) -> Judged {
    let judged = judge(text, flow);
    assert_ne!(judged.judgement, Judgement::Violates, "{}", judged.basis);
    assert!(judged.violations.is_empty(), "{:#?}", judged.violations);
    judged
}

/// Exactly this is found, with the severity of the catalogue; it is a violation unless it is only worth knowing.
#[track_caller]
pub(crate) fn exactly(id: &str, text: &str, flow: &Flow) -> Violation {
    let mut judged = judge(text, flow);
    let found: Vec<&str> = judged.violations.iter().map(|violation| violation.id.as_str()).collect();
    assert_eq!(found, [id], "{} {:#?}", judged.basis, judged.violations);
    let rule = RULES.iter().chain(SEEN).find(|rule| rule.id == id).unwrap();
    let found = judged.violations.remove(0);
    assert_eq!(found.severity, rule.severity);
    assert_eq!(judged.judgement == Judgement::Violates, rule.severity > Severity::Info, "{}", judged.basis);
    assert!(judged.basis.starts_with(id) || rule.severity == Severity::Info, "{}", judged.basis);
    Arc::unwrap_or_clone(found)
}

/// Replaces a text that must be there.
#[track_caller]
pub(crate) fn with(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "the mesh has no {old}");
    text.replace(old, new)
}

/// Adds a document.
pub(crate) fn and(text: &str, document: &str) -> String {
    format!("{text}---\n{document}\n")
}

#[test]
fn ids_ascend_without_a_gap_and_severities_are_the_catalogue_s() {
    let (critical, high, medium, info) = ("critical", "high", "medium", "info");
    let catalogue = [
        ("OB01", critical),
        ("OB02", high),
        ("OB03", high),
        ("OB04", high),
        ("OB05", medium),
        ("OB06", high),
        ("OB07", medium),
        ("OB08", medium),
        ("OB09", high),
        ("OB10", critical),
        ("OB11", medium),
        ("OB12", high),
        ("OB13", medium),
        ("OB14", high),
        ("OB15", medium),
        ("OB16", medium),
        ("OB17", high),
        ("OB18", medium),
        ("OB19", info),
        ("OB20", info),
        ("OB21", info),
        ("OB22", info),
        ("OB23", high),
    ];
    let rules: Vec<_> = RULES.iter().map(|rule| (rule.id, rule.severity.name())).collect();
    assert_eq!(rules, catalogue);
    let titles: BTreeSet<_> = RULES.iter().map(|rule| rule.title).collect();
    assert_eq!(titles.len(), RULES.len(), "a title stands twice");
    assert!(RULES.iter().all(|rule| !rule.source.is_empty()));
}
