//! What an agent writes, read back.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it cannot read")]

use std::sync::Arc;

use flow::delivery::{Heading, LIKE, Lines, VERSION};
use flow::{
    Class, ClientAuth, Close, Coverage, Endpoint, Evidence, Flow, FlowId, PerSide, Presented, Reason,
    Security, TcpHandshake, Timestamp, TlsSession, Transport, Tunnel,
};
use proptest::prelude::*;
use store::sample::sample;

fn heading(version: u32, flows: usize) -> Vec<u8> {
    let coverage = Coverage::default();
    let (agent, run, flows) = ("a".into(), "1".into(), flows as u64);
    let heading = Heading { version, agent, run, sequence: 1, flows, coverage, undelivered: 0 };
    let mut line = serde_json::to_vec(&heading).unwrap();
    line.push(b'\n');
    line
}

fn read(mut text: &[u8]) -> Result<Vec<Flow>, String> {
    let delivery = api::read_delivery(&mut text).map_err(|why| why.to_string())?;
    assert!(text.is_empty());
    Ok(delivery.unwrap().1)
}

fn read_lines(lines: &[String]) -> Result<Vec<Flow>, String> {
    read(&[heading(VERSION, lines.len()), lines.join("\n").into_bytes()].concat())
}

fn flow() -> Flow {
    sample(7, 1, Class::Plaintext, None).flow
}

fn whole(flow: &Flow) -> String {
    serde_json::to_string(flow).unwrap()
}

/// The line of a flow like another one, as an agent writes it.
fn like(number: usize) -> String {
    let mut lines = Lines::default();
    lines.add(&flow());
    lines.add(&Flow { id: FlowId(8), ..flow() });
    let text = String::from_utf8(lines.text().to_vec()).unwrap();
    let line = text.lines().nth(1).unwrap();
    line.replacen("0", &number.to_string(), 1)
}

prop_compose! {
    /// Flows of few kinds, in which anything may differ.
    fn flows()(
        own in any::<[u64; 8]>(),
        handshake in prop::option::of(any::<u64>()),
        close in prop::sample::select(vec![Close::Open, Close::Fin, Close::Reset, Close::CaptureEnd]),
        ports in (any::<u16>(), 0..2_u16),
        ips in (0..2_u8, 0..2_u8),
        kind in (0..5_u8, 0..2_u8, 0..2_usize, any::<bool>()),
    ) -> Flow {
        let session = |sni: &str| Arc::new(TlsSession { sni: Some(sni.into()), ..TlsSession::default() });
        let security = match kind.0 {
            0 => Security::Plaintext(Evidence::WIRE),
            1 => Security::Unknown(Reason::MidStream),
            2 => Security::Tls(session("a \"b\""), ClientAuth::Hidden(Reason::Resumed)),
            3 => Security::Tls(session("a"), ClientAuth::Proved(Presented::Sent, Evidence::WIRE)),
            _ => Security::Tls(session("a"), ClientAuth::Hidden(Reason::Resumed)),
        };
        // Times that RFC 3339 can say.
        let time = |number: u64| Timestamp::from_nanos(i64::from(u32::try_from(number >> 32).unwrap()) << 28);
        Flow {
            id: FlowId(u128::from(own[0]) << 64 | u128::from(own[1])),
            start: time(own[2]),
            end: time(own[3]),
            transport: if kind.3 { Transport::Tcp } else { Transport::Udp },
            client: Endpoint { ip: [192, 0, 2, ips.0].into(), port: ports.0 },
            server: Endpoint { ip: [192, 0, 2, ips.1].into(), port: ports.1 },
            tunnel: vec![Tunnel::Gre; kind.2],
            seen_at: vec!["eth0".into(); usize::from(kind.1)],
            security,
            from_start: kind.3,
            tcp_handshake: handshake.map(TcpHandshake),
            close,
            packets: PerSide { client: own[4], server: own[5] },
            bytes: PerSide { client: own[6], server: own[7] },
            ..flow()
        }
    }
}

proptest! {
    #[test]
    fn every_flow_comes_back_as_it_was(all in prop::collection::vec(flows(), 0..60)) {
        let mut lines = Lines::default();
        // Of the delivery before nothing is left.
        all.iter().for_each(|flow| lines.add(flow));
        lines.clear();
        all.iter().for_each(|flow| lines.add(flow));
        prop_assert_eq!(lines.flows(), all.len());
        let text = [&heading(VERSION, all.len()), lines.text()].concat();
        prop_assert_eq!(read(&text).unwrap(), all);
    }
}

#[test]
fn what_connections_share_is_said_once() {
    let mut lines = Lines::default();
    let other = Flow { seen_at: vec!["veth2".into()], ..flow() };
    let next = |of: &Flow, id| Flow {
        id: FlowId(id),
        start: Timestamp::from_nanos(3),
        end: Timestamp::from_nanos(4),
        client: of.server,
        server: of.client,
        tcp_handshake: Some(TcpHandshake(5)),
        close: Close::Open,
        packets: PerSide::default(),
        bytes: PerSide::default(),
        ..of.clone()
    };
    for flow in [flow(), other.clone(), next(&flow(), 8), next(&other, 9)] {
        lines.add(&flow);
    }
    let text = String::from_utf8(lines.text().to_vec()).unwrap();
    let like: Vec<_> = text.lines().map(|line| line.starts_with(LIKE)).collect();
    assert_eq!(like, [false, false, true, true]);
    // As if every line had been written whole.
    let length: usize = text.lines().filter(|line| !line.starts_with(LIKE)).map(str::len).sum();
    assert_eq!(lines.weight(), 2 * length);
}

#[test]
fn the_form_before_is_read_as_well() {
    let text = |version| [heading(version, 1), whole(&flow()).into_bytes()].concat();
    assert_eq!(read(&text(1)).unwrap(), [flow()]);
    assert!(read(&text(0)).unwrap_err().contains("no version 0"));
}

#[test]
fn a_flow_is_like_a_whole_one_before_it_or_nothing() {
    assert_eq!(read_lines(&[whole(&flow()), like(0)]).unwrap().len(), 2);
    for (lines, why) in [
        (vec![like(0)], "line 2: flow 0 of"),
        (vec![whole(&flow()), like(1)], "line 3: flow 1 of"),
        (vec![whole(&flow()), like(7)], "line 3: flow 7 of"),
        (vec![whole(&flow()), like(0), like(1)], "line 4: flow 1 of"),
        (vec![whole(&flow()), format!("{LIKE}0}}")], "line 3: missing field"),
        (vec![whole(&flow()), format!("{LIKE}-1}}")], "line 3: invalid value"),
    ] {
        let error = read_lines(&lines).unwrap_err();
        assert!(error.starts_with(why), "{error}");
    }
}

/// A line of 300 bytes may be like one of any length.
#[test]
fn few_bytes_do_not_take_much_memory() {
    let large = Flow { seen_at: vec!["x".repeat(1024 * 1024)], ..flow() };
    let lines = |count: usize| [vec![whole(&large)], vec![like(0); count]].concat();
    assert_eq!(read_lines(&lines(60)).unwrap().len(), 61);
    let error = read_lines(&lines(70)).unwrap_err();
    assert!(error.contains("each taken whole"), "{error}");
}
