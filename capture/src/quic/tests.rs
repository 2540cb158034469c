//! Packets as clients and servers make them, sealed by the keys of the standard, and the lengths of those that nobody can open.

use proptest::prelude::*;

use super::*;

#[test]
fn client_initial_keys_are_those_of_the_standard() {
    // RFC 9001 appendix A.3: the server's first Initial, whose CRYPTO frame holds a ServerHello.
    let text = "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f\
                5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd937\
                95d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee";
    let packet: Vec<u8> =
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect();
    let (_, server) = Keys::derive(1, &[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08]).unwrap();
    let long = Long::read(&packet, &packet).unwrap();
    assert_eq!(long.kind, Kind::Initial);
    let body = server.open(long.bytes, long.number_at).expect("opens");
    let mut crypto = Crypto::default();
    crypto.frames(&body);
    let hello = ServerHello::read(crypto.messages(2).next().unwrap()).unwrap();
    assert_eq!((hello.version, hello.suite, hello.group), (0x0304, 0x1301, Some(29)));
}

/// An Initial packet under the keys of a connection id, with CRYPTO frames of these offsets.
fn initial(side: Side, version: u32, keyed: &[u8], to: &[u8], number: u8, crypto: &[(u8, &[u8])]) -> Vec<u8> {
    let first = if version == VERSION_2 { 0xd0 } else { 0xc0 };
    initial_of(first, side, version, keyed, (to, number), crypto)
}

/// The same with another first byte.
#[expect(clippy::arithmetic_side_effects, reason = "lengths of samples")]
fn initial_of(
    first: u8,
    side: Side,
    version: u32,
    keyed: &[u8],
    (to, number): (&[u8], u8),
    crypto: &[(u8, &[u8])],
) -> Vec<u8> {
    let mut body = Vec::new();
    for (offset, part) in crypto {
        body.extend([6, *offset, 0x40, u8::try_from(part.len()).unwrap()]);
        body.extend_from_slice(part);
    }
    body.extend([0; 24]);
    let mut packet = vec![first];
    packet.extend(version.to_be_bytes());
    packet.push(u8::try_from(to.len()).unwrap());
    packet.extend_from_slice(to);
    packet.extend([0, 0, 0x40, u8::try_from(body.len() + 17).unwrap(), number]);
    let (client, server) = Keys::derive(version, keyed).unwrap();
    (if side == Side::Client { client } else { server }).seal(packet, &body)
}

