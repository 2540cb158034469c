//! Openings that are not what they seem: a hello after a stray byte, DTLS on a path that STUN found, a lost answer.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use capture::engine::{Engine, Frame, Limits, LinkType};
use etherparse::PacketBuilder;
use flow::{Class, ClientAuth, Close, Flow, Protocol, Reason, Security, Timestamp};

/// What one packet carries.
#[derive(Clone, Copy)]
enum Carries<'a> {
    Datagram(&'a [u8]),
    /// A datagram, and how many bytes of it the snap length leaves.
    Cut(&'a [u8], usize),
    /// Sequence number, payload, and whether it ends its direction.
    Segment(u32, &'a [u8], bool),
    /// A SYN: sequence number, and what it acknowledges.
    Syn(u32, Option<u32>),
    /// Sequence number, what it acknowledges, and payload.
    Acknowledging(u32, u32, &'a [u8]),
    /// A SYN with payload: its sequence number.
    FastOpen(u32, &'a [u8]),
    /// A RST, by its sequence number.
    Reset(u32),
    /// No packet, but so many seconds without one.
    Silence(i64),
}

use Carries::{Acknowledging, Cut, Datagram, FastOpen, Reset, Segment, Silence, Syn};

/// Shows the engine packets, each from the client or not, of one connection.
fn observe(packets: &[(bool, Carries<'_>)]) -> Flow {
    let mut flows = observe_all(packets, Limits::default());
    assert_eq!(flows.len(), 1);
    flows.remove(0)
}

/// Shows the engine packets, each from the client or not, between the same ends.
fn observe_all(packets: &[(bool, Carries<'_>)], limits: Limits) -> Vec<Flow> {
    let mut engine = Engine::new(limits);
    let mut silent = 0;
    for (number, (client, carries)) in (1..).zip(packets) {
        let (near, far, source, destination) =
            if *client { (1, 2, 40_000, 5432) } else { (2, 1, 5432, 40_000) };
        let ip = PacketBuilder::ethernet2([0; 6], [1; 6]).ipv4([192, 0, 2, near], [192, 0, 2, far], 64);
        let mut bytes = Vec::new();
        match carries {
            Datagram(payload) | Cut(payload, _) => {
                ip.udp(source, destination).write(&mut bytes, payload).unwrap()
            }
            Segment(sequence, payload, fin) => {
                let tcp = ip.tcp(source, destination, *sequence, 1024).ack(1);
                let tcp = if *fin { tcp.fin() } else { tcp };
                tcp.write(&mut bytes, payload).unwrap();
            }
            Acknowledging(sequence, acknowledged, payload) => {
                let tcp = ip.tcp(source, destination, *sequence, 1024).ack(*acknowledged);
                tcp.write(&mut bytes, payload).unwrap();
            }
            FastOpen(sequence, payload) => {
                ip.tcp(source, destination, *sequence, 1024).syn().write(&mut bytes, payload).unwrap();
            }
            Reset(sequence) => {
                ip.tcp(source, destination, *sequence, 0).rst().write(&mut bytes, &[]).unwrap();
            }
            Syn(sequence, acknowledged) => {
                let tcp = ip.tcp(source, destination, *sequence, 1024).syn();
                let tcp = match acknowledged {
                    Some(number) => tcp.ack(*number),
                    None => tcp,
                };
                tcp.write(&mut bytes, &[]).unwrap();
            }
            Silence(seconds) => {
                silent += seconds;
                continue;
            }
        }
        let at = Timestamp::from_nanos(number * 1_000_000 + silent * 1_000_000_000);
        let original_len = u32::try_from(bytes.len()).unwrap();
        if let Cut(payload, left) = carries {
            bytes.truncate(bytes.len() - payload.len() + left);
        }
        engine.frame(&Frame { at, link: LinkType::ETHERNET, interface: 0, original_len, bytes: &bytes });
    }
    engine.finish();
    std::iter::from_fn(|| engine.poll()).filter(|flow| flow.close != Close::Open).collect()
}

/// A ClientHello message with one suite and no extension.
fn hello() -> Vec<u8> {
    [&[1, 0, 0, 41, 3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0]].concat()
}

fn record(message: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

#[test]
fn a_hello_after_a_stray_byte_is_believed_only_when_answered() {
    let hello = record(&hello());
    let alone = [(true, Segment(0, &[0], false)), (true, Segment(1, &hello, false))];
    assert_eq!(observe(&alone).security.class(), Class::Unknown);
    let alert = [21, 3, 3, 0, 2, 2, 40];
    let answered = [
        (true, Segment(0, &[0], false)),
        (true, Segment(1, &hello, false)),
        (false, Segment(1, &alert, false)),
    ];
    assert_eq!(observe(&answered).security.class(), Class::Tls);
    assert_eq!(observe(&alone[1..]).security.class(), Class::Tls);
}

#[test]
fn dtls_may_begin_where_stun_was_spoken() {
    let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[5; 12]].concat();
    let stun = observe(&[(true, Datagram(&binding)), (true, Datagram(&binding))]);
    assert_eq!((stun.security.class(), stun.protocol), (Class::Plaintext, Some(Protocol::Stun)));

    let message = hello();
    let (head, body) = message.split_at(4);
    // A fragment that is the whole message: length, number, offset, length; and the cookie that DTLS puts in.
    let body = [&[0xfe, 0xfd][..], &body[2..35], &[0], &body[35..]].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let fragment = [&head[..1], &length[1..], &[0, 0, 0, 0, 0], &length[1..], &body].concat();
    let hello = [
        &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &u16::try_from(fragment.len()).unwrap().to_be_bytes(),
        &fragment,
    ]
    .concat();
    let dtls = observe(&[(true, Datagram(&binding)), (false, Datagram(&hello))]);
    assert_eq!(dtls.security.class(), Class::Tls);
    // Who sent the ClientHello is the client, whoever looked for the path.
    assert_eq!(dtls.client.port, 5432);
}

#[test]
fn an_upgrade_still_open_where_the_capture_ends_is_not_known() {
    let request = [0, 0, 0, 8, 4, 210, 22, 47];
    let open = observe(&[(true, Segment(1, &request, false))]);
    assert!(
        matches!(open.security, Security::Unknown(Reason::MidStream | Reason::Incomplete)),
        "{:?}",
        open.security
    );
    let refused = observe(&[(true, Segment(1, &request, false)), (false, Segment(1, b"N", false))]);
    assert_eq!(refused.security.class(), Class::Plaintext);
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn what_leads_up_to_a_connection_inside_says_nothing_of_it() {
    let prelogin = |kind: u8| {
        let options = [0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, 1];
        [&[kind, 1, 0, 26, 0, 0, 1, 0][..], &options].concat()
    };
    let exchanges: [[Vec<u8>; 2]; 4] = [
        [b"CONNECT svc:443 HTTP/1.1\r\n\r\n".to_vec(), b"HTTP/1.1 200 OK\r\n\r\n".to_vec()],
        [prelogin(18), prelogin(4)],
        [vec![4, 1, 1, 0xbb, 192, 0, 2, 9, 0], vec![0, 90, 0, 0, 0, 0, 0, 0]],
        [vec![5, 1, 0], vec![5, 0]],
    ];
    for [client, server] in &exchanges {
        let [left, waiting] = [true, false].map(|ended| {
            let (end, answered) =
                (1 + u32::try_from(client.len()).unwrap(), 1 + u32::try_from(server.len()).unwrap());
            let mut packets = vec![
                (true, Syn(0, None)),
                (false, Syn(0, Some(1))),
                (true, Segment(1, client, false)),
                (false, Acknowledging(1, end, server)),
                (true, Segment(end, &[], ended)),
                (false, Acknowledging(answered, end + u32::from(ended), &[])),
            ];
            if ended {
                packets.push((false, Segment(answered, &[], true)));
            }
            observe(&packets).security
        });
        // Whoever leaves then has said nothing but that; who is still there may.
        assert_eq!(left.class(), Class::Plaintext, "{client:02x?}");
        assert_eq!(waiting, Security::Unknown(Reason::Incomplete), "{client:02x?}");
    }
}

#[test]
fn a_request_for_tls_that_was_lost_is_not_taken_for_none() {
    let (gss, ssl) = (b"\0\0\0\x08\x04\xd2\x16\x30", b"\0\0\0\x08\x04\xd2\x16\x2f");
    let hello = record(&hello());
    let all = [
        (true, Syn(0, None)),
        (false, Syn(0, Some(1))),
        (true, Segment(1, gss, false)),
        (false, Acknowledging(1, 9, b"N")),
        (true, Segment(9, ssl, false)),
        (false, Acknowledging(2, 17, b"S")),
        (true, Segment(17, &hello, false)),
    ];
    assert_eq!(observe(&all).security.class(), Class::Tls);
    let lost = [&all[..4], &all[5..]].concat();
    assert_eq!(observe(&lost).security, Security::Unknown(Reason::Gap));
}

#[test]
fn what_servers_of_http_say_to_a_hello_shows_no_request_in_the_clear() {
    // Joined after the request, or the hello.
    let answered = |answer: &[u8]| {
        let end = 1 + u32::try_from(answer.len()).unwrap();
        observe(&[
            (false, Acknowledging(1, 1517, answer)),
            (true, Acknowledging(1517, end, &[])),
            (false, Acknowledging(end, 1517, &[])),
        ])
        .security
        .class()
    };
    assert_eq!(answered(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Class::Unknown);
    assert_eq!(answered(b"HTTP/1.1 404 Not Found\r\n\r\n"), Class::Plaintext);
}

#[test]
fn a_tunnel_or_a_dialogue_joined_late_is_not_called_plaintext_for_what_was_missed() {
    let hello = record(&hello());
    // SOCKS 5, whose greeting was lost or came before the capture.
    let request = b"\x05\x01\x00\x03\x0ewww.google.com\x01\xbb";
    let asked = 4 + u32::try_from(request.len()).unwrap();
    let socks = [
        (true, Syn(0, None)),
        (false, Syn(0, Some(1))),
        (true, Segment(1, b"\x05\x01\x00", false)),
        (false, Acknowledging(1, 4, b"\x05\x00")),
        (true, Segment(4, request, false)),
        (false, Acknowledging(3, asked, b"\x05\x00\x00\x01\x00\x00\x00\x00\x01\xbb")),
        (true, Segment(asked, &hello, false)),
    ];
    // XMPP, whose client's opening tag came before the capture, and of which only the server was captured.
    let (tag, features) = (
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='s' from='a' id='1'>",
        b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
    );
    let starttls = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let proceed = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let (t, f) = (tag.len(), features.len());
    let [after_tag, after_features, after_proceed] =
        [t, t + f, t + f + proceed.len()].map(|length| 1 + u32::try_from(length).unwrap());
    let after_starttls = 1000 + u32::try_from(starttls.len()).unwrap();
    let xmpp = [
        (false, Acknowledging(1, 1000, tag)),
        (false, Acknowledging(after_tag, 1000, features)),
        (true, Acknowledging(1000, after_features, starttls)),
        (false, Acknowledging(after_features, after_starttls, proceed)),
        (true, Acknowledging(after_starttls, after_proceed, &hello)),
    ];
    let server_alone: Vec<_> = xmpp.into_iter().filter(|(client, _)| !client).collect();
    for (packets, class) in [
        (&socks[..], Class::Tls),
        (&[&socks[..2], &socks[3..]].concat(), Class::Tls),
        (&socks[3..], Class::Tls),
        (&xmpp, Class::Tls),
        (&server_alone, Class::Unknown),
    ] {
        assert_eq!(observe(packets).security.class(), class, "{}", packets.len());
    }
}

#[test]
fn records_of_dtls_after_stun_are_no_plaintext_though_the_hello_is_missing() {
    let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[5; 12]].concat();
    let certificate = [&[22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 4][..], &[11; 4]].concat();
    // Under a key DTLS 1.3 has a header of its own (RFC 9147 section 4).
    let sealed = [&[0x2e, 0, 1, 0, 4][..], &[0x5a; 4]].concat();
    for records in [certificate, sealed] {
        let flow = observe(&[(true, Datagram(&binding)), (false, Datagram(&records))]);
        assert_eq!(flow.security, Security::Unknown(Reason::Datagram));
    }
}

#[test]
fn what_a_snap_length_leaves_of_datagrams_is_not_taken_for_all_of_them() {
    let binding = [&[0, 1, 0, 88, 0x21, 0x12, 0xa4, 0x42][..], &[5; 100]].concat();
    let hello = [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 244][..], &[0; 252]].concat();
    let after_stun = [
        (true, Cut(&binding, 26)),
        (false, Cut(&binding, 26)),
        (true, Cut(&hello, 26)),
        (false, Cut(&hello, 26)),
    ];
    assert_eq!(observe(&after_stun).security, Security::Unknown(Reason::SnapLength));
    // The beginning is regular, whatever is under a key behind it.
    let regular = [0; 200];
    assert_eq!(observe(&[(true, Cut(&regular, 26))]).security, Security::Unknown(Reason::SnapLength));
    assert_eq!(observe(&[(true, Datagram(&regular))]).security.class(), Class::Plaintext);
}

#[test]
fn a_syn_captured_after_the_bytes_that_it_precedes_opens_no_second_connection() {
    let flow = observe(&[
        (true, Segment(1000, REQUEST, false)),
        (true, Syn(999, None)),
        (false, Syn(4999, Some(1000))),
        (false, Segment(5000, b"HTTP/1.1 204 No Content\r\n\r\n", false)),
    ]);
    assert_eq!((flow.security.class(), flow.client.port), (Class::Plaintext, 40_000));
    assert_eq!((flow.packets.client, flow.packets.server), (2, 2));
}

#[test]
fn a_syn_captured_after_the_connection_has_settled_opens_no_second_one() {
    let flow = observe(&[
        (false, Syn(0, Some(1000))),
        (true, Segment(1000, REQUEST, false)),
        (true, Syn(999, None)),
        (false, Segment(1, b"HTTP/1.1 204 No Content\r\n\r\n", false)),
    ]);
    assert_eq!((flow.security.class(), flow.packets.client), (Class::Plaintext, 2));
}

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// A connection that is open, and how far both sides are.
fn exchange() -> Vec<(bool, Carries<'static>)> {
    vec![
        (true, Syn(999, None)),
        (false, Syn(0, Some(1000))),
        (true, Segment(1000, REQUEST, false)),
        (false, Segment(1, ANSWER, false)),
    ]
}

#[test]
fn a_syn_that_nobody_answers_ends_no_connection() {
    let mut packets = exchange();
    packets.extend([
        (true, Syn(700_000_000, None)),
        (true, Syn(700_000_000, None)),
        (true, Segment(1027, REQUEST, false)),
    ]);
    let flow = observe(&packets);
    assert_eq!((flow.close, flow.packets.client, flow.packets.server), (Close::CaptureEnd, 3, 2));
    // Nor is it lost.
    let all = observe_all(&packets, Limits { report_empty: true, ..Limits::default() });
    let packets: Vec<_> = all.iter().map(|flow| (flow.packets.client, flow.bytes.client)).collect();
    assert_eq!(packets, [(3, 54), (2, 0)]);
}

#[test]
fn a_syn_that_is_answered_begins_the_next_connection() {
    let next: [(bool, Carries<'_>); 3] = [
        (false, Syn(5000, Some(700_000_001))),
        (true, Segment(700_000_001, REQUEST, false)),
        (false, Segment(5001, ANSWER, false)),
    ];
    // Seen from both sides, and from either alone.
    for sides in [[true, false], [true, true], [false, false]] {
        let mut packets = exchange();
        packets.push((true, Syn(700_000_000, None)));
        packets.extend(next.iter().map(|(client, carries)| match carries {
            Syn(sequence, number) => (*client, Syn(*sequence, *number)),
            Segment(sequence, bytes, fin) => (*client, Segment(*sequence, bytes, *fin)),
            Datagram(_) | Cut(..) | Acknowledging(..) | FastOpen(..) | Reset(_) | Silence(_) => {
                unreachable!()
            }
        }));
        packets
            .retain(|(client, carries)| sides.contains(client) || matches!(carries, Syn(700_000_000, None)));
        let flows = observe_all(&packets, Limits::default());
        let closes: Vec<_> = flows.iter().map(|flow| flow.close).collect();
        assert_eq!(closes, [Close::Reused, Close::CaptureEnd], "{sides:?}");
        // It began with its SYN, not with what told that it did.
        assert!(flows[1].from_start && flows[0].end < flows[1].start, "{sides:?}: {flows:?}");
        assert_eq!(flows[1].client.port, 40_000, "{sides:?}");
    }
}

#[test]
fn whoever_passes_by_a_syn_that_nobody_answered_begins_no_connection() {
    // Just behind the SYN, and, long after, where its answer would be.
    for (pause, sequence) in [(0, 700_000_010), (11, 700_000_001)] {
        let mut packets = exchange();
        packets.extend([(true, Syn(700_000_000, None)), (true, Silence(pause))]);
        packets.push((true, Segment(sequence, REQUEST, false)));
        let flow = observe(&packets);
        assert_eq!((flow.close, flow.packets.client), (Close::CaptureEnd, 3));
    }
}

#[test]
fn a_syn_with_payload_begins_the_next_connection_at_once() {
    let hello = record(&hello());
    let mut packets = exchange();
    packets.extend([(true, FastOpen(700_000_000, &hello)), (false, Syn(5000, Some(700_000_051)))]);
    let flows = observe_all(&packets, Limits::default());
    let classes: Vec<_> = flows.iter().map(|flow| (flow.security.class(), flow.bytes.client)).collect();
    assert_eq!(classes, [(Class::Plaintext, 27), (Class::Tls, 50)]);
}

#[test]
fn a_reset_ends_no_connection_that_goes_on_beyond_it() {
    let going_on = |after: Carries<'static>| {
        let mut packets = exchange();
        packets.extend([(true, Reset(1027)), (false, Silence(1)), (true, after), (false, Silence(60))]);
        packets.push((false, Segment(28, ANSWER, false)));
        observe_all(&packets, Limits::default()).into_iter().map(|flow| flow.close).collect::<Vec<_>>()
    };
    assert_eq!(going_on(Segment(1027, REQUEST, false)), [Close::CaptureEnd]);
    // A straggler from before it shows nothing.
    assert_eq!(going_on(Segment(1000, &REQUEST[..20], false)), [Close::Reset, Close::CaptureEnd]);
}

#[test]
fn what_follows_a_lost_opening_is_not_the_opening() {
    // The SYN is lost and so are 48 bytes: the answer to it says so.
    let payload = &record(&hello())[..16];
    let lost = observe(&[(false, Syn(0, Some(1000))), (true, Segment(1048, payload, false))]);
    assert_eq!(lost.security.class(), Class::Unknown, "{:?}", lost.security);
    let first = observe(&[(false, Syn(0, Some(1000))), (true, Segment(1000, payload, false))]);
    assert_eq!(first.security.class(), Class::Tls);
}

#[test]
fn a_reset_after_an_answer_that_was_lost_is_no_refusal() {
    let hello = record(&hello());
    let reset_at = |sequence| {
        observe(&[
            (true, Syn(999, None)),
            (false, Syn(0, Some(1000))),
            (true, Segment(1000, &hello, false)),
            (false, Reset(sequence)),
        ])
        .security
    };
    assert!(matches!(reset_at(1), Security::Tls(_, ClientAuth::Refuted(..))), "{:?}", reset_at(1));
    assert_eq!(reset_at(620).evidence().reason, Some(Reason::Gap));
    assert!(matches!(reset_at(620), Security::Tls(_, ClientAuth::Hidden(_))));
}

#[test]
fn records_after_a_greeting_whose_answer_was_lost_are_no_login() {
    let greeting = [
        &b"\x4a\x00\x00\x00\x0a8.0.36\0\x0b\x00\x00\x00abcdefgh\x00\xff\xff\xff\x02\x00\xff\xdf\x15"[..],
        &[0; 10],
        b"ijklmnopqrst\0caching_sha2_password\0",
    ]
    .concat();
    let sealed = [&[23, 3, 3, 0, 64][..], &[0xa7; 64]].concat();
    for skipped in [0, 9] {
        let flow = observe(&[
            (false, Segment(1, &greeting, false)),
            (true, Segment(2200, &sealed[skipped..], true)),
            (false, Segment(1 + 78, &sealed, true)),
        ]);
        assert_eq!(flow.security.class(), Class::Unknown, "{skipped}: {:?}", flow.security);
    }
}

#[test]
fn the_tail_of_a_lost_opening_is_not_judged_by_its_look() {
    // The SYN is lost and so is the first segment; the answer to the SYN says where the stream began.
    let tail = [&b"shop.example.com"[..], &[0; 300]].concat();
    let flow = observe(&[(false, Syn(4999, Some(1000))), (true, Segment(1079, &tail, false))]);
    assert_eq!(flow.security.class(), Class::Unknown, "{:?}", flow.security);
}

#[test]
fn an_empty_record_of_ssl_2_ends_the_reading() {
    let hello = record(&hello());
    let flow = observe(&[(true, Segment(0, &hello, false)), (false, Segment(1, &[0x80, 0, 0x96], false))]);
    assert_eq!(flow.security.class(), Class::Tls);
}

#[test]
fn an_opening_of_which_one_direction_was_captured_says_so() {
    // The server's greeting and its grant; it acknowledges a client of which there is no packet.
    let (greeting, grant) = (b"220 mx.example ESMTP\r\n", b"220 2.0.0 go ahead\r\n");
    let flow = observe(&[
        (false, Syn(0, Some(1000))),
        (false, Acknowledging(1, 1000, greeting)),
        (false, Acknowledging(23, 1031, grant)),
    ]);
    assert_eq!(flow.security, Security::Unknown(Reason::OneSided));
}

#[test]
fn an_alert_to_a_client_that_said_nothing_is_no_late_start() {
    let alert = [21, 3, 3, 0, 2, 2, 50];
    let flow = observe(&[
        (true, Syn(999, None)),
        (false, Syn(0, Some(1000))),
        (true, Segment(1000, &[], true)),
        (false, Acknowledging(1, 1001, &alert)),
    ]);
    assert!(flow.from_start);
    let Security::Tls(_, client) = &flow.security else { panic!("{:?}", flow.security) };
    assert_eq!(*client, ClientAuth::Hidden(Reason::Incomplete));
}
