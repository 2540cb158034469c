//! OB01 to OB08 and OB17: the class, at a workload.

use analyzer::report::{Certainty, Judgement};
use flow::{
    ClientAuth, Evidence, Flow, Outcome, PerSide, Proof, Protocol, Reason, Security, TlsSession, Withheld,
};

use super::{
    FRONT, JOB, ORDERS, PLAIN, SEARCH, SEARCH_HTTPS, SEARCH_TCP, STOCK, TO_ORDERS, TO_SEARCH, and, clean,
    exactly, fine, flow, istio, judge, mutual, one_way, session, unanswered, with,
};

#[test]
fn what_is_declared_conforms() {
    let judged = fine(&clean(), &flow(FRONT, ORDERS, mutual(istio(TO_ORDERS))));
    assert_eq!(judged.judgement, Judgement::Conforms);
    assert_eq!(judged.basis, "what the destination accepts: mtls (exact)");
    fine(&clean(), &flow(FRONT, SEARCH, mutual(istio(TO_SEARCH))));
    fine(&clean(), &flow(FRONT, STOCK, PLAIN));
}

#[test]
fn ob01_plaintext_accepted_under_strict() {
    let found = exactly("OB01", &clean(), &flow(FRONT, ORDERS, PLAIN));
    assert_eq!(found.cause.as_deref(), Some("PeerAuthentication/istio-system/default"));
    // Without a proxy nobody enforces what is declared.
    let strict = with(
        &clean(),
        "namespace: legacy}\nspec: {mtls: {mode: PERMISSIVE}}",
        "namespace: legacy}\nspec: {mtls: {mode: STRICT}}",
    );
    exactly("OB01", &strict, &flow(FRONT, STOCK, PLAIN));
}

#[test]
fn tls_that_encrypts_nothing_is_plaintext_where_mtls_is_due() {
    let cipher = Some("TLS_ECDHE_ECDSA_WITH_NULL_SHA".into());
    let null = TlsSession { cipher, outcome: Outcome::Established, ..istio(TO_ORDERS) };
    exactly("OB01", &clean(), &flow(FRONT, ORDERS, mutual(null.clone())));
    // What came to nothing carried nothing.
    let failed = TlsSession { outcome: Outcome::Failed, ..null };
    let judged = judge(&clean(), &flow(FRONT, ORDERS, mutual(failed)));
    assert_ne!(judged.judgement, Judgement::Violates);
}

#[test]
fn ob02_plaintext_refused_by_strict() {
    let found = exactly("OB02", &clean(), &unanswered(flow(JOB, ORDERS, PLAIN)));
    assert_eq!(found.certainty, Certainty::Certain);
    assert!(found.message.contains("no proxy that could encrypt"), "{}", found.message);
    let rule = and(
        &clean(),
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: plain, namespace: web}\nspec: {host: orders.shop.svc.cluster.local, trafficPolicy: {tls: {mode: DISABLE}}}",
    );
    let found = exactly("OB02", &rule, &unanswered(flow(FRONT, ORDERS, PLAIN)));
    assert_eq!(found.cause.as_deref(), Some("DestinationRule/web/plain"));
}

#[test]
fn a_refusal_that_was_not_captured_is_only_likely() {
    let attempt = unanswered(flow(JOB, ORDERS, PLAIN));
    let one_sided = Flow { packets: PerSide { client: 3, server: 0 }, ..attempt };
    let found = exactly("OB02", &clean(), &one_sided);
    assert_eq!(found.certainty, Certainty::Likely);
    assert!(found.message.contains("no answer was captured"), "{}", found.message);
}

#[test]
fn ob03_tls_without_a_certificate_under_strict() {
    let found = exactly("OB03", &clean(), &flow(JOB, ORDERS, one_way(session(&["h2"], None))));
    assert!(found.message.ends_with("the handshake completed"), "{}", found.message);
    let refused = TlsSession { outcome: Outcome::Failed, ..session(&["h2"], None) };
    let found = exactly("OB03", &clean(), &flow(JOB, ORDERS, one_way(refused)));
    assert!(found.message.ends_with("the handshake was refused"), "{}", found.message);
}

#[test]
fn ob04_weaker_than_the_client_declares() {
    exactly("OB04", &clean(), &flow(FRONT, SEARCH, PLAIN));
    // To a TCP port the server lets ordinary TLS through, but the client's proxy was to send mutual TLS.
    exactly("OB04", &clean(), &flow(FRONT, SEARCH_TCP, one_way(session(&["h2"], None))));
    // Without a proxy the application decides.
    fine(&clean(), &flow(JOB, SEARCH_TCP, one_way(session(&["h2"], None))));
}

