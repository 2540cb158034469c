//! What mends a breach is kept for later flows of the edge, and never said of one that shows something else.

use std::sync::Arc;

use analyzer::audit::Auditor;
use flow::{Certificate, Flow, Protocol, TlsSession, TlsVersion};

use super::{
    FRONT, JOB, ORDERS, PLAIN, SEARCH_HTTPS, TO_ORDERS, at, clean, flow, identity, istio, mesh, mutual,
    unanswered,
};

/// Judges the flows one after the other, several times over, and each by itself, without anything that is kept.
fn judged_alike(flows: &[Flow]) -> usize {
    let auditor = Auditor::new(mesh(&clean()));
    let alone = auditor.clone().keeping(0);
    let mut remedies: Vec<String> = Vec::new();
    for flow in flows.iter().chain(flows.iter().rev()).chain(flows) {
        let (expected, judged) = (alone.judge(flow), auditor.judge(flow));
        assert!(!expected.violations.is_empty());
        assert_eq!(judged, expected);
        remedies.push(format!("{:?}", expected.violations[0].remedy));
    }
    remedies.sort();
    remedies.dedup();
    remedies.len()
}

#[test]
fn flows_of_one_edge_that_show_different_protocols_are_mended_differently() {
    let seen = |protocol| Flow { protocol, ..unanswered(flow(JOB, SEARCH_HTTPS, PLAIN)) };
    // More than are kept of an edge.
    let protocols =
        [Some(Protocol::Http1), Some(Protocol::Http2), Some(Protocol::Grpc), Some(Protocol::Redis), None];
    assert_eq!(judged_alike(&protocols.map(seen)), 4);
}

#[test]
fn one_session_whose_certificates_end_one_after_the_other_is_mended_at_each_end() {
    let until = |id: &str, to: &str| {
        let certificate = Certificate {
            not_before: Some(at("2026-03-01T00:00:00Z")),
            not_after: Some(at(to)),
            ..(*identity(id)).clone()
        };
        Some(Arc::new(certificate))
    };
    let session = Arc::new(TlsSession {
        version: Some(TlsVersion::Tls12),
        cipher: Some("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".into()),
        client_certificate: until("spiffe://corp.example/ns/web/sa/front", "2026-03-02T00:00:00Z"),
        server_certificate: until("spiffe://corp.example/ns/shop/sa/orders", "2026-03-03T00:00:00Z"),
        ..istio(TO_ORDERS)
    });
    let on = |day: &str| {
        let flow = flow(FRONT, ORDERS, mutual((*session).clone()));
        Flow {
            start: at(&format!("2026-03-{day}T12:00:00Z")),
            end: at(&format!("2026-03-{day}T12:00:01Z")),
            ..flow
        }
    };
    assert_eq!(judged_alike(&[on("02"), on("03"), on("04")]), 2);
}
