//! TLS 1.2 and below: what is in the clear, and what a resumption or a renegotiation hides.

use super::*;

/// A full handshake of TLS 1.2 in which the client says this before it changes cipher.
pub(super) fn script12(client_messages: &[Vec<u8>]) -> Script {
    let hello = client_hello_with(&[sni("b.example")]);
    let answer = [
        server_hello(0xc02f, &[]),
        record(22, &[message(11, &[0, 0, 0]), message(13, &[0]), message(14, &[])].concat()),
    ];
    let flight = [record(22, &client_messages.concat()), record(20, &[1]), record(22, &[0; 40])];
    let finished = [record(20, &[1]), record(22, &[0; 40])];
    vec![
        (Side::Client, hello),
        (Side::Server, answer.concat()),
        (Side::Client, flight.concat()),
        (Side::Server, finished.concat()),
    ]
}

#[test]
fn tls12_is_read_in_the_clear() {
    let exchange = message(16, &[0; 33]);
    let certificate = message(11, &[0, 0, 8, 0, 0, 5, 1, 2, 3, 4, 5]);
    check(&script12(std::slice::from_ref(&exchange)), AuthWord::Absent, Proof::Wire);
    check(&script12(&[message(11, &[0, 0, 0]), exchange.clone()]), AuthWord::Declined, Proof::Wire);
    let facts = check(&script12(&[certificate, exchange]), AuthWord::Certificate, Proof::Wire).session;
    assert_eq!((facts.version, facts.resumed), (Some(TlsVersion::Tls12), Some(false)));
}

#[test]
fn what_is_lost_after_a_handshake_may_have_been_a_renegotiation() {
    let read = |more: &[u8]| {
        let mut script = script12(&[message(16, &[0; 33])]);
        script.push((Side::Server, more.to_vec()));
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script, 4096);
        handshake
    };
    let check = |handshake: &Handshake, expected| {
        assert_eq!(handshake.conclude(ends(), &mut Memory::default()).client, expected);
    };
    let lowered = Evidence::because(Proof::Strong, Reason::Gap);
    let mut lost = read(&sealed(&[60]));
    lost.gap(Side::Client);
    check(&lost, ClientAuth::Refuted(Withheld::Absent, lowered));
    lost.gap(Side::Server);
    check(&lost, ClientAuth::Hidden(Reason::Gap));
    // The server's HelloRequest is there, the client's answer is not.
    let mut asked = read(&record(22, &[0; 28]));
    check(&asked, ClientAuth::Refuted(Withheld::Absent, Evidence::WIRE));
    asked.gap(Side::Client);
    check(&asked, ClientAuth::Hidden(Reason::Gap));
    // The server's end of the handshake is not there, and what follows it may be a request.
    let mut unfinished = Handshake::default();
    feed(&mut unfinished, &script12(&[message(16, &[0; 33])])[..3].to_vec(), 4096);
    check(&unfinished, ClientAuth::Refuted(Withheld::Absent, Evidence::WIRE));
    unfinished.gap(Side::Client);
    check(&unfinished, ClientAuth::Hidden(Reason::Gap));
    // A renegotiation whose end is not there.
    let mut begun = read(&[]);
    let mark = Mark { packet: 9, acknowledged: None };
    begun.bytes(Side::Client, mark, &record(22, &[0; 300]));
    check(&begun, ClientAuth::Hidden(Reason::Renegotiation));
}

#[test]
fn a_message_is_read_before_its_record_ends() {
    let answer = [
        server_hello(0xc02f, &[]).split_off(5),
        message(11, &[0, 0, 0]),
        message(12, &[3, 0, 29]),
        message(14, &[]),
    ]
    .concat();
    let whole = record(22, &answer);
    let mut handshake = Handshake::default();
    let hello = client_hello_with(&[extension(35, &[7; 100])]);
    feed(
        &mut handshake,
        &vec![(Side::Client, hello), (Side::Server, whole[..whole.len() - 2].to_vec())],
        4096,
    );
    let session = handshake.conclude(ends(), &mut Memory::default()).session;
    assert_eq!((session.version, session.resumed), (Some(TlsVersion::Tls12), Some(false)));
    assert_eq!(session.group.as_deref(), Some("x25519"));
}

