//! Flows judged by the meshes of `testdata/policy`: one thing is broken, exactly that violation is found.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

mod flows;

use std::path::Path;
use std::sync::Arc;

use analyzer::audit::{Auditor, EXAMPLES, Ledger};
use analyzer::mesh::{Manifest, Mesh};
use analyzer::report::{Certainty, Judged, Judgement};
use flow::{
    ClientAuth, Close, Evidence, Flow, FlowId, Outcome, PerSide, Presented, Proof, Reason, Security,
    Timestamp, TlsSession, Withheld,
};

fn auditor(case: &str) -> Auditor {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/policy").join(case).join("resources.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    Auditor::new(Arc::new(Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]).0))
}

fn flow(from: &str, to: &str, security: Security, answered: bool) -> Flow {
    let flow = flows::flow(from, to, security);
    Flow { bytes: PerSide { client: 10, server: u64::from(answered) }, ..flow }
}

fn plaintext() -> Security {
    Security::Plaintext(Evidence::WIRE)
}

fn tls(auth: ClientAuth, alpn: &str, sni: Option<&str>, outcome: Outcome) -> Security {
    let session = TlsSession {
        alpn_offered: vec![alpn.to_owned()],
        sni: sni.map(str::to_owned),
        ja4: Some("t13".to_owned()),
        outcome,
        ..TlsSession::default()
    };
    Security::Tls(Arc::new(session), auth)
}

const MUTUAL: ClientAuth =
    ClientAuth::Proved(Presented::Sent, Evidence { proof: Proof::Exact, reason: None });
const ONE_WAY: ClientAuth =
    ClientAuth::Refuted(Withheld::Absent, Evidence { proof: Proof::Exact, reason: None });

fn check(case: &str, flow: &Flow, judgement: Judgement, id: Option<(&str, Option<&str>)>) -> Judged {
    let judged = auditor(case).judge(flow);
    assert_eq!(judged.judgement, judgement, "{case}: {} {:#?}", judged.basis, judged.violations);
    let found: Vec<_> = judged
        .violations
        .iter()
        .map(|violation| (violation.id.as_str(), violation.cause.as_deref()))
        .collect();
    assert_eq!(found, id.into_iter().collect::<Vec<_>>(), "{case}");
    judged
}

#[test]
fn what_is_declared_conforms() {
    let istio = || tls(MUTUAL, "istio", None, Outcome::Established);
    for (case, from, to) in [
        ("001-namespace-strict-grpc", "10.20.130.11", "10.20.130.21:50051"),
        ("002-permissive-http-client-outside-mesh", "10.20.131.11", "10.20.131.21:8080"),
        ("003-workload-permissive-in-strict-mesh", "10.20.132.11", "10.20.132.21:7777"),
        ("012-ambient-hbone", "10.20.141.11", "10.20.141.21:15008"),
    ] {
        check(case, &flow(from, to, istio(), true), Judgement::Conforms, None);
    }
}

#[test]
fn one_thing_broken_is_one_violation() {
    let (case, from, to) =
        ("005-client-rule-disables-tls-to-strict-server", "10.20.134.11", "10.20.134.21:8080");
    let attempt = check(
        case,
        &flow(from, to, plaintext(), false),
        Judgement::Violates,
        Some(("OB02", Some("DestinationRule/web/orders-plain"))),
    );
    let remedy = &attempt.violations[0].remedy;
    assert!(remedy.yaml.as_ref().unwrap().contains("mode: ISTIO_MUTUAL"));
    assert!(remedy.line.is_some() && remedy.file.as_deref() == Some("mesh.yaml"));
    let accepted = flow(from, to, plaintext(), true);
    let strict = Some(("OB01", Some("PeerAuthentication/orders/default")));
    check(case, &accepted, Judgement::Violates, strict);
    let one_way = flow("10.20.130.11", "10.20.130.21:50051", tls(ONE_WAY, "h2", None, Outcome::Failed), true);
    let strict = Some(("OB03", Some("PeerAuthentication/orders/default")));
    check("001-namespace-strict-grpc", &one_way, Judgement::Violates, strict);
    let downgrade = flow("10.20.132.11", "10.20.132.21:7777", plaintext(), true);
    check("003-workload-permissive-in-strict-mesh", &downgrade, Judgement::Violates, Some(("OB04", None)));
    let (case, from, to) = ("002-permissive-http-client-outside-mesh", "10.20.131.11", "10.20.131.21:8080");
    check(case, &flow(from, to, plaintext(), true), Judgement::Violates, Some(("OB05", None)));
    let foreign = flow(from, to, tls(MUTUAL, "h2", None, Outcome::Established), true);
    check(case, &foreign, Judgement::Violates, Some(("OB07", None)));
    let hidden = tls(ClientAuth::Hidden(Reason::ALL[0]), "istio", None, Outcome::Incomplete);
    let undecryptable = flow("10.20.135.11", "10.20.135.21:8080", hidden, true);
    check(
        "006-istio-mutual-to-server-without-proxy",
        &undecryptable,
        Judgement::Violates,
        Some(("OB06", Some("DestinationRule/web/all"))),
    );
    let stale = tls(MUTUAL, "istio", Some("outbound_.80_._.other.x.svc.cluster.local"), Outcome::Established);
    let stale = flow("10.20.130.11", "10.20.130.21:50051", stale, true);
    check("001-namespace-strict-grpc", &stale, Judgement::Violates, Some(("OB16", None)));
    let ambient = flow("10.20.141.11", "10.20.141.21:8080", plaintext(), true);
    check("012-ambient-hbone", &ambient, Judgement::Violates, Some(("OB17", None)));
}

