//! OB09 to OB11: gateways, and TLS that is wrapped twice.

use analyzer::report::Certainty;
use flow::{Flow, Outcome, TlsSession};

use super::{FRONT, INGRESS, PLAIN, STRANGER, clean, exactly, fine, flow, mutual, one_way, session, with};

fn partner() -> TlsSession {
    session(&["h2"], Some("partner.example.com"))
}

#[test]
fn ob09_a_class_that_the_gateway_does_not_accept() {
    fine(&clean(), &flow(STRANGER, INGRESS, mutual(partner())));
    let refused = TlsSession { outcome: Outcome::Failed, ..partner() };
    let found = exactly("OB09", &clean(), &flow(STRANGER, INGRESS, one_way(refused)));
    assert_eq!(found.cause.as_deref(), Some("Gateway/istio-system/partners"));
    exactly("OB09", &clean(), &flow(STRANGER, INGRESS, PLAIN));
}

#[test]
fn ob10_a_gateway_that_requires_certificates_accepted_none() {
    let found = exactly("OB10", &clean(), &flow(STRANGER, INGRESS, one_way(partner())));
    assert_eq!(found.cause.as_deref(), Some("Gateway/istio-system/partners"));
}

/// A rule by which the gateway wraps what it passes on.
fn wrapped() -> String {
    format!(
        "{}---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: wrap, namespace: open}}\nspec: {{host: search.open.svc.cluster.local, trafficPolicy: {{tls: {{mode: SIMPLE}}}}}}\n",
        clean()
    )
}

#[test]
fn ob11_tls_inside_tls_behind_a_gateway() {
    let through = flow(STRANGER, INGRESS, one_way(session(&["h2"], Some("through.example.com"))));
    fine(&clean(), &through);
    let found = exactly("OB11", &wrapped(), &through);
    assert_eq!(found.cause.as_deref(), Some("DestinationRule/open/wrap"));
    assert_eq!(found.certainty, Certainty::Likely, "the second layer is declared, and was not seen");
}

#[test]
fn ob11_tls_inside_tls_at_the_sidecar() {
    let inside = |text: &str| {
        with(text, "api.example.com\n  trafficPolicy:\n    tls: {mode: DISABLE}", text_of("SIMPLE"))
    };
    let own = flow(FRONT, "127.0.0.1:15001", one_way(session(&["h2"], Some("api.example.com"))));
    fine(&clean(), &own);
    let found = exactly("OB11", &inside(&clean()), &own);
    assert_eq!(found.cause.as_deref(), Some("DestinationRule/web/api"));
    // On lo the leg may be seen under the address that was dialled.
    let dialled =
        Flow { seen_at: vec!["lo".to_owned()], ..flow(FRONT, "203.0.113.10:443", own.security.clone()) };
    exactly("OB11", &inside(&clean()), &dialled);
    // Plaintext on the loopback leg is what it should be.
    fine(&inside(&clean()), &flow(FRONT, "127.0.0.1:15001", PLAIN));
    // Istio mTLS around the application's own TLS is as it should be.
    let mesh = with(&clean(), "tls: {mode: DISABLE}", "tls: {mode: ISTIO_MUTUAL}");
    fine(&mesh, &own);
}

fn text_of(mode: &str) -> &'static str {
    match mode {
        "SIMPLE" => "api.example.com\n  trafficPolicy:\n    tls: {mode: SIMPLE}",
        _ => "",
    }
}