#[test]
fn a_hello_that_offers_no_session_resumes_none() {
    let read = |extensions: &[Vec<u8>]| {
        let script =
            vec![(Side::Client, client_hello_with(extensions)), (Side::Server, server_hello(0xc02f, &[]))];
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script, 4096);
        handshake.conclude(ends(), &mut Memory::default()).session.resumed
    };
    assert_eq!(read(&[]), Some(false));
    assert_eq!(read(&[extension(35, &[])]), Some(false));
    assert_eq!(read(&[extension(35, &[7; 100])]), None);
}

#[test]
fn a_renegotiation_is_read_by_its_records() {
    let check = |flight: &[u16], expected| {
        let mut script = script12(&[message(16, &[0; 33])]);
        let mut second = record(22, &[0; 300]);
        second.extend(flight.iter().flat_map(|length| record(22, &vec![0; usize::from(*length)])));
        second.extend(record(20, &[1]));
        script.push((Side::Client, second));
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script, 4096);
        assert_eq!(handshake.conclude(ends(), &mut Memory::default()).client, expected, "{flight:?}");
    };
    let evidence = Evidence::because(Proof::Inferred, Reason::Renegotiation);
    check(&[61], ClientAuth::Refuted(Withheld::Absent, Evidence::WIRE));
    check(&[31, 61], ClientAuth::Refuted(Withheld::Declined, evidence));
    // An exchange may be 80 bytes longer than it was in the clear, with what a key adds.
    check(&[137], ClientAuth::Refuted(Withheld::Absent, Evidence::WIRE));
    check(&[138], ClientAuth::Hidden(Reason::Renegotiation));
    check(&[39, 137], ClientAuth::Refuted(Withheld::Declined, evidence));
    check(&[39, 138], ClientAuth::Hidden(Reason::Renegotiation));
    // As long as a Finished is no empty list.
    check(&[40, 61], ClientAuth::Hidden(Reason::Renegotiation));
    check(&[40, 61, 300], ClientAuth::Proved(Presented::Sent, evidence));
    check(&[600, 61, 300], ClientAuth::Proved(Presented::Sent, evidence));
    // The whole flight in one record, or in two, as some stacks send it.
    check(&[900], ClientAuth::Hidden(Reason::Renegotiation));
    check(&[700, 300], ClientAuth::Hidden(Reason::Renegotiation));
    // An empty list, and an exchange in two pieces.
    check(&[31, 536, 50], ClientAuth::Hidden(Reason::Renegotiation));
}

#[test]
fn after_a_change_of_cipher_nothing_but_a_hello_is_in_the_clear() {
    // Below TLS 1.3 an abbreviated handshake goes on like this, and the client's bytes come first.
    let sealed = record(22, &message(11, &[0, 0, 9, 0, 0, 6, 1, 2, 3, 4, 5, 6]));
    let mut handshake = Handshake::default();
    let mark = Mark { packet: 0, acknowledged: None };
    handshake.bytes(Side::Client, mark, &[hello13(), record(20, &[1]), sealed].concat());
    let client = handshake.conclude(ends(), &mut Memory::default()).client;
    assert!(matches!(client, ClientAuth::Hidden(_)), "{client:?}");
}