#[test]
fn a_gateway_that_requires_certificates() {
    let (case, from, to) = ("010-gateway-mutual", "203.0.113.139", "10.20.139.31:8443");
    let gateway = Some("Gateway/istio-system/gw");
    let with = |auth, outcome| flow(from, to, tls(auth, "h2", Some("partner.example.com"), outcome), true);
    check(case, &with(MUTUAL, Outcome::Established), Judgement::Conforms, None);
    check(case, &with(ONE_WAY, Outcome::Established), Judgement::Violates, Some(("OB10", gateway)));
    check(case, &with(ONE_WAY, Outcome::Failed), Judgement::Violates, Some(("OB09", gateway)));
    check(case, &flow(from, to, plaintext(), true), Judgement::Violates, Some(("OB09", gateway)));
}

#[test]
fn a_handshake_that_failed_is_no_pass() {
    let rogue = ClientAuth::Proved(Presented::Rejected, Evidence::WIRE);
    for (auth, outcome, expected) in [
        (rogue, Outcome::Failed, Judgement::Undecided),
        (MUTUAL, Outcome::Failed, Judgement::Undecided),
        (MUTUAL, Outcome::Established, Judgement::Conforms),
    ] {
        let sni = Some("outbound_.9000_._.orders.orders.svc.cluster.local");
        let istio = tls(auth, "istio-h2", sni, outcome);
        check(
            "001-namespace-strict-grpc",
            &flow("10.20.130.11", "10.20.130.21:50051", istio, true),
            expected,
            None,
        );
    }
}

#[test]
fn an_unknown_destination_is_no_server_that_cannot_decrypt() {
    let sni = Some("outbound_.8080_._.orders.orders.svc.cluster.local");
    for outcome in [Outcome::Failed, Outcome::Incomplete, Outcome::Established] {
        let istio = tls(MUTUAL, "istio", sni, outcome);
        let case = "006-istio-mutual-to-server-without-proxy";
        check(case, &flow("10.20.135.11", "192.0.2.77:8080", istio, true), Judgement::Undecided, None);
    }
}

#[test]
fn a_handshake_that_completed_was_terminated() {
    let sni = Some("outbound_.8080_._.orders.orders.svc.cluster.local");
    let istio = tls(MUTUAL, "istio", sni, Outcome::Established);
    let judged = auditor("006-istio-mutual-to-server-without-proxy").judge(&flow(
        "10.20.135.11",
        "10.20.135.21:8080",
        istio,
        true,
    ));
    assert!(judged.violations.is_empty(), "{:#?}", judged.violations);
}

#[test]
fn what_the_wire_hides_is_no_violation() {
    let (case, from, to) = ("001-namespace-strict-grpc", "10.20.130.11", "10.20.130.21:50051");
    for &reason in Reason::ALL {
        let hidden = tls(ClientAuth::Hidden(reason), "h2", None, Outcome::Established);
        let note = Some(("OB22", None));
        check(case, &flow(from, to, hidden, true), Judgement::Undecided, note);
        check(case, &flow(from, to, Security::Unknown(reason), true), Judgement::Undecided, note);
    }
    check(case, &flow(from, "10.20.130.21:15021", plaintext(), true), Judgement::Exempt, None);
    check(case, &flow("127.0.0.6", to, plaintext(), true), Judgement::Exempt, None);
    let note = Some(("OB19", None));
    check(case, &flow(from, "192.0.2.1:443", plaintext(), true), Judgement::Undecided, note);
}

