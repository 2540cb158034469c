//! What a server turns down: hellos, after which no certificate is sent unless something of the answer is missing, and flights.

use super::*;

#[test]
fn a_refused_hello_sent_no_certificate() {
    let mut handshake = Handshake::default();
    feed(&mut handshake, &vec![(Side::Client, hello13()), (Side::Server, record(21, &[2, 40]))], 4096);
    let conclusion = handshake.conclude(ends(), &mut Memory::default());
    assert!(matches!(conclusion.client, ClientAuth::Refuted(Withheld::Absent, _)), "{conclusion:?}");
    assert_eq!(conclusion.session.outcome, Outcome::Failed);
}

#[test]
fn a_hello_with_a_name_that_the_server_refuses_sent_no_certificate() {
    let answered = |level: u8| {
        let mut handshake = Handshake::default();
        let alert = record(21, &[level, 112]);
        feed(&mut handshake, &vec![(Side::Client, hello13()), (Side::Server, alert)], 4096);
        handshake.conclude(ends(), &mut Memory::default())
    };
    let refused = answered(2);
    assert!(matches!(refused.client, ClientAuth::Refuted(Withheld::Absent, _)), "{refused:?}");
    assert_eq!(refused.session.outcome, Outcome::Failed);
    // As a warning it lets the handshake go on.
    assert_eq!(answered(1).client, ClientAuth::Hidden(Reason::Incomplete));
}

#[test]
fn a_hello_that_is_answered_in_the_clear_sent_no_certificate() {
    let answered = |answer: &[u8], leaves: bool| {
        let mut handshake = Handshake::default();
        feed(&mut handshake, &vec![(Side::Client, hello13()), (Side::Server, answer.to_vec())], 4096);
        if leaves {
            handshake.close(Side::Client, Ending::Reset, None);
        }
        handshake.conclude(ends(), &mut Memory::default())
    };
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"220 ready\r\n", b"\x64\0\0\0\x0a5.5.5"] {
        let refused = answered(answer, true);
        let because = Evidence::because(Proof::Strong, Reason::Refused);
        assert_eq!(refused.client, ClientAuth::Refuted(Withheld::Absent, because), "{refused:?}");
        assert_eq!(refused.session.outcome, Outcome::Failed);
        // A client that is still there may know better.
        assert!(matches!(answered(answer, false).client, ClientAuth::Hidden(_)));
    }
}

#[test]
fn a_lost_server_side_is_no_refusal() {
    let mut handshake = Handshake::default();
    feed(&mut handshake, &vec![(Side::Client, hello13())], 4096);
    handshake.gap(Side::Server);
    handshake.close(Side::Server, Ending::Fin, None);
    let conclusion = handshake.conclude(ends(), &mut Memory::default());
    assert_eq!(conclusion.client, ClientAuth::Hidden(Reason::Gap));
}

#[test]
fn what_followed_a_flight_of_no_known_shape_tells_whether_it_was_taken() {
    let outcome = |reaction: &[u16]| {
        let mut handshake = Handshake::default();
        // Padded to blocks of 100, which no stack does by itself.
        let (client, server) = feed_acknowledging(&mut handshake, &script13(&[116, 116, 116], reaction));
        handshake.close(Side::Server, Ending::Fin, u32::try_from(server).ok());
        handshake.close(Side::Client, Ending::Fin, u32::try_from(client).ok());
        let conclusion = handshake.conclude(ends(), &mut Memory::default());
        assert_eq!(conclusion.client, ClientAuth::Hidden(Reason::FlightShape));
        conclusion.session.outcome
    };
    assert_eq!(outcome(&[316, 316, 116]), Outcome::Established);
    assert_eq!(outcome(&[116]), Outcome::Incomplete);
    assert_eq!(outcome(&[]), Outcome::Failed);
}

