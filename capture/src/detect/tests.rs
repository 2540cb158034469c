//! Every detector against every opening, upgrades end to end, and any bytes.
#![expect(clippy::arithmetic_side_effects, reason = "lengths of samples")]

use flow::{Protocol, Reason, Side, Transport, Upgrade};
use proptest::prelude::*;

use super::catalogue::{DETECTORS, Detector, Form};
use super::upgrade::UPGRADES;
use super::{Detected, Opening, Progress, Read, detect, detect_on};
use crate::tls::Probe;

mod late;
mod others;

const C: Side = Side::Client;
const S: Side = Side::Server;

type Sample<'a> = &'a [(Side, &'a [u8])];

/// The opening after every further byte of the messages, in their order; datagrams come whole.
fn prefixes(messages: Sample<'_>, transport: Transport) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut client, mut server) = (Vec::new(), Vec::new());
    let mut all = Vec::new();
    for (side, bytes) in messages {
        let step = if transport == Transport::Udp { bytes.len() } else { 1 };
        for piece in bytes.chunks(step.max(1)) {
            match side {
                Side::Client => client.extend_from_slice(piece),
                Side::Server => server.extend_from_slice(piece),
            }
            all.push((client.clone(), server.clone()));
        }
    }
    all
}

fn opening<'a>(streams: &'a (Vec<u8>, Vec<u8>), first: Side, transport: Transport) -> Opening<'a> {
    let (client, server) = streams;
    Opening { client, server, first, from_start: true, transport, port: 0, ended: false }
}

/// Bytes from 0x80 on may stand in a line of text, so that one might wait for its end.
#[test]
fn what_is_no_protocol_is_ruled_out_by_its_first_bytes() {
    let noise =
        |first: u8| (0..16_u8).map(|place| 0x80 | first ^ place.wrapping_mul(37)).collect::<Vec<u8>>();
    for (client, server) in [(0x5d, 0xb2), (0xd3, 0x9c), (0xe5, 0xc7), (0xf9, 0x83)] {
        for first in [Side::Client, Side::Server] {
            let (streams, mut progress) = ((noise(client), noise(server)), Progress::default());
            assert_eq!(detect_on(&opening(&streams, first, Transport::Tcp), &mut progress), Detected::More);
            assert!(progress.all_ruled_out(), "{streams:02x?}: {progress:?}");
        }
    }
}

/// Detects over every prefix, holds the settled answer against what comes later, and returns the last one.
fn settle(messages: Sample<'_>, transport: Transport) -> Detected {
    let first = messages[0].0;
    let mut settled: Option<Detected> = None;
    let mut last = Detected::More;
    let mut progress = Progress::default();
    for streams in prefixes(messages, transport) {
        last = detect_on(&opening(&streams, first, transport), &mut progress);
        assert_eq!(last, detect(&opening(&streams, first, transport)), "read anew after {streams:02x?}");
        if let Some(before) = settled {
            assert_eq!(last, before, "an answer changed after {streams:02x?}");
        }
        if !matches!(last, Detected::More | Detected::Upgradable(_) | Detected::Asked(_)) {
            settled = Some(last);
        }
    }
    if settled.is_none() {
        let all = prefixes(messages, transport).pop().unwrap();
        last = match detect(&Opening { ended: true, ..opening(&all, first, transport) }) {
            Detected::Upgradable(protocol) | Detected::Asked(protocol) => {
                Detected::Plaintext { protocol: Some(protocol), refused: None, inside: None }
            }
            Detected::More => panic!("nothing more comes"),
            settled @ (Detected::Reversed
            | Detected::Plaintext { .. }
            | Detected::Tls { .. }
            | Detected::TlsInTds { .. }
            | Detected::TlsMidStream
            | Detected::Opaque(_)
            | Detected::Unknown(_)) => settled,
        };
    }
    last
}

fn expected(detector: &Detector) -> Detected {
    match detector.form {
        Form::Readable => {
            Detected::Plaintext { protocol: Some(detector.protocol), refused: None, inside: None }
        }
        Form::Encrypted => Detected::Opaque(detector.protocol),
    }
}

/// The sample as each of the detector's carriers would carry it; samples of several carriers are written for TCP.
fn carrier(detector: &Detector) -> Transport {
    detector.carriers[0]
}

#[test]
fn every_sample_settles_once_as_its_own_protocol() {
    for detector in DETECTORS {
        assert_eq!(settle(detector.sample, carrier(detector)), expected(detector), "{}", detector.protocol);
    }
}