#[test]
fn a_resumption_below_tls13_is_not_read_as_a_flight_of_it() {
    // Of a client that offers both, only its own side was captured: a Finished under a key, then payload, of which a record is
    // as long as a certificate's.
    let finished: [&[u8]; 7] = [
        &[0; 40],
        &[0, 0, 0, 0, 0, 0, 0, 1, 9, 8, 7, 6, 5, 4, 3, 2],
        &[0x5a; 40],
        // What begins like a hello, and is none: of a possible length, and of an impossible one.
        &[1, 0, 0, 4, 7, 7, 7, 7, 0x5a, 0, 0, 9, 1],
        &[1, 0x5a, 0x5a, 0x5a, 9, 9, 9, 9],
        // What begins like a message that goes on.
        &[1, 0, 0, 100, 9, 9, 9, 9],
        &[0x5a, 0, 0, 100, 9, 9, 9, 9],
    ];
    for finished in finished {
        for piece in [1, 7, 4096] {
            let client =
                [hello13(), record(20, &[1]), record(22, finished), sealed(&[710, 300, 53])].concat();
            let mut handshake = Handshake::default();
            feed(&mut handshake, &vec![(Side::Client, client)], piece);
            let Conclusion { client, session } = handshake.conclude(ends(), &mut Memory::default());
            assert_eq!(client, ClientAuth::Hidden(Reason::OneSided), "{finished:?}");
            assert_eq!((session.version, session.resumed), (None, None), "{finished:?}");
        }
    }
}

/// A certificate that was sent stays one, whatever a renegotiation hides.
#[test]
fn a_renegotiation_takes_no_certificate_back() {
    let certificate = message(11, &[0, 0, 8, 0, 0, 5, 1, 2, 3, 4, 5]);
    let mut script = script12(&[certificate, message(16, &[0; 33])]);
    script.push((Side::Client, [record(22, &[0; 300]), record(22, &[0; 900]), record(20, &[1])].concat()));
    check(&script, AuthWord::Certificate, Proof::Wire);
}

#[test]
fn without_the_server_s_side_no_certificate_is_a_weaker_claim() {
    let (mut alone, mut snapped) = (Handshake::default(), Handshake::default());
    let script = script12(&[message(16, &[0; 33])]);
    let client: Script = script.iter().filter(|(side, _)| *side == Side::Client).cloned().collect();
    feed(&mut alone, &client, 4096);
    let conclusion = alone.conclude(ends(), &mut Memory::default());
    let weaker = |reason| ClientAuth::Refuted(Withheld::Absent, Evidence::because(Proof::Inferred, reason));
    assert_eq!(conclusion.client, weaker(Reason::OneSided));
    assert_eq!((conclusion.session.resumed, conclusion.session.outcome), (Some(false), Outcome::Incomplete));
    // Part of its side was cut.
    feed(&mut snapped, &script[..2].to_vec(), 4096);
    let exchange = record(22, &message(16, &[0; 33]));
    snapped.bytes(Side::Client, Mark { packet: 2, acknowledged: None }, &exchange[..9]);
    snapped.cut(Side::Client, 33);
    let client = snapped.conclude(ends(), &mut Memory::default()).client;
    assert_eq!(client, weaker(Reason::SnapLength));
}

/// A session that is resumed in the way of TLS 1.2, with this ticket and this session id, which the server answers with that one.
fn resumed12(extensions: &[Vec<u8>], offered: &[u8], answered: &[u8]) -> Handshake {
    let hello = hello_body_with(extensions, 7, offered, &[0xc0, 0x2f]);
    let server = server_hello_with(0xc02f, &[], answered);
    let finished = [record(20, &[1]), record(22, &[0; 40])].concat();
    let mut handshake = Handshake::default();
    let script = vec![
        (Side::Client, record(22, &message(1, &hello))),
        (Side::Server, [server, finished.clone()].concat()),
        (Side::Client, finished),
    ];
    feed(&mut handshake, &script, 4096);
    handshake
}

fn ticket(length: usize) -> Vec<u8> {
    extension(35, &vec![7; length])
}

