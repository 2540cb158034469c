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
