//! OB12 to OB16: versions, suites, certificates and names, which stand in the clear beside the class.

use std::sync::Arc;

use analyzer::report::Certainty;
use flow::{Certificate, Flow, Outcome, TlsSession, TlsVersion};

use super::{
    FRONT, INGRESS, ORDERS, SEARCH, STRANGER, TO_ORDERS, TO_SEARCH, at, clean, exactly, fine, flow, identity,
    istio, mutual, one_way, session, with,
};

const SUITE: &str = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";

/// TLS 1.2 between two sidecars, with both certificates in the clear.
fn old() -> TlsSession {
    TlsSession {
        version: Some(TlsVersion::Tls12),
        cipher: Some(SUITE.into()),
        client_certificate: Some(identity("spiffe://corp.example/ns/web/sa/front")),
        server_certificate: Some(identity("spiffe://corp.example/ns/shop/sa/orders")),
        ..istio(TO_ORDERS)
    }
}

fn to_orders(session: TlsSession) -> Flow {
    flow(FRONT, ORDERS, mutual(session))
}

#[test]
fn tls_1_2_of_the_mesh_conforms() {
    fine(&clean(), &to_orders(old()));
}

#[test]
fn ob12_a_version_below_the_declared_minimum() {
    let lower =
        with(&clean(), "meshMTLS: {minProtocolVersion: TLSV1_2", "meshMTLS: {minProtocolVersion: TLSV1_3");
    let found = exactly("OB12", &lower, &to_orders(old()));
    assert_eq!(found.cause.as_deref(), Some("ConfigMap/istio-system/istio"));
    fine(&lower, &to_orders(istio(TO_ORDERS)));
    // A handshake that failed negotiated nothing.
    fine(&lower, &to_orders(TlsSession { outcome: Outcome::Failed, ..old() }));
    // Where nothing is declared Istio takes TLS 1.2 as the lowest.
    let undeclared = with(&clean(), "minProtocolVersion: TLSV1_2, ", "");
    exactly("OB12", &undeclared, &to_orders(TlsSession { version: Some(TlsVersion::Tls11), ..old() }));
}

#[test]
fn ob12_at_a_gateway() {
    let partner = |version, cipher: &'static str| {
        let session = session(&["h2"], Some("partner.example.com"));
        flow(
            STRANGER,
            INGRESS,
            mutual(TlsSession { version: Some(version), cipher: Some(cipher.into()), ..session }),
        )
    };
    let listed = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    fine(&clean(), &partner(TlsVersion::Tls12, listed));
    let found = exactly("OB12", &clean(), &partner(TlsVersion::Tls10, listed));
    assert_eq!(found.cause.as_deref(), Some("Gateway/istio-system/partners"));
    // What a gateway only passes on it does not negotiate.
    let through =
        TlsSession { version: Some(TlsVersion::Tls10), ..session(&["h2"], Some("through.example.com")) };
    fine(&clean(), &flow(STRANGER, INGRESS, one_way(through)));
}

#[test]
fn ob12_originated_by_a_rule() {
    let rule = with(&clean(), "tls: {mode: DISABLE}", "tls: {mode: SIMPLE}");
    let api = |version| {
        let session = session(&[], Some("api.example.com"));
        flow(FRONT, "203.0.113.10:443", one_way(TlsSession { version: Some(version), ..session }))
    };
    fine(&rule, &api(TlsVersion::Tls12));
    exactly("OB12", &rule, &api(TlsVersion::Tls10));
}