#[test]
fn no_detector_claims_anothers_opening() {
    for owner in DETECTORS {
        claimed_by_none_but(owner.protocol, owner.sample, carrier(owner));
    }
}

fn claimed_by_none_but(owner: Protocol, sample: Sample<'_>, transport: Transport) {
    for streams in prefixes(sample, transport) {
        let opening = opening(&streams, sample[0].0, transport);
        for other in DETECTORS.iter().filter(|other| other.protocol != owner) {
            if other.carried_by(transport) {
                let claimed = (other.probe)(&opening) == Probe::Yes;
                assert!(!claimed, "{} claims {owner}'s {streams:02x?}", other.protocol);
            }
        }
    }
}

#[test]
fn the_header_of_a_wrapper_alone_tells_nothing() {
    for header in [&b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let streams = (header.to_vec(), Vec::new());
        let ended = Opening { ended: true, ..opening(&streams, C, Transport::Tcp) };
        assert_eq!(detect(&ended), Detected::More);
    }
}

#[test]
fn every_detector_is_listed_once() {
    for protocol in Protocol::ALL {
        let count = DETECTORS.iter().filter(|detector| detector.protocol == *protocol).count();
        // HTTP/3 is known from QUIC's ALPN alone.
        assert_eq!(count, usize::from(*protocol != Protocol::Http3), "{protocol}");
    }
}

/// A ClientHello with one suite and no extension.
fn hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0x5a; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    handshake(1, &body)
}

/// A ServerHello.
fn server_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0x6b; 32]);
    body.extend([0, 0xc0, 0x2f, 0]);
    handshake(2, &body)
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, kind, 0, 0, length];
    record.extend_from_slice(body);
    record
}

/// Plays the messages, then TLS, and demands that TLS begins right behind them.
fn upgrades(messages: Sample<'_>, upgrade: Upgrade, protocol: Option<Protocol>) {
    let length =
        |of: Side| messages.iter().filter(|(side, _)| *side == of).map(|(_, bytes)| bytes.len()).sum();
    let (hello, answer) = (hello(), server_hello());
    let mut all = messages.to_vec();
    all.push((Side::Client, &hello));
    all.push((Side::Server, &answer));
    let expected = Detected::Tls {
        upgrade: Some(upgrade),
        client: length(Side::Client),
        server: length(Side::Server),
        protocol,
    };
    assert_eq!(settle(&all, Transport::Tcp), expected, "{upgrade}");
    server_alone(&all, upgrade);
}

/// Demands that the server's half, where nothing of the client was captured, is not called the protocol in the clear. What only
/// looks like text is the engine's to judge, which knows that the client said something.
fn server_alone(messages: Sample<'_>, upgrade: Upgrade) {
    let server: Vec<u8> = messages
        .iter()
        .filter(|(side, _)| *side == Side::Server)
        .flat_map(|(_, bytes)| *bytes)
        .copied()
        .collect();
    let streams = (Vec::new(), server);
    let alone = Opening { ended: true, ..opening(&streams, Side::Server, Transport::Tcp) };
    let detected = detect(&alone);
    assert!(!matches!(detected, Detected::Plaintext { protocol: Some(_), .. }), "{upgrade}: {detected:?}");
}

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const STARTUP: &[u8] = b"\0\0\0\x13\0\x03\0\0user\0app\0\0";
const CONNECT: &[u8] = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
const GREETING: &[u8] = b"\x4a\0\0\0\x0a8.0.36\0\x0b\0\0\0abcdefgh\0\xff\xff\xff\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0caching_sha2_password\0";

#[test]
fn tls_at_once_is_tls() {
    let (hello, answer) = (hello(), server_hello());
    let tls = Detected::Tls { upgrade: None, client: 0, server: 0, protocol: None };
    assert_eq!(settle(&[(C, &hello), (S, &answer)], Transport::Tcp), tls);
}