/// What a server turns down may be more than a hello, and may be a part of what was sent.
#[test]
fn only_a_hello_that_is_all_there_was_turned_down_without_a_certificate() {
    let read = |client: &[Vec<u8>], server: &[u8], lost: &[Side]| {
        let mut handshake = Handshake::default();
        let said = [&[hello13()], client].concat().concat();
        feed(&mut handshake, &vec![(Side::Client, said), (Side::Server, server.to_vec())], 4096);
        lost.iter().for_each(|side| handshake.gap(*side));
        handshake.close(Side::Client, Ending::Fin, None);
        handshake.close(Side::Server, Ending::Fin, None);
        handshake.conclude(ends(), &mut Memory::default()).client
    };
    let alert = record(21, &[2, 40]);
    let refused = Evidence::because(Proof::Strong, Reason::Refused);
    assert_eq!(read(&[], &alert, &[]), ClientAuth::Refuted(Withheld::Absent, refused));
    assert_eq!(read(&[], &[], &[]), ClientAuth::Refuted(Withheld::Absent, refused));
    let certificate = record(22, &message(11, &[0, 0, 8, 0, 0, 5, 1, 2, 3, 4, 5]));
    let exchange = record(22, &message(16, &[0; 33]));
    let sent = ClientAuth::Proved(Presented::Sent, Evidence::WIRE);
    assert_eq!(read(&[certificate], &alert, &[]), sent);
    let one_sided = Evidence::because(Proof::Inferred, Reason::OneSided);
    assert_eq!(read(&[exchange], &alert, &[]), ClientAuth::Refuted(Withheld::Absent, one_sided));
    // Payload, of which nobody knows what it is; what may be missing; and an answer that was begun.
    let begun = &answer13()[..9];
    // Below TLS 1.3 a client that resumes a session changes cipher at once, where it need not wait.
    let resumes = [client_hello_with(&[sni("b.example")]), record(20, &[1])].concat();
    let mut handshake = Handshake::default();
    feed(&mut handshake, &vec![(Side::Client, resumes), (Side::Server, alert.clone())], 4096);
    let client = handshake.conclude(ends(), &mut Memory::default()).client;
    assert!(matches!(client, ClientAuth::Hidden(_)), "{client:?}");
    for (client, server, lost) in [
        (&[sealed(&[700, 53])][..], &alert[..], &[][..]),
        (&[], &alert, &[Side::Client]),
        (&[], &alert, &[Side::Server]),
        (&[], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[Side::Client]),
        (&[], begun, &[]),
    ] {
        let client = read(client, server, lost);
        assert!(!matches!(client, ClientAuth::Refuted(..)), "{server:?} {lost:?}: {client:?}");
    }
}

/// A close looks like a refusal: it is one only where a certificate was asked for, and where nothing else was said.
#[test]
fn an_alert_refuses_what_was_sent_and_not_that_nothing_was() {
    let read = |flight: &[u16], reaction: &[u16], ending: Option<u64>| {
        let mut handshake = Handshake::default();
        let (_, seen) = feed_acknowledging(&mut handshake, &script13(flight, reaction));
        if let Some(more) = ending {
            handshake.close(Side::Server, Ending::Fin, u32::try_from(seen + more).ok());
        }
        let conclusion = handshake.conclude(ends(), &mut Memory::default());
        (conclusion.client.word(), conclusion.session.outcome)
    };
    assert_eq!(read(&[582], &[19], Some(0)), (AuthWord::Rejected, Outcome::Failed));
    assert_eq!(read(&[61], &[19], Some(0)), (AuthWord::Declined, Outcome::Failed));
    assert_eq!(read(&[53], &[19], Some(0)), (AuthWord::Absent, Outcome::Established));
    // Nobody left yet; more than an alert and a close; and a ticket among them.
    let taken = (AuthWord::Certificate, Outcome::Established);
    assert_eq!(read(&[582], &[19], None), taken);
    assert_eq!(read(&[582], &[19, 19], Some(0)), (AuthWord::Rejected, Outcome::Failed));
    assert_eq!(read(&[582], &[19, 19, 19], Some(0)), taken);
    assert_eq!(read(&[582], &[250, 19], Some(0)), taken);
    // Without a word, and only after the client's own close.
    assert_eq!(read(&[582], &[], Some(0)), (AuthWord::Rejected, Outcome::Failed));
    assert_eq!(read(&[582], &[], Some(1)), taken);
}
