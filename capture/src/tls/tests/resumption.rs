//! Sessions that go on: by what was seen of them, by their tickets, by others at the same port.

use super::*;

/// A connection that resumes a session with an identity of this length.
fn resumed(ticket: usize) -> Handshake {
    resumed_with(ticket, 0)
}

/// The same where both sides add this many bytes to every protected record.
fn resumed_with(ticket: usize, pad: u16) -> Handshake {
    resumed_in(ticket, pad, 3)
}

/// The same, so far as it went in this many turns.
#[expect(clippy::arithmetic_side_effects, reason = "lengths of samples")]
fn resumed_in(ticket: usize, pad: u16, turns: usize) -> Handshake {
    let mut keys = u16::try_from(ticket + 6).unwrap().to_be_bytes().to_vec();
    keys.extend(u16::try_from(ticket).unwrap().to_be_bytes());
    keys.resize(keys.len() + ticket + 4, 9);
    let hello = client_hello_with(&[extension(43, &[2, 3, 4]), sni("a.example"), extension(41, &keys)]);
    let answer = server_hello(0x1301, &[extension(43, &[3, 4]), extension(41, &[0, 0])]);
    let script = [
        (Side::Client, hello),
        (Side::Server, [answer, sealed(&[60 + pad, 53 + pad])].concat()),
        (Side::Client, sealed(&[53 + pad])),
        (Side::Server, sealed(&[300])),
    ];
    let mut handshake = Handshake::default();
    feed_acknowledging(&mut handshake, &script[..turns].to_vec());
    handshake
}

#[test]
fn a_ticket_s_size_tells_nothing_of_a_server_that_pads() {
    let read = |pad| resumed_with(900, pad).conclude(ends(), &mut Memory::default()).client;
    let evidence = Evidence::because(Proof::Inferred, Reason::TicketSize);
    assert_eq!(read(0), ClientAuth::Proved(Presented::Sent, evidence));
    assert_eq!(read(16), ClientAuth::Hidden(Reason::Resumed));
    // What the server says after it is as long as it likes.
    assert_eq!(
        resumed_in(900, 16, 4).conclude(ends(), &mut Memory::default()).client,
        ClientAuth::Hidden(Reason::Resumed)
    );
    let read = |handshake: Handshake| handshake.conclude(ends(), &mut Memory::default());
    let client = |length| read(resumed(length)).client;
    assert_eq!(client(500), ClientAuth::Proved(Presented::Sent, evidence));
    assert_eq!(client(499), ClientAuth::Hidden(Reason::Resumed));
    // A key from outside, which has a shorter name than any ticket.
    let external = Evidence::because(Proof::Inferred, Reason::ExternalPsk);
    assert_eq!(client(31), ClientAuth::Refuted(Withheld::Absent, external));
    assert_eq!(client(32), ClientAuth::Hidden(Reason::Resumed));
}

#[test]
fn a_resumption_without_the_client_s_finished_is_none_yet() {
    let conclusion = resumed_in(900, 0, 2).conclude(ends(), &mut Memory::default());
    assert_eq!(conclusion.client, ClientAuth::Hidden(Reason::Resumed));
    assert_eq!((conclusion.session.resumed, conclusion.session.outcome), (Some(true), Outcome::Incomplete));
    let whole = resumed(900).conclude(ends(), &mut Memory::default());
    assert_eq!(whole.session.outcome, Outcome::Established);
    assert!(!resumed(900).may_rest(), "the server has not gone on");
}

/// A session whose certificate was rejected has no ticket that anybody takes: one that is taken is of another session.
#[test]
fn what_failed_is_resumed_by_nobody() {
    let mut memory = Memory::default();
    let mut original = Handshake::default();
    let (_, seen) = feed_acknowledging(&mut original, &script13(&[582], &[19]));
    original.close(Side::Server, Ending::Fin, u32::try_from(seen).ok());
    original.remember(ends(), &mut memory.sessions);
    assert_eq!(resumed(208).conclude(ends(), &mut memory).client, ClientAuth::Hidden(Reason::Resumed));
}