#[test]
fn a_resumption_is_linked_by_what_its_server_took() {
    let evidence = Evidence::because(Proof::Linked, Reason::SessionLink);
    let linked = ClientAuth::Proved(Presented::Sent, evidence);
    let hidden = ClientAuth::Hidden(Reason::Resumed);
    let mut memory = Memory::default();
    let mut check = |handshake: &Handshake, expected: ClientAuth| {
        let conclusion = handshake.conclude(ends(), &mut memory);
        assert_eq!(conclusion.client, expected);
        assert_eq!(
            (conclusion.session.resumed, conclusion.session.outcome),
            (Some(true), Outcome::Established)
        );
        let mut original = Handshake::default();
        let mut script = script12(&[message(11, &[0, 0, 8, 0, 0, 5, 1, 2, 3, 4, 5]), message(16, &[0; 33])]);
        let body = hello_body_with(&[], 8, &[], &[0xc0, 0x2f]);
        let issued = [&[0, 0, 0, 9, 0, 100][..], &[7; 100]].concat();
        script[0].1 = record(22, &message(1, &body));
        script[1].1.splice(
            ..,
            [
                server_hello_with(0xc02f, &[], &[4; 32]),
                record(22, &[message(11, &[0, 0, 0]), message(14, &[])].concat()),
            ]
            .concat(),
        );
        script[3]
            .1
            .splice(.., [record(22, &message(4, &issued)), record(20, &[1]), record(22, &[0; 40])].concat());
        feed(&mut original, &script, 4096);
        original.remember(ends(), &mut memory.sessions);
    };
    // Nothing is known at first.
    check(&resumed12(&[], &[4; 32], &[4; 32]), hidden);
    check(&resumed12(&[], &[4; 32], &[4; 32]), linked);
    check(&resumed12(&[ticket(100)], &[], &[]), linked);
    check(&resumed12(&[ticket(101)], &[5; 32], &[5; 32]), hidden);
    // The server took the ticket, which nobody knows, and chose an id of its own.
    check(&resumed12(&[ticket(101)], &[4; 32], &[6; 32]), hidden);
}

#[test]
fn nothing_is_linked_by_an_id_of_no_bytes() {
    let mut memory = Memory::default();
    let sent = ClientAuth::Proved(Presented::Sent, Evidence::WIRE);
    memory.sessions.add_exact(sessions::name(&[]), sent, ends().start);
    let client = resumed12(&[ticket(101)], &[], &[]).conclude(ends(), &mut memory).client;
    assert_eq!(client, ClientAuth::Hidden(Reason::Resumed));
}

/// What hides what it was, what was resumed itself, and what failed leave nothing behind under the server's id.
#[test]
fn a_session_is_remembered_by_its_id_where_it_began() {
    let resumption = resumed12(&[], &[4; 32], &[4; 32]);
    let remembered = |left: &Handshake| {
        let mut memory = Memory::default();
        left.remember(ends(), &mut memory.sessions);
        memory.sessions.find_exact(sessions::name(&[4; 32]), ends().start)
    };
    let full = |flight: &[Vec<u8>], turns: usize| {
        let mut script = script12(flight);
        script[1].1.splice(..server_hello(0xc02f, &[]).len(), server_hello_with(0xc02f, &[], &[4; 32]));
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script[..turns].to_vec(), 4096);
        handshake
    };
    let absent = ClientAuth::Refuted(Withheld::Absent, Evidence::WIRE);
    assert_eq!(remembered(&full(&[message(16, &[0; 33])], 4)), Some(absent));
    assert_eq!(remembered(&full(&[message(16, &[0; 33])], 2)), None, "the client's flight is not there");
    assert_eq!(remembered(&resumption), None);
    let mut failed = full(&[message(16, &[0; 33])], 3);
    feed(&mut failed, &vec![(Side::Server, record(21, &[2, 42]))], 4096);
    assert_eq!(remembered(&failed), None);
}

