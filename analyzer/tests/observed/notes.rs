//! OB19, OB20 and OB22: what is worth knowing, and what is only counted.

use analyzer::audit::{Auditor, Ledger};
use analyzer::report::{Judgement, SetAside};
use flow::{ClientAuth, Flow, FlowId, PerSide, Reason, Security, Transport};

use super::{
    FRONT, JOB, ORDERS, PLAIN, SEARCH, TO_ORDERS, TO_SEARCH, and, clean, exactly, fine, flow, istio, judge,
    mesh, mutual, one_way, session,
};

#[test]
fn ob19_plaintext_to_a_destination_that_nobody_declares() {
    let found = exactly("OB19", &clean(), &flow(FRONT, "192.0.2.9:80", PLAIN));
    assert!(found.message.contains("ALLOW_ANY"), "{}", found.message);
    fine(&clean(), &flow(FRONT, "192.0.2.9:443", one_way(session(&["h2"], Some("a.example.org")))));
    // Outside the mesh nobody lets anything through.
    fine(&clean(), &flow(JOB, "192.0.2.9:80", PLAIN));
    // Joined in the middle it may be the other way round.
    fine(&clean(), &Flow { from_start: false, ..flow(FRONT, "192.0.2.9:80", PLAIN) });
}

#[test]
fn ob20_ports_of_istio_s_own_are_counted_and_no_finding() {
    let mut ledger = Ledger::default();
    let auditor = Auditor::new(mesh(&clean()));
    let ports = [
        (JOB, "10.1.0.20:15020"),
        (JOB, "10.1.0.20:15021"),
        (JOB, "10.1.0.30:15090"),
        (JOB, "10.1.0.60:15021"),
        (JOB, "10.1.0.5:15014"),
        (FRONT, "10.1.0.5:15010"),
        (FRONT, "10.96.0.5:15012"),
    ];
    for (number, (from, to)) in ports.into_iter().enumerate() {
        let flow = Flow { id: FlowId(number as u128), ..flow(from, to, PLAIN) };
        let judged = auditor.judge(&flow);
        assert_eq!(judged.judgement, Judgement::Exempt, "{to}: {}", judged.basis);
        assert_eq!(judged.set_aside, Some(SetAside::InfrastructurePort), "{to}");
        ledger.add(&judged);
    }
    assert!(ledger.findings().is_empty());
    assert_eq!(ledger.summary().set_aside["infrastructure-port"], 7);
    let ztunnel = and(
        &clean(),
        "apiVersion: v1\nkind: Pod\nmetadata: {name: ztunnel-0, namespace: istio-system}\nspec: {containers: [{name: istio-proxy, args: [proxy, ztunnel]}]}\nstatus: {podIP: 10.1.0.90}",
    );
    let judged = judge(&ztunnel, &flow(JOB, "10.1.0.90:15020", PLAIN));
    assert_eq!(judged.set_aside, Some(SetAside::InfrastructurePort), "{}", judged.basis);
    // The number alone is no evidence: of a pod without proxy, or another pod than istiod, it is the application's.
    exactly("OB01", &clean(), &flow(FRONT, "10.1.0.20:15014", PLAIN));
}

#[test]
fn answers_alone_may_be_a_local_leg_where_no_interface_is_named() {
    let answers = |from, to| {
        let one_way = PerSide { client: 0, server: 3 };
        Flow { packets: one_way, bytes: one_way, from_start: false, ..flow(from, to, PLAIN) }
    };
    // Loopback of a pod whose sidecar takes the connection: the answers come from the address that was dialled.
    let judged = fine(&clean(), &answers(FRONT, ORDERS));
    assert_eq!(judged.judgement, Judgement::Undecided, "{}", judged.basis);
    assert_eq!(judged.set_aside, Some(SetAside::Loopback));
    // An interface that has a name tells by it; a pod without a proxy has no such leg; requests are no answers.
    exactly("OB01", &clean(), &Flow { seen_at: vec!["eth0".into()], ..answers(FRONT, ORDERS) });
    exactly("OB01", &clean(), &answers(JOB, ORDERS));
    exactly("OB01", &clean(), &flow(FRONT, ORDERS, PLAIN));
}

#[test]
fn loopback_and_probes_are_counted_by_why() {
    for (from, to, why) in [
        ("127.0.0.6", ORDERS, SetAside::Loopback),
        (FRONT, "127.0.0.1:15001", SetAside::Loopback),
        ("169.254.7.127", "10.1.0.71:8080", SetAside::Probe),
    ] {
        let judged = fine(&clean(), &flow(from, to, PLAIN));
        assert_eq!((judged.judgement, judged.set_aside), (Judgement::Exempt, Some(why)), "{from}");
    }
}

#[test]
fn what_is_undecided_is_counted_by_why() {
    let hidden = || Security::Tls(session(&["h2"], None).into(), ClientAuth::Hidden(Reason::Resumed));
    let failed = flow::TlsSession { outcome: flow::Outcome::Failed, ..istio(TO_ORDERS) };
    let udp = Flow { transport: Transport::Udp, ..flow(FRONT, ORDERS, PLAIN) };
    for (flow, why) in [
        (udp, SetAside::Udp),
        (flow(FRONT, ORDERS, Security::Opaque(flow::Evidence::WIRE)), SetAside::Opaque),
        (flow(FRONT, ORDERS, Security::Unknown(Reason::MidStream)), SetAside::ClassUnknown),
        (flow(FRONT, ORDERS, mutual(failed)), SetAside::HandshakeFailed),
        (flow(FRONT, "192.0.2.9:443", hidden()), SetAside::UnknownDestination),
        (flow(FRONT, ORDERS, hidden()), SetAside::CertificateHidden),
    ] {
        let judged = judge(&clean(), &flow);
        assert_eq!(
            (judged.judgement, judged.set_aside),
            (Judgement::Undecided, Some(why)),
            "{}",
            judged.basis
        );
    }
}

#[test]
fn ob22_cannot_be_classified() {
    for &reason in Reason::ALL {
        let found = exactly("OB22", &clean(), &flow(FRONT, ORDERS, Security::Unknown(reason)));
        assert!(found.message.ends_with(reason.name()), "{}", found.message);
    }
    let hidden = |alpn: &str, sni| {
        Security::Tls(session(&[alpn], Some(sni)).into(), ClientAuth::Hidden(Reason::Resumed))
    };
    exactly("OB22", &clean(), &flow(FRONT, ORDERS, hidden("h2", "x")));
    // Where the declaration takes both classes, it does not matter which it is.
    fine(&clean(), &flow(JOB, "10.1.0.30:9000", hidden("h2", "x")));
    let quic = Flow { transport: Transport::Udp, ..flow(FRONT, ORDERS, hidden("h3", "x")) };
    exactly("OB22", &clean(), &quic);
    fine(&clean(), &flow(FRONT, SEARCH, mutual(istio(TO_SEARCH))));
    // What is no workload of the mesh is not the mesh's to classify.
    fine(&clean(), &flow(JOB, "192.0.2.9:80", Security::Unknown(Reason::MidStream)));
}