#[test]
fn a_resumption_is_what_the_session_it_resumes_was() {
    let mut memory = Memory::default();
    let alone = resumed(208).conclude(ends(), &mut memory);
    assert_eq!(alone.client, ClientAuth::Hidden(Reason::Resumed));
    assert_eq!(resumed(900).conclude(ends(), &mut memory).client.word(), AuthWord::Certificate);
    let mut original = Handshake::default();
    feed_acknowledging(&mut original, &script13(&[582], &[250, 250]));
    original.remember(ends(), &mut memory.sessions);
    let linked = resumed(208).conclude(ends(), &mut memory);
    assert!(
        matches!(linked.client, ClientAuth::Proved(Presented::Sent, evidence) if evidence.proof == Proof::Linked),
        "{linked:?}"
    );
}

#[test]
fn tickets_are_over_with_a_record_of_another_length() {
    let settled = |flight: &[u16], reaction: &[u16], part: usize| {
        let mut handshake = Handshake::default();
        let mut script = script13(flight, reaction);
        // Of the last record no more than so many bytes.
        let (_, last) = script.pop().unwrap();
        let whole = usize::from(*reaction.last().unwrap()).saturating_add(5);
        script.push((Side::Server, last[..last.len().saturating_sub(whole).saturating_add(part)].to_vec()));
        feed_acknowledging(&mut handshake, &script);
        handshake.settled()
    };
    let (exact, strong): (&[u16], &[u16]) = (&[856, 95, 53], &[582, 401]);
    for flight in [exact, strong, &[53, 400]] {
        // The header of the record after them tells.
        assert!(settled(flight, &[250, 250, 8000], 5));
        assert!(!settled(flight, &[250, 250, 8000], 4));
        // One may be the tickets together, or none; a fourth like those before it is none.
        assert!(settled(flight, &[500, 40], 5));
        assert!(!settled(flight, &[250, 250, 250], 255));
        assert!(!settled(flight, &[250, 251], 256));
        assert!(settled(flight, &[250, 251, 250, 250], 5));
        // Alerts alone may be all that the server says to a certificate.
        assert!(!settled(flight, &[19, 35], 40));
        assert!(settled(flight, &[19, 300], 5));
    }
    // What may be padded alike with all that follows, or be the first of several messages.
    for flight in [&[582][..], &[759, 759], &[600, 97]] {
        assert!(!settled(flight, &[250, 250, 8000], 5), "{flight:?}");
    }
}

/// A full handshake of TLS 1.2 without a certificate, whose session has an id and a ticket in the clear.
fn script12_with_ticket() -> Script {
    let mut script = script12(&[message(16, &[0; 33])]);
    script[1].1 = [
        record(22, &message(2, &[&[3, 3][..], &[6; 32], &[32], &[7; 32], &[0xc0, 0x2f, 0]].concat())),
        record(22, &[message(11, &[0, 0, 0]), message(14, &[])].concat()),
    ]
    .concat();
    let ticket = message(4, &[&[0, 0, 1, 0, 0, 200][..], &[8; 200]].concat());
    script[3].1 = [record(22, &ticket), record(20, &[1]), record(22, &[0; 40])].concat();
    script
}

/// What a handshake of TLS 1.2 is concluded to be that goes on with that session, by its ticket.
fn resumed12(memory: &mut Memory) -> ClientAuth {
    let hello = client_hello_with(&[sni("b.example"), extension(35, &[8; 200])]);
    let finished = [record(20, &[1]), record(22, &[0; 40])].concat();
    let answer = [server_hello(0xc02f, &[]), finished.clone()].concat();
    let script = vec![(Side::Client, hello), (Side::Server, answer), (Side::Client, finished)];
    let mut handshake = Handshake::default();
    feed(&mut handshake, &script, 4096);
    handshake.conclude(ends(), memory).client
}