#[test]
fn tls_begins_where_the_upgrade_says() {
    upgrades(&[(C, SSL_REQUEST), (S, b"S")], Upgrade::Postgres, Some(Protocol::Postgres));
    upgrades(
        &[(C, GSS_REQUEST), (S, b"N"), (C, SSL_REQUEST), (S, b"S")],
        Upgrade::Postgres,
        Some(Protocol::Postgres),
    );
    let ssl: &[u8] =
        b"\x20\0\0\x01\x05\xae\x0f\0\0\0\0\x01\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    upgrades(&[(S, GREETING), (C, ssl)], Upgrade::Mysql, Some(Protocol::Mysql));
    upgrades(&[(S, b"INFO {\"tls_required\":true}\r\n")], Upgrade::Nats, Some(Protocol::Nats));
    let smtp: Sample<'_> = &[
        (S, b"220 mx ESMTP\r\n"),
        (C, b"EHLO a\r\n"),
        (S, b"250-mx\r\n250 STARTTLS\r\n"),
        (C, b"STARTTLS\r\n"),
        (S, b"220 go ahead\r\n"),
    ];
    upgrades(smtp, Upgrade::Smtp, Some(Protocol::Smtp));
    let imap: Sample<'_> = &[(S, b"* OK ready\r\n"), (C, b"a1 STARTTLS\r\n"), (S, b"a1 OK begin\r\n")];
    upgrades(imap, Upgrade::Imap, Some(Protocol::Imap));
    upgrades(
        &[(S, b"+OK hi\r\n"), (C, b"STLS\r\n"), (S, b"+OK begin\r\n")],
        Upgrade::Pop3,
        Some(Protocol::Pop3),
    );
    let ftp: Sample<'_> = &[
        (S, b"220 ready\r\n"),
        (C, b"AUTH TLS\r\n"),
        (S, b"504 no\r\n"),
        (C, b"AUTH SSL\r\n"),
        (S, b"234 go\r\n"),
    ];
    upgrades(ftp, Upgrade::Ftp, Some(Protocol::Ftp));
    let nntp: Sample<'_> = &[(S, b"200 news\r\n"), (C, b"STARTTLS\r\n"), (S, b"382 go\r\n")];
    upgrades(nntp, Upgrade::Nntp, Some(Protocol::Nntp));
    let sieve: Sample<'_> =
        &[(S, b"\"IMPLEMENTATION\" \"x\"\r\nOK\r\n"), (C, b"STARTTLS\r\n"), (S, b"OK \"go\"\r\n")];
    upgrades(sieve, Upgrade::Sieve, Some(Protocol::Sieve));
    let irc: Sample<'_> = &[(C, b"CAP LS\r\nSTARTTLS\r\n"), (S, b":irc.example 670 * :go\r\n")];
    upgrades(irc, Upgrade::Irc, Some(Protocol::Irc));
    let ldap: Sample<'_> = &[
        (C, b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"),
        (S, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"),
    ];
    upgrades(ldap, Upgrade::Ldap, Some(Protocol::Ldap));
    let xmpp: Sample<'_> = &[
        (C, b"<stream:stream xmlns='jabber:client'>"),
        (S, b"<stream:stream xmlns='jabber:client'><stream:features/>"),
        (C, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        (S, b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
    ];
    upgrades(xmpp, Upgrade::Xmpp, Some(Protocol::Xmpp));
    let rdp: Sample<'_> = &[
        (C, b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0"),
        (S, b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\x02\0\0\0"),
    ];
    upgrades(rdp, Upgrade::Rdp, Some(Protocol::Rdp));
    upgrades(&[(C, CONNECT), (S, b"HTTP/1.1 200 OK\r\n\r\n")], Upgrade::HttpConnect, None);
    let retried: Sample<'_> = &[
        (C, CONNECT),
        (S, b"HTTP/1.1 407 Who\r\nContent-Length: 2\r\n\r\nno"),
        (C, CONNECT),
        (S, b"HTTP/1.1 200 OK\r\n\r\n"),
    ];
    upgrades(retried, Upgrade::HttpConnect, None);
    let socks5: Sample<'_> = &[
        (C, b"\x05\x01\x00"),
        (S, b"\x05\x00"),
        (C, b"\x05\x01\x00\x01\x0a\0\0\x07\x01\xbb"),
        (S, b"\x05\x00\x00\x01\0\0\0\0\0\0"),
    ];
    upgrades(socks5, Upgrade::Socks5, None);
    upgrades(&[(C, b"\x04\x01\x01\xbb\x0a\0\0\x07me\0"), (S, b"\0\x5a\0\0\0\0\0\0")], Upgrade::Socks4, None);
    upgrades(&[(C, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")], Upgrade::ProxyV1, None);
    upgrades(&[(C, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0cabcdefghijkl")], Upgrade::ProxyV2, None);
    let both: Sample<'_> = &[(C, b"PROXY UNKNOWN\r\n"), (C, SSL_REQUEST), (S, b"S")];
    upgrades(both, Upgrade::Postgres, Some(Protocol::Postgres));
}

#[test]
fn who_speaks_first_inside_a_wrapper_is_remembered() {
    let ssl: &[u8] =
        b"\x20\0\0\x01\x05\xae\x0f\0\0\0\0\x01\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let established: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
    let (hello, answer) = (hello(), server_hello());
    for wrapper in
        [&[(C, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".as_slice())][..], &[(C, CONNECT), (S, established)]]
    {
        let inside: Sample<'_> = &[(S, GREETING), (C, ssl), (C, &hello), (S, &answer)];
        let mut progress = Progress::default();
        let answers: Vec<Detected> = prefixes(&[wrapper, inside].concat(), Transport::Tcp)
            .iter()
            .map(|streams| detect_on(&opening(streams, C, Transport::Tcp), &mut progress))
            .collect();
        let length = |of| wrapper.iter().filter(|(side, _)| *side == of).map(|(_, bytes)| bytes.len()).sum();
        let (client, server): (usize, usize) = (length(C), length(S));
        let begun = Detected::Tls {
            upgrade: Some(Upgrade::Mysql),
            client: client + ssl.len(),
            server: server + GREETING.len(),
            protocol: Some(Protocol::Mysql),
        };
        assert_eq!(answers.last(), Some(&begun));
    }
}

#[test]
fn a_refused_upgrade_is_plaintext_that_says_so() {
    let check = |messages: Sample<'_>, protocol, refused| {
        assert_eq!(
            settle(messages, Transport::Tcp),
            Detected::Plaintext { protocol: Some(protocol), refused, inside: None },
            "{protocol}"
        );
    };
    let postgres = Some(Upgrade::Postgres);
    check(&[(C, SSL_REQUEST), (S, b"N"), (C, STARTUP)], Protocol::Postgres, postgres);
    check(&[(C, SSL_REQUEST), (S, b"N")], Protocol::Postgres, postgres);
    check(&[(C, STARTUP)], Protocol::Postgres, None);
    let smtp: Sample<'_> =
        &[(S, b"220 mx ESMTP\r\n"), (C, b"STARTTLS\r\n"), (S, b"454 no\r\n"), (C, b"MAIL FROM:<a@b>\r\n")];
    check(smtp, Protocol::Smtp, Some(Upgrade::Smtp));
    check(&[(S, b"220 mx ESMTP\r\n"), (C, b"MAIL FROM:<a@b>\r\n")], Protocol::Smtp, None);
    check(&[(C, CONNECT), (S, b"HTTP/1.1 403 No\r\n\r\n")], Protocol::Http1, None);
}

#[test]
fn plaintext_inside_a_wrapper_names_it() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let check = |messages: Sample<'_>, wrapper| {
        let protocol = Some(Protocol::Http1);
        let expected = Detected::Plaintext { protocol, refused: None, inside: Some(wrapper) };
        assert_eq!(settle(messages, Transport::Tcp), expected);
    };
    check(&[(C, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), (C, request)], Upgrade::ProxyV1);
    check(&[(C, CONNECT), (S, b"HTTP/1.1 200 OK\r\n\r\n"), (C, request)], Upgrade::HttpConnect);
}

#[test]
fn an_upgrade_that_was_asked_for_is_not_decided_by_the_end_of_the_capture() {
    let check = |client: &[u8], server: &[u8], first, expected| {
        let transport = Transport::Tcp;
        let seen = Opening { client, server, first, from_start: true, transport, port: 0, ended: true };
        assert_eq!(detect(&seen), expected, "{:?}", client.escape_ascii());
    };
    let greeting = b"220 mx ESMTP\r\n";
    check(b"EHLO a\r\n", greeting, S, Detected::Upgradable(Protocol::Smtp));
    check(b"EHLO a\r\nSTARTTLS\r\n", greeting, S, Detected::Asked(Protocol::Smtp));
    check(SSL_REQUEST, b"S", C, Detected::Asked(Protocol::Postgres));
}

#[test]
fn tds_wrapped_tls_is_told_apart() {
    let prelogin = |kind: u8, encryption: u8| {
        let mut packet = vec![kind, 1, 0, 26, 0, 0, 1, 0];
        packet.extend([0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, encryption]);
        packet
    };
    let mut wrapped = vec![0x12, 1, 0, u8::try_from(hello().len() + 8).unwrap(), 0, 0, 1, 0];
    wrapped.extend(hello());
    for (client, server, expected) in [
        (1, 1, Detected::TlsInTds { client: 26, server: 26 }),
        (
            0,
            0,
            Detected::Plaintext { protocol: Some(Protocol::Tds), refused: Some(Upgrade::Tds), inside: None },
        ),
        (
            1,
            2,
            Detected::Plaintext { protocol: Some(Protocol::Tds), refused: Some(Upgrade::Tds), inside: None },
        ),
        (2, 0, Detected::Plaintext { protocol: Some(Protocol::Tds), refused: None, inside: None }),
    ] {
        let (client, server) = (prelogin(0x12, client), prelogin(4, server));
        assert_eq!(settle(&[(C, &client), (S, &server), (C, &wrapped)], Transport::Tcp), expected);
    }
}

#[test]
fn unrecognised_bytes_are_judged_by_their_look() {
    let check = |client: &[u8], from_start, expected| {
        let seen = Opening {
            client,
            server: b"",
            first: C,
            from_start,
            transport: Transport::Tcp,
            port: 0,
            ended: true,
        };
        assert_eq!(detect(&seen), expected);
    };
    let text = Detected::Plaintext { protocol: None, refused: None, inside: None };
    let noise: Vec<u8> = (0..512_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    check(b"lookup example.org and more\r\n", true, text);
    check(&noise, true, Detected::Unknown(Reason::NotTls));
    check(b"lookup example.org and more\r\n", false, Detected::Unknown(Reason::MidStream));
}

/// Pieces of every upgrade's exchange.
const WORDS: &[&[u8]] = &[
    b"STARTTLS\r\n",
    b"a1 STARTTLS\r\n",
    b"AUTH TLS\r\n",
    b"STLS\r\n",
    b"NOOP\r\n",
    b"220 go ahead\r\n",
    b"a1 OK\r\n",
    b"+OK\r\n",
    b"234 go\r\n",
    b"382 go\r\n",
    b"454 no\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"\r\n",
    b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03",
    b"\x16\x03\x03\x00\x2f\x02\x00\x00\x2b\x03\x03",
    b"<starttls",
    b" xmlns='a'",
    b"/>",
    b"<proceed",
    b"</proceed>",
    b"</starttls>",
    b"<failure/>",
    b"<iq/>",
    b"<r/> ",
    CONNECT,
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 407 Who\r\nContent-Length: 2\r\n\r\nno",
    b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037",
    b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00",
    b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00",
    b"\x30\x05\x02\x01\x02\x42\x00",
    SSL_REQUEST,
    GREETING,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_exchange_is_read_on_as_it_would_be_anew(
        said in proptest::collection::vec((any::<bool>(), 0..WORDS.len(), 0_usize..96), 1..24),
    ) {
        let mut reads = UPGRADES.iter().map(|_| Read::default()).collect::<Vec<_>>();
        let mut streams = (Vec::new(), Vec::new());
        for (by_client, word, cut) in said {
            // Some words come in two pieces.
            let word = WORDS[word];
            let (one, other) = word.split_at(cut.min(word.len()));
            for piece in [one, other] {
                if by_client { streams.0.extend_from_slice(piece) } else { streams.1.extend_from_slice(piece) }
                let opening = opening(&streams, C, Transport::Tcp);
                for (known, read) in UPGRADES.iter().zip(&mut reads) {
                    let mut now = *read;
                    let turn = (known.turn)(&opening, &mut now);
                    prop_assert_eq!(turn, (known.turn)(&opening, &mut Read::default()), "{}", known.upgrade);
                    if turn.is_waiting() {
                        *read = now;
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(
        client in proptest::collection::vec(any::<u8>(), 0..300),
        server in proptest::collection::vec(any::<u8>(), 0..300),
        flags in 0_u8..16,
        which in 0..DETECTORS.len(),
        cut in 0_usize..64,
    ) {
        let transport = if flags & 1 == 0 { Transport::Tcp } else { Transport::Udp };
        let first = if flags & 2 == 0 { C } else { S };
        // Half of the cases begin as a real opening does, to come past the first checks.
        let mut streams = (Vec::new(), Vec::new());
        for (side, bytes) in DETECTORS[which].sample {
            let bytes = &bytes[..bytes.len().min(cut)];
            match *side { C => streams.0.extend_from_slice(bytes), S => streams.1.extend_from_slice(bytes) }
        }
        streams.0.extend(client);
        streams.1.extend(server);
        let base = opening(&streams, first, transport);
        let answer = detect(&Opening { from_start: flags & 4 == 0, ended: flags & 8 == 0, ..base });
        if flags & 8 == 0 {
            prop_assert_ne!(answer, Detected::More);
        }
        if answer == Detected::Reversed {
            let again = Opening { from_start: flags & 4 == 0, ended: flags & 8 == 0, ..base.swapped() };
            prop_assert_ne!(detect(&again), Detected::Reversed);
        }
    }
}