fn message(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(rest);
    [&[kind, 0, 0, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
}

/// A ClientHello that offers this suite.
fn client_hello(suite: u8) -> Vec<u8> {
    message(1, &[&[9; 32][..], &[0, 0, 2, 0x13, suite, 1, 0]].concat())
}

fn server_hello(random: &[u8; 32], suite: u8) -> Vec<u8> {
    message(2, &[random.as_slice(), &[0, 0x13, suite, 0, 0, 6, 0, 43, 0, 2, 3, 4]].concat())
}

fn ends() -> Ends {
    let ip = std::net::IpAddr::from([192, 0, 2, 1]);
    Ends { client: ip, server: flow::Endpoint { ip, port: 1 }, start: flow::Timestamp::default() }
}

fn read(datagrams: &[(Side, Vec<u8>)]) -> Quic {
    let mut quic = Quic::default();
    assert_eq!(is_quic_initial(&datagrams[0].1), Probe::Yes);
    for (side, datagram) in datagrams {
        quic.datagram(*side, datagram);
    }
    quic
}

const CHOSEN: [u8; 8] = *b"original";
const C: Side = Side::Client;
const S: Side = Side::Server;

#[test]
fn hellos_of_every_version_in_frames_out_of_order() {
    for version in [1, VERSION_2, VERSION_T050, VERSION_T051, 0xff00_001d, 0xff00_0017, 0xface_b001] {
        let hello = client_hello(1);
        let last = initial(C, version, &CHOSEN, &CHOSEN, 1, &[(20, &hello[20..])]);
        let first = initial(C, version, &CHOSEN, &CHOSEN, 0, &[(8, &hello[8..25]), (0, &hello[..10])]);
        let answer = initial(S, version, &CHOSEN, b"", 0, &[(0, &server_hello(&[7; 32], 1))]);
        let quic = read(&[(C, last), (C, first), (S, answer)]);
        assert_eq!(quic.hello.unwrap().suites().collect::<Vec<_>>(), [0x1301], "{version:x}");
        assert_eq!(quic.answer.unwrap().suite, 0x1301, "{version:x}");
    }
}

#[test]
fn a_bit_that_says_nothing_is_not_asked() {
    let hello = initial(C, 1, &CHOSEN, &CHOSEN, 0, &[(0, &client_hello(1))]);
    let answer = initial_of(0x80, S, 1, &CHOSEN, (b"", 0), &[(0, &server_hello(&[7; 32], 1))]);
    let protected = || [&[0x01][..], &[5; 40]].concat();
    let quic = read(&[(C, hello), (S, answer), (C, protected()), (S, protected())]);
    assert_eq!(quic.answer.as_ref().unwrap().suite, 0x1301);
    assert_eq!((quic.client_protected, quic.server_protected), (1, 1));
    let hello = initial(C, 1, &CHOSEN, &CHOSEN, 0, &[(0, &client_hello(1))]);
    let quic = read(&[(C, hello), (C, protected()), (S, protected())]);
    assert_eq!((quic.client_protected, quic.server_protected), (0, 0), "another connection's");
    let unfixed = initial_of(0x80, C, 1, &CHOSEN, (&CHOSEN, 0), &[(0, &client_hello(1))]);
    assert_eq!(is_quic_initial(&unfixed), Probe::No, "nobody has agreed yet");
}

#[test]
fn a_client_that_begins_again_is_followed() {
    let hello = client_hello(1);
    let first = || initial(C, 1, &CHOSEN, &CHOSEN, 0, &[(0, &hello)]);
    let answered = |quic: &Quic| quic.answer.as_ref().map(|answer| answer.suite);
    // Retry (RFC 9000 section 17.2.5) brings another connection id, which the keys then stand on.
    let retry = [&[0xf0, 0, 0, 0, 1, 0, 4][..], b"more", &[0; 40]].concat();
    let again = initial(C, 1, b"more", b"more", 1, &[(0, &hello)]);
    let answer = initial(S, 1, b"more", b"", 0, &[(0, &server_hello(&[7; 32], 1))]);
    let quic = read(&[(C, first()), (S, retry), (C, again), (S, answer)]);
    assert_eq!(answered(&quic), Some(0x1301));
    // A server that changes to version 2 in mid-handshake (RFC 9368 section 4) keeps the first connection id.
    let answer = initial(S, VERSION_2, &CHOSEN, b"", 0, &[(0, &server_hello(&[7; 32], 1))]);
    let again = initial(C, VERSION_2, &CHOSEN, b"server's", 1, &[(0, &hello)]);
    let quic = read(&[(C, first()), (S, answer), (C, again)]);
    assert_eq!((answered(&quic), quic.version), (Some(0x1301), Some(VERSION_2)));
    // Version negotiation (RFC 9000 section 6) makes the client begin again, with another hello.
    let negotiation = [&[0xc0, 0, 0, 0, 0, 0, 0][..], &VERSION_2.to_be_bytes()].concat();
    let again = initial(C, VERSION_2, b"another", b"another", 0, &[(0, &client_hello(2))]);
    let answer = initial(S, VERSION_2, b"another", b"", 0, &[(0, &server_hello(&[7; 32], 2))]);
    let quic = read(&[(C, first()), (S, negotiation), (C, again), (S, answer)]);
    assert_eq!(answered(&quic), Some(0x1302));
    assert_eq!(quic.hello.unwrap().suites().collect::<Vec<_>>(), [0x1302]);
}

#[test]
fn after_a_hello_retry_request_the_second_hello_counts() {
    let retry = crate::tls::hello::RETRY;
    let hello = client_hello(1);
    let place = u8::try_from(hello.len()).unwrap();
    let asked = server_hello(&retry, 1);
    let asked_length = u8::try_from(asked.len()).unwrap();
    let quic = read(&[
        (C, initial(C, 1, &CHOSEN, &CHOSEN, 0, &[(0, &hello)])),
        (S, initial(S, 1, &CHOSEN, b"", 0, &[(0, &asked)])),
        (C, initial(C, 1, &CHOSEN, b"server's", 1, &[(place, &client_hello(3))])),
        (S, initial(S, 1, &CHOSEN, b"", 1, &[(asked_length, &server_hello(&[7; 32], 3))])),
    ]);
    assert!(quic.retry);
    assert_eq!(quic.answer.unwrap().suite, 0x1303);
    assert_eq!(quic.hello.unwrap().suites().collect::<Vec<_>>(), [0x1303]);
}

#[test]
fn the_clients_handshake_packets_are_read_by_their_lengths() {
    let check_of = |extensions: &[u8], flight: &[(u64, bool)], expected| {
        let head = [&[3, 3][..], &[5; 32], &[0, 0, 2, 0x13, 2, 1, 0, 0]].concat();
        let length = u8::try_from(extensions.len()).unwrap();
        let quic = Quic {
            hello: ClientHello::read([&head[..], &[length], extensions].concat(), false),
            answer: Some(ServerHello { version: 0x0304, suite: 0x1302, ..ServerHello::default() }),
            server_id: Some(b"server's".to_vec()),
            flight: flight.iter().map(|(length, padded)| protected(*length, *padded, b"server's")).collect(),
            ..Quic::default()
        };
        assert_eq!(quic.client_auth(ends(), &Sessions::default()), expected, "{flight:?}");
    };
    let check = |flight: &[(u64, bool)], expected| check_of(&[], flight, expected);
    let evidence = Evidence::because(Proof::Inferred, Reason::FlightSize);
    let hidden = ClientAuth::Hidden(Reason::Datagram);
    check(&[(24, false), (80, false)], ClientAuth::Refuted(Withheld::Absent, evidence));
    check(&[(88, true)], ClientAuth::Refuted(Withheld::Declined, evidence));
    check(&[(609, false)], ClientAuth::Proved(Presented::Sent, evidence));
    check(&[(1140, true), (534, false)], ClientAuth::Proved(Presented::Sent, evidence));
    // Padded to fill its datagram, of another stack's size, or the end of a flight whose beginning was lost.
    for flight in [&[(1123, true)][..], &[(84, false)], &[(300, false), (80, false)], &[(24, false)], &[]] {
        check(flight, hidden);
    }
    // Application settings may stand beside a Finished.
    let settings = [0x44, 0xcd, 0, 0];
    check_of(&settings, &[(80, false)], ClientAuth::Refuted(Withheld::Absent, evidence));
    check_of(&settings, &[(609, false)], hidden);
    check_of(&settings, &[(1100, false)], ClientAuth::Proved(Presented::Sent, evidence));
}

fn protected(length: u64, padded: bool, destination: &[u8]) -> Protected {
    Protected { length, padded, destination: destination.to_vec() }
}

#[test]
fn what_is_addressed_to_another_id_is_another_connections() {
    let hello = initial(C, 1, &CHOSEN, &CHOSEN, 0, &[(0, &client_hello(1))]);
    let mut quic = read(&[(C, hello)]);
    let answer = ServerHello { version: 0x0304, suite: 0x1301, ..ServerHello::default() };
    (quic.answer, quic.server_id) = (Some(answer), Some(b"own".to_vec()));
    quic.flight.push(protected(609, false, b"other"));
    let client_auth = |quic: &Quic| quic.client_auth(ends(), &Sessions::default());
    assert_eq!(client_auth(&quic), ClientAuth::Hidden(Reason::Datagram));
    quic.flight.push(protected(64, false, b"own"));
    assert!(matches!(client_auth(&quic), ClientAuth::Refuted(Withheld::Absent, _)));
}

#[test]
fn a_client_that_begins_again_unasked_may_be_two() {
    let hello = |id: &[u8]| initial(C, 1, id, id, 0, &[(0, &client_hello(1))]);
    let answer = initial(S, 1, b"more", b"", 0, &[(0, &server_hello(&[7; 32], 1))]);
    let retry = |to: &[u8], id: &[u8; 4]| {
        let to_length = u8::try_from(to.len()).unwrap();
        [&[0xf0, 0, 0, 0, 1, to_length][..], to, &[4], id, &[0; 40]].concat()
    };
    // The samples' client has an id without a byte.
    for (retry, asked) in [
        (Some(retry(b"", b"more")), true),
        (None, false),
        (Some(retry(b"other", b"more")), false),
        (Some(retry(b"", b"else")), false),
    ] {
        let mut datagrams = vec![(C, hello(&CHOSEN)), (C, hello(b"more")), (S, answer.clone())];
        if let Some(retry) = retry {
            datagrams.insert(1, (S, retry));
        }
        let mut quic = read(&datagrams);
        quic.server_id = Some(b"own".to_vec());
        quic.flight.push(protected(609, false, b"own"));
        let client = quic.client_auth(ends(), &Sessions::default());
        assert_eq!(matches!(client, ClientAuth::Proved(..)), asked, "{client:?}");
    }
}

#[test]
fn early_data_may_come_first() {
    let mut packet = vec![0xd0, 0, 0, 0, 1, 8];
    packet.extend(CHOSEN);
    packet.extend([0, 20]);
    packet.extend([0xaa; 20]);
    assert_eq!(is_quic_initial(&packet), Probe::Yes);
    packet[4] = 9;
    assert_eq!(is_quic_initial(&packet), Probe::No);
}

proptest! {
    #[test]
    fn any_bytes_do_no_harm(datagrams in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..80)), 0..12)) {
        let mut quic = Quic::default();
        for (client, mut bytes) in datagrams {
            if let Some(first) = bytes.first_mut() { *first |= 0xc0; }
            if let Some(version) = bytes.get_mut(1..5) { version.copy_from_slice(&[0, 0, 0, 1]); }
            quic.datagram(if client { Side::Client } else { Side::Server }, &bytes);
        }
    }
}