#[test]
fn a_ticket_stands_for_the_handshake_that_it_was_issued_in() {
    let leave = |more: &[u8]| {
        let (mut memory, mut original) = (Memory::default(), Handshake::default());
        let mut script = script12_with_ticket();
        script.push((Side::Client, more.to_vec()));
        feed(&mut original, &script, 4096);
        (original.settle(ends(), &mut memory).client, memory)
    };
    let linked = Evidence::because(Proof::Linked, Reason::SessionLink);
    let (client, mut memory) = leave(&[]);
    assert_eq!(client, ClientAuth::Refuted(Withheld::Absent, Evidence::WIRE));
    assert_eq!(resumed12(&mut memory), ClientAuth::Refuted(Withheld::Absent, linked));
    // A renegotiation with a certificate makes a session of its own; the first one goes on without.
    let renegotiation: Vec<u8> = [300, 600, 61, 300]
        .iter()
        .flat_map(|length| record(22, &vec![0; *length]))
        .chain(record(20, &[1]))
        .collect();
    let (client, mut memory) = leave(&renegotiation);
    assert_eq!(client.word(), AuthWord::Certificate);
    assert_eq!(resumed12(&mut memory), ClientAuth::Refuted(Withheld::Absent, linked));
    // Nor is anything said of it by one of which nobody knows.
    let (client, mut memory) = leave(&record(22, &[0; 300]));
    assert_eq!(client.word(), AuthWord::Unknown);
    assert_eq!(resumed12(&mut memory), ClientAuth::Refuted(Withheld::Absent, linked));
}

#[test]
fn a_late_authentication_is_none_of_the_tickets_before_it() {
    let check = |more: &[u16], expected| {
        let mut script = script13(&[53, 400], &[250, 250]);
        script[0].1 = client_hello_with(&[extension(43, &[2, 3, 4]), sni("a.example"), extension(49, &[])]);
        script.push((Side::Client, sealed(more)));
        let (mut memory, mut original) = (Memory::default(), Handshake::default());
        feed_acknowledging(&mut original, &script);
        let _ = original.settle(ends(), &mut memory);
        assert_eq!(resumed(208).conclude(ends(), &mut memory).client.word(), expected, "{more:?}");
    };
    check(&[473, 400], AuthWord::Absent);
    check(&[473, 97, 53], AuthWord::Unknown);
}

/// A full handshake of TLS 1.2 without a certificate that agrees on a protocol; nothing for none.
fn script12_for(protocol: &[u8]) -> Script {
    let mut script = script12(&[message(16, &[0; 33])]);
    let length = u8::try_from(protocol.len()).unwrap();
    let alpn = extension(16, &[&[0, length.saturating_add(1), length][..], protocol].concat());
    let extensions = if protocol.is_empty() { vec![] } else { vec![alpn] };
    let rest = record(22, &[message(11, &[0, 0, 0]), message(14, &[])].concat());
    script[1].1 = [server_hello(0xc02f, &extensions), rest].concat();
    script
}

#[test]
fn what_never_renegotiates_settles_at_its_first_payload() {
    for (name, payload, expected) in [
        (&b"h2"[..], 23, true),
        (b"h2", 22, false),
        (b"http/1.1", 23, false),
        (b"istio", 22, true),
        (b"", 23, false),
    ] {
        let mut script = script12_for(name);
        script.push((Side::Client, record(payload, &[0; 100])));
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script, 4096);
        assert_eq!(handshake.settled(), expected, "{name:?} {payload}");
    }
}

#[test]
fn http2_renegotiates_before_its_first_payload_alone() {
    let renegotiation: Vec<u8> = [300, 600, 61, 300]
        .iter()
        .flat_map(|length| record(22, &vec![0; *length]))
        .chain(record(20, &[1]))
        .collect();
    let payload = record(23, &[0; 100]);
    let read = |protocol: &[u8], more: [&[u8]; 2]| {
        let mut script = script12_for(protocol);
        script.push((Side::Client, more.concat()));
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script, 4096);
        // Whatever is lost after that.
        handshake.gap(Side::Client);
        handshake.gap(Side::Server);
        handshake.conclude(ends(), &mut Memory::default()).client
    };
    let absent = ClientAuth::Refuted(Withheld::Absent, Evidence::WIRE);
    assert_eq!(read(b"h2", [&renegotiation, &payload]).word(), AuthWord::Certificate);
    assert_eq!(read(b"h2", [&payload, &renegotiation]), absent);
    assert_eq!(read(b"h2", [&payload, &[]]), absent);
    assert_eq!(read(b"http/1.1", [&payload, &renegotiation]).word(), AuthWord::Certificate);
    assert_eq!(read(b"http/1.1", [&payload, &[]]).word(), AuthWord::Unknown);
    assert_eq!(read(b"istio", [&[], &[]]), absent);
}