#[test]
fn a_ticket_of_the_mesh_tells_by_its_size() {
    let alpn = |name: &[u8]| {
        let length = u8::try_from(name.len()).unwrap();
        extension(16, &[&[0, length.saturating_add(1), length][..], name].concat())
    };
    let marks = [alpn(b"istio"), alpn(b"istio-h2"), sni("outbound_.80_._.a.example")];
    let others = [alpn(b"h2"), alpn(b"istiod"), sni("outbound.a.example")];
    let inferred = Evidence::because(Proof::Inferred, Reason::TicketSize);
    let (sent, absent) =
        (ClientAuth::Proved(Presented::Sent, inferred), ClientAuth::Refuted(Withheld::Absent, inferred));
    let hidden = ClientAuth::Hidden(Reason::Resumed);
    for (length, expected) in
        [(500, sent), (900, sent), (499, hidden), (261, hidden), (260, absent), (33, absent), (32, hidden)]
    {
        let read = |extensions: &[Vec<u8>]| {
            resumed12(extensions, &[], &[]).conclude(ends(), &mut Memory::default()).client
        };
        for mark in &marks {
            assert_eq!(read(&[mark.clone(), ticket(length)]), expected, "{length} {mark:?}");
        }
        for other in &others {
            assert_eq!(read(&[other.clone(), ticket(length)]), hidden, "{length} {other:?}");
        }
    }
}

/// Something of a resumption's client was lost: the link is not made weaker than it is, and not stronger.
#[test]
fn a_gap_after_a_resumption_leaves_its_link() {
    let mut memory = Memory::default();
    let absent = ClientAuth::Refuted(Withheld::Absent, Evidence::WIRE);
    memory.sessions.add_exact(sessions::name(&[4; 32]), absent, ends().start);
    let mut handshake = resumed12(&[], &[4; 32], &[4; 32]);
    handshake.gap(Side::Client);
    let evidence = Evidence::because(Proof::Linked, Reason::Gap);
    assert_eq!(
        handshake.conclude(ends(), &mut memory).client,
        ClientAuth::Refuted(Withheld::Absent, evidence)
    );
}

#[test]
fn a_full_handshake_is_told_from_a_resumption_by_what_was_read_of_it() {
    let resumed = |hello: Vec<u8>, server: &[u8], client: &[u8], cut: Option<Side>| {
        let mut handshake = Handshake::default();
        feed(&mut handshake, &vec![(Side::Client, hello), (Side::Server, server.to_vec())], 4096);
        if let Some(side) = cut {
            handshake.cut(side, 200);
            feed(&mut handshake, &vec![(side, record(20, &[1]))], 4096);
        }
        feed(&mut handshake, &vec![(Side::Client, client.to_vec())], 4096);
        handshake.conclude(ends(), &mut Memory::default()).session.resumed
    };
    let with_ticket = || client_hello_with(&[ticket(100)]);
    let answer = server_hello(0xc02f, &[]);
    let then = |more: &[u8]| [&answer, more].concat();
    let certificate = record(22, &message(11, &[0; 200]));
    assert_eq!(resumed(with_ticket(), &answer, &[], None), None);
    assert_eq!(resumed(with_ticket(), &then(&certificate[..9]), &[], None), Some(false), "a part of it");
    assert_eq!(resumed(with_ticket(), &then(&certificate), &[], None), Some(false));
    assert_eq!(resumed(with_ticket(), &then(&record(20, &[1])), &[], None), Some(true));
    // What the server said was cut, and a key exchange answers it.
    let exchange = record(22, &message(16, &[0; 33]));
    let cut = then(&record(22, &[0; 200])[..5]);
    assert_eq!(resumed(with_ticket(), &cut, &exchange, Some(Side::Server)), Some(false));
    // The server's answer alone says no more than whether it changes cipher at once.
    assert_eq!(resumed(Vec::new(), &answer, &[], None), None);
    assert_eq!(resumed(Vec::new(), &then(&record(20, &[1])), &[], None), Some(true));
    // An id that does not come back resumes nothing; one that does, or a hello that was cut, may.
    let with_id = || record(22, &message(1, &hello_body_with(&[], 7, &[4; 32], &[0xc0, 0x2f])));
    assert_eq!(resumed(with_id(), &answer, &[], None), Some(false));
    assert_eq!(resumed(with_id(), &server_hello_with(0xc02f, &[], &[4; 32]), &[], None), None);
    let mut handshake = Handshake::default();
    let hello = client_hello_with(&[ticket(100)]);
    feed(&mut handshake, &vec![(Side::Client, hello[..60].to_vec())], 4096);
    handshake.cut(Side::Client, (hello.len() - 60) as u64);
    feed(&mut handshake, &vec![(Side::Server, answer)], 4096);
    assert_eq!(handshake.conclude(ends(), &mut Memory::default()).session.resumed, None);
}