#[test]
fn ob04_a_server_that_asks_for_no_certificate_gets_none() {
    let rule =
        with(&clean(), "tls: {mode: DISABLE}", "tls: {mode: MUTUAL, clientCertificate: /c, privateKey: /k}");
    let api = "203.0.113.10:443";
    let sni = || session(&[], Some("api.example.com"));
    fine(&rule, &flow(FRONT, api, mutual(sni())));
    fine(&rule, &flow(FRONT, api, one_way(sni())));
    let declined = ClientAuth::Refuted(Withheld::Declined, Evidence::WIRE);
    exactly("OB04", &rule, &flow(FRONT, api, Security::Tls(sni().into(), declined)));
}

#[test]
fn ob05_plaintext_that_blocks_the_way_to_strict() {
    let found = exactly("OB05", &clean(), &flow(JOB, SEARCH, PLAIN));
    assert_eq!(found.cause.as_deref(), Some("PeerAuthentication/open/default"));
    fine(&clean(), &unanswered(flow(JOB, SEARCH, PLAIN)));
}

#[test]
fn ob06_istio_mtls_that_nobody_decrypts() {
    let rule = and(
        &clean(),
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: stock, namespace: web}\nspec: {host: stock.legacy.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
    );
    let to_stock = "outbound_.80_._.stock.legacy.svc.cluster.local";
    let failed = TlsSession { outcome: Outcome::Failed, ..istio(to_stock) };
    let hidden = Security::Tls(failed.into(), ClientAuth::Hidden(Reason::Refused));
    let found = exactly("OB06", &rule, &flow(FRONT, STOCK, hidden));
    assert_eq!(found.cause.as_deref(), Some("DestinationRule/web/stock"));
    assert_eq!(found.certainty, Certainty::Likely, "the certificate is not proved at all");
}

#[test]
fn ob07_tls_to_a_port_declared_http() {
    exactly("OB07", &clean(), &flow(JOB, SEARCH, one_way(session(&["h2"], None))));
    // A certificate of the mesh without Istio's ALPN is ordinary TLS to a PERMISSIVE sidecar.
    exactly("OB07", &clean(), &flow(JOB, SEARCH, mutual(session(&["h2"], None))));
}

#[test]
fn ob08_plaintext_to_a_port_declared_https() {
    let plain = || Flow { protocol: Some(Protocol::Http1), ..flow("10.1.0.5", SEARCH_HTTPS, PLAIN) };
    fine(&clean(), &unanswered(flow(JOB, SEARCH_TCP, PLAIN)));
    let found = exactly("OB08", &clean(), &unanswered(plain()));
    assert!(found.remedy.yaml.unwrap().contains("appProtocol: http\n"));
}

#[test]
fn ob17_plaintext_between_ambient_pods() {
    let (left, right) = ("10.1.0.70", "10.1.0.71");
    fine(&clean(), &flow(left, &format!("{right}:15008"), mutual(session(&["h2"], None))));
    exactly("OB17", &clean(), &flow(left, &format!("{right}:8080"), PLAIN));
}

#[test]
fn a_weaker_proof_lowers_the_certainty() {
    for &proof in Proof::ALL {
        let evidence = Evidence { proof, reason: None };
        let certain = matches!(proof, Proof::Wire | Proof::Exact);
        let expected = if certain { Certainty::Certain } else { Certainty::Likely };
        let auth = ClientAuth::Refuted(Withheld::Absent, evidence);
        let tls = Security::Tls(session(&["h2"], None).into(), auth);
        assert_eq!(exactly("OB03", &clean(), &flow(JOB, ORDERS, tls)).certainty, expected, "{proof}");
        let plain = Security::Plaintext(evidence);
        let found = exactly("OB01", &clean(), &flow(JOB, ORDERS, plain));
        assert_eq!(found.certainty, expected, "{proof}");
    }
}

#[test]
fn the_basis_names_class_proof_and_reason() {
    let evidence = Evidence::because(Proof::Strong, Reason::FlightSize);
    let auth = ClientAuth::Refuted(Withheld::Absent, evidence);
    let judged = judge(&clean(), &flow(JOB, ORDERS, Security::Tls(session(&[], None).into(), auth)));
    assert_eq!(judged.basis, "OB03: tls (strong, flight-size)");
}