#[test]
fn siblings_tell_of_a_session_that_was_not_seen() {
    let client = |last: u8| Ends { client: IpAddr::from([192, 0, 2, last]), ..ends() };
    let check = |flights: &[(u8, &[u16])], identity: usize, expected| {
        let mut memory = Memory::default();
        for (last, flight) in flights {
            let mut full = Handshake::default();
            feed_acknowledging(&mut full, &script13(flight, &[250, 250]));
            full.remember(client(*last), &mut memory.sessions);
        }
        assert_eq!(
            resumed(identity).conclude(client(9), &mut memory).client,
            expected,
            "{flights:?} {identity}"
        );
    };
    let (sent, absent): (&[u16], &[u16]) = (&[856, 95, 53], &[53, 400]);
    let evidence = Evidence::because(Proof::Inferred, Reason::Siblings);
    let hidden = ClientAuth::Hidden(Reason::Resumed);
    check(&[(2, sent), (3, sent), (2, sent)], 208, ClientAuth::Proved(Presented::Sent, evidence));
    check(&[(2, absent), (3, absent), (2, absent)], 208, ClientAuth::Refuted(Withheld::Absent, evidence));
    check(&[(2, sent), (3, sent)], 208, hidden);
    check(&[(2, sent), (2, sent), (2, sent)], 208, hidden);
    check(&[(2, sent), (3, sent), (2, sent)], 100, hidden);
    // Two and one of which the client's flight is not there.
    check(&[(2, sent), (3, sent), (2, &[])], 208, hidden);
    check(&[(2, sent), (3, sent), (4, &[]), (2, sent)], 208, ClientAuth::Proved(Presented::Sent, evidence));
    check(&[(2, sent), (3, absent), (2, sent), (3, sent), (2, sent)], 208, hidden);
    check(&[(2, &[61, 400]), (3, &[61, 400]), (2, &[61, 400])], 208, hidden);
}

/// Sessions that were themselves resumed, or that a server would not resume, tell nothing of others at its port.
#[test]
fn only_full_handshakes_of_new_sessions_are_siblings() {
    let client = |last: u8| Ends { client: IpAddr::from([192, 0, 2, last]), ..ends() };
    let mut memory = Memory::default();
    for last in [2, 3, 4, 5] {
        resumed(900).remember(client(last), &mut memory.sessions);
        let mut script = script13(&[856, 95, 53], &[250, 250]);
        let keys = [&[0, 206, 0, 200][..], &[9; 204]].concat();
        script[0].1 = client_hello_with(&[extension(43, &[2, 3, 4]), sni("a.example"), extension(41, &keys)]);
        let mut refused = Handshake::default();
        feed_acknowledging(&mut refused, &script);
        assert_eq!(refused.conclude(ends(), &mut Memory::default()).session.resumed, Some(false));
        refused.remember(client(last), &mut memory.sessions);
    }
    let other = resumed(208).conclude(client(9), &mut memory).client;
    assert_eq!(other, ClientAuth::Hidden(Reason::Resumed));
}

/// Early data that was accepted ends with a message of its own, whatever is known of who had seen what.
#[test]
fn a_resumption_with_early_data_is_established_by_its_end() {
    let keys = [&[0, 214, 0, 208][..], &[9; 212]].concat();
    let hello = client_hello_with(&[extension(43, &[2, 3, 4]), extension(42, &[]), extension(41, &keys)]);
    let outcome = |flight: &[u16]| {
        let answer = server_hello(0x1301, &[extension(43, &[3, 4]), extension(41, &[0, 0])]);
        let script = vec![
            (Side::Client, [hello.clone(), sealed(&[900])].concat()),
            (Side::Server, [answer, sealed(&[60, 53])].concat()),
            (Side::Client, sealed(flight)),
        ];
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script, 4096);
        handshake.conclude(ends(), &mut Memory::default()).session.outcome
    };
    assert_eq!(outcome(&[21, 53]), Outcome::Established);
    for flight in [&[21, 54][..], &[22, 53], &[53, 21]] {
        assert_eq!(outcome(flight), Outcome::Incomplete, "{flight:?}");
    }
}