#[test]
fn an_inferred_proof_is_only_likely() {
    for &proof in Proof::ALL {
        let auth = ClientAuth::Refuted(Withheld::Absent, Evidence { proof, reason: None });
        let flow =
            flow("10.20.130.11", "10.20.130.21:50051", tls(auth, "h2", None, Outcome::Established), true);
        let judged = auditor("001-namespace-strict-grpc").judge(&flow);
        let certain = matches!(proof, Proof::Wire | Proof::Exact);
        let expected = if certain { Certainty::Certain } else { Certainty::Likely };
        assert_eq!(judged.violations[0].certainty, expected, "{proof}");
    }
}

#[test]
fn a_flow_reported_twice_counts_once() {
    let auditor = auditor("002-permissive-http-client-outside-mesh");
    let mut ledger = Ledger::default();
    for number in 0..8 {
        let mut settled = flow("10.20.131.11", "10.20.131.21:8080", plaintext(), true);
        settled.id = FlowId(number);
        settled.close = Close::Open;
        ledger.add(&auditor.judge(&settled));
        let mut ended = settled.clone();
        ended.close = Close::Fin;
        ended.end = Timestamp::from_nanos(9);
        ledger.add(&auditor.judge(&ended));
    }
    let findings = ledger.findings();
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].flows, findings[0].examples.len()), (8, EXAMPLES));
    assert_eq!(findings[0].last_seen, Timestamp::from_nanos(9));
    assert_eq!(findings[0].key.len(), 16);
    assert_eq!(ledger.summary().judgements["violates"], 8);
    assert_eq!(ledger.summary().flows["plaintext"]["wire"], 8);
}

#[test]
fn edges_that_are_kept_change_no_answer() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/policy");
    let meshes: Vec<Arc<Mesh>> = std::fs::read_dir(cases)
        .unwrap()
        .filter_map(|case| std::fs::read_to_string(case.unwrap().path().join("resources.yaml")).ok())
        .map(|text| Arc::new(Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text }]).0))
        .collect();
    let mut violations = 0;
    for pair in meshes.windows(2) {
        let [mesh, next] = pair else { continue };
        let later = vec![(Timestamp::from_nanos(100), Arc::clone(next))];
        let auditor = Auditor::with_history(Arc::clone(mesh), later);
        let (none, few) = (auditor.clone().keeping(0), auditor.clone().keeping(16));
        for _ in 0..2 {
            for flow in flows(mesh) {
                let expected = none.judge(&flow);
                violations += expected.violations.len();
                let json = serde_json::to_string(&expected).unwrap();
                for auditor in [&auditor, &few] {
                    assert_eq!(serde_json::to_string(&auditor.judge(&flow)).unwrap(), json);
                }
            }
        }
    }
    assert!(violations > 100, "{violations}");
}

/// Flows of several kinds between every two addresses of a mesh, before, after and across the time 100.
fn flows(mesh: &Mesh) -> Vec<Flow> {
    let pods = mesh.pods.iter().flat_map(|pod| pod.ips.iter().map(|ip| (*ip, 8080)));
    let hosts = mesh.hosts.iter().flat_map(|host| {
        let ports = host.ports.iter().map(|port| port.number).take(1);
        ports.flat_map(|port| host.addresses.iter().map(move |range| (range.addr(), port)))
    });
    let mut ends: Vec<_> = pods.chain(hosts).chain([([192, 0, 2, 9].into(), 443)]).collect();
    ends.truncate(8);
    let securities = [
        plaintext(),
        tls(MUTUAL, "istio", None, Outcome::Established),
        tls(MUTUAL, "istio", Some("outbound_.80_._.web.shop.svc.cluster.local"), Outcome::Failed),
        tls(MUTUAL, "h2", Some("www.example.com"), Outcome::Established),
        Security::Unknown(Reason::MidStream),
    ];
    let mut flows = Vec::new();
    for ((from, _), (to, port)) in ends.iter().flat_map(|from| ends.iter().map(move |to| (from, to))) {
        for (start, end) in [(1, 2), (1, 200), (150, 200)] {
            for security in &securities {
                let flow = flow(
                    &from.to_string(),
                    &std::net::SocketAddr::from((*to, *port)).to_string(),
                    security.clone(),
                    true,
                );
                flows.push(Flow {
                    start: Timestamp::from_nanos(start),
                    end: Timestamp::from_nanos(end),
                    ..flow
                });
            }
        }
    }
    flows
}