#[test]
fn who_gives_up_before_its_flight_sent_no_certificate() {
    let read = |hello: Vec<u8>, server: Vec<u8>, more: (Side, Vec<u8>), lost: bool| {
        let mut handshake = Handshake::default();
        feed(&mut handshake, &vec![(Side::Client, hello), (Side::Server, server), more], 4096);
        if lost {
            handshake.gap(Side::Client);
        }
        let conclusion = handshake.conclude(ends(), &mut Memory::default());
        assert_eq!(conclusion.session.outcome, Outcome::Failed);
        conclusion.client
    };
    let [(_, hello), (_, full), ..] = <[_; 4]>::try_from(script12(&[])).unwrap();
    let alert = || record(21, &[2, 42]);
    let absent = ClientAuth::Refuted(Withheld::Absent, Evidence::WIRE);
    assert_eq!(read(hello.clone(), full.clone(), (Side::Client, alert()), false), absent);
    // The server gave up, which says nothing of the client; part of its flight is lost; a session may be resumed.
    for (hello, server, more, lost) in [
        (hello.clone(), full.clone(), (Side::Server, alert()), false),
        (hello, full, (Side::Client, alert()), true),
        (client_hello_with(&[ticket(100)]), server_hello(0xc02f, &[]), (Side::Client, alert()), false),
    ] {
        let client = read(hello, server, more, lost);
        assert!(matches!(client, ClientAuth::Hidden(_)), "{client:?}");
    }
}

#[test]
fn a_handshake_is_over_when_both_sides_changed_cipher() {
    let outcome = |sides: &[Side]| {
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script12(&[message(16, &[0; 33])])[..2].to_vec(), 4096);
        let mark = Mark { packet: 2, acknowledged: None };
        handshake.bytes(Side::Client, mark, &record(22, &message(16, &[0; 33])));
        for side in sides {
            handshake.bytes(*side, mark, &record(20, &[1]));
        }
        handshake.conclude(ends(), &mut Memory::default()).session.outcome
    };
    assert_eq!(outcome(&[Side::Client]), Outcome::Incomplete);
    assert_eq!(outcome(&[Side::Server]), Outcome::Incomplete);
    assert_eq!(outcome(&[Side::Client, Side::Server]), Outcome::Established);
}

#[test]
fn a_certificate_is_rejected_before_the_server_s_end_of_the_handshake() {
    let certificate = message(11, &[0, 0, 8, 0, 0, 5, 1, 2, 3, 4, 5]);
    let read = |turns: usize, more: &[u8], lost: bool, left: bool| {
        let mut script = script12(&[certificate.clone(), message(16, &[0; 33])])[..turns].to_vec();
        script.push((Side::Server, more.to_vec()));
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script, 4096);
        if lost {
            handshake.gap(Side::Server);
        }
        if left {
            handshake.close(Side::Server, Ending::Fin, None);
        }
        handshake.conclude(ends(), &mut Memory::default()).client.word()
    };
    let alert = record(21, &[2, 42]);
    assert_eq!(read(3, &alert, false, false), AuthWord::Rejected);
    assert_eq!(read(3, &[], false, true), AuthWord::Rejected);
    assert_eq!(read(3, &[], false, false), AuthWord::Certificate);
    assert_eq!(read(3, &[], true, true), AuthWord::Certificate, "it may have finished");
    assert_eq!(read(4, &[], false, true), AuthWord::Certificate);
    assert_eq!(read(4, &sealed(&[26]), false, true), AuthWord::Certificate);
}