#[test]
fn ob13_a_suite_outside_the_declared_list() {
    let other = TlsSession { cipher: Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".into()), ..old() };
    let found = exactly("OB13", &clean(), &to_orders(other.clone()));
    assert_eq!(found.cause.as_deref(), Some("ConfigMap/istio-system/istio"));
    assert_eq!(found.certainty, Certainty::Certain);
    // The suites of TLS 1.3 are not configurable.
    fine(
        &clean(),
        &to_orders(TlsSession { cipher: Some("TLS_AES_128_GCM_SHA256".into()), ..istio(TO_ORDERS) }),
    );
    // An expression could hold any suite; IANA names Istio leaves out.
    for (list, judged) in [("[ALL]", false), ("[ECDHE-RSA-AES256-GCM-SHA384, TLS_AES_128_GCM_SHA256]", true)]
    {
        let mesh =
            with(&clean(), "cipherSuites: [ECDHE-RSA-AES256-GCM-SHA384]", &format!("cipherSuites: {list}"));
        if judged {
            exactly("OB13", &mesh, &to_orders(other.clone()));
        } else {
            fine(&mesh, &to_orders(other.clone()));
        }
    }
}

#[test]
fn ob14_a_certificate_of_another_identity() {
    let shown = |client: &str, server: &str| {
        to_orders(TlsSession {
            client_certificate: Some(identity(client)),
            server_certificate: Some(identity(server)),
            ..old()
        })
    };
    let (front, orders) =
        ("spiffe://corp.example/ns/web/sa/front", "spiffe://corp.example/ns/shop/sa/orders");
    for (client, server) in [
        (front, "spiffe://corp.example/ns/shop/sa/other"),
        (front, "spiffe://corp.example/ns/other/sa/orders"),
        (front, "spiffe://else.example/ns/shop/sa/orders"),
        ("spiffe://corp.example/ns/web/sa/other", orders),
        ("spiffe://else.example/ns/web/sa/front", orders),
    ] {
        let found = exactly("OB14", &clean(), &shown(client, server));
        assert_eq!(found.certainty, Certainty::Certain);
    }
    fine(&clean(), &shown("spiffe://old.example/ns/web/sa/front", orders));
    // Without a MeshConfig nobody knows the mesh's trust domain.
    let nobody = clean();
    let (_, without) = nobody.split_once("---\n").unwrap();
    fine(without, &shown("spiffe://else.example/ns/web/sa/front", orders));
}

#[test]
fn ob14_a_server_that_the_rule_does_not_name() {
    let rule = with(
        &clean(),
        "tls: {mode: DISABLE}",
        "tls: {mode: SIMPLE, subjectAltNames: [api.example.com], caCertificates: /ca}",
    );
    let named = |name: &str| {
        let certificate =
            Certificate { sans: vec![name.to_owned()], spiffe_id: None, ..(*identity("x")).clone() };
        let session = TlsSession {
            version: Some(TlsVersion::Tls12),
            server_certificate: Some(Arc::new(certificate)),
            ..session(&[], Some("api.example.com"))
        };
        flow(FRONT, "203.0.113.10:443", one_way(session))
    };
    fine(&rule, &named("dns:api.example.com"));
    fine(&rule, &named("dns:*.example.com"));
    let found = exactly("OB14", &rule, &named("dns:other.example.com"));
    assert_eq!(found.cause.as_deref(), Some("DestinationRule/web/api"));
}

#[test]
fn ob15_a_certificate_outside_its_time() {
    let valid = |from: &str, to: &str| {
        let certificate = Certificate {
            not_before: Some(at(from)),
            not_after: Some(at(to)),
            ..(*identity("spiffe://corp.example/ns/shop/sa/orders")).clone()
        };
        to_orders(TlsSession { server_certificate: Some(Arc::new(certificate)), ..old() })
    };
    fine(&clean(), &valid("2026-03-01T00:00:00Z", "2026-05-01T00:00:00Z"));
    for (from, to, word) in [
        ("2026-02-01T00:00:00Z", "2026-03-01T11:59:59Z", "expired"),
        ("2026-03-01T12:00:01Z", "2026-03-02T00:00:00Z", "not valid yet"),
        ("2026-03-01T00:00:00Z", "2027-03-01T00:00:00Z", "365 days"),
    ] {
        let found = exactly("OB15", &clean(), &valid(from, to));
        assert!(found.message.contains(word), "{}", found.message);
    }
}

#[test]
fn ob16_the_client_meant_another_service() {
    let to_search = |sni: &str| flow(FRONT, SEARCH, mutual(istio(sni)));
    fine(&clean(), &to_search(TO_SEARCH));
    fine(&clean(), &to_search("outbound_.80_.v1_.search.open.svc.cluster.local"));
    fine(&clean(), &to_search("outbound_.80_._.search.open.svc.clusterset.local"));
    exactly("OB16", &clean(), &to_search(TO_ORDERS));
    exactly("OB16", &clean(), &to_search("outbound_.9000_._.search.open.svc.cluster.local"));
    // A subset whose labels the pod lacks.
    let moved = with(&clean(), "labels: {app: search}\n---", "labels: {app: search, version: v1}\n---");
    exactly("OB16", &moved, &to_search("outbound_.80_.v1_.search.open.svc.cluster.local"));
}
