//! Whole handshakes made of bytes: cut anywhere, in pieces of any size, and bytes that are none.

use flow::{AuthWord, Evidence, Outcome, Presented, Proof, Reason, Side, TlsVersion, Withheld};
use proptest::prelude::*;

use super::*;

mod below13;
mod flight;
mod refused;
mod resumption;
mod settled;

use below13::script12;

fn ends() -> Ends {
    let ip = IpAddr::from([192, 0, 2, 1]);
    Ends { client: ip, server: Endpoint { ip, port: 443 }, start: Timestamp::from_nanos(1) }
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 3, 3];
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The body of a hello that asks for a name.
pub(super) fn client_hello_body(name: &str, random: u8) -> Vec<u8> {
    hello_body(&[sni(name)], random)
}

fn hello_body(extensions: &[Vec<u8>], random: u8) -> Vec<u8> {
    hello_body_with(extensions, random, &[], &[0x13, 0x01])
}

pub(super) fn hello_body_with(
    extensions: &[Vec<u8>],
    random: u8,
    session_id: &[u8],
    suites: &[u8],
) -> Vec<u8> {
    let list = extensions.concat();
    let mut body = vec![3, 3];
    body.extend([random; 32]);
    body.push(u8::try_from(session_id.len()).unwrap());
    body.extend(session_id);
    body.extend(u16::try_from(suites.len()).unwrap().to_be_bytes());
    body.extend(suites);
    body.extend([1, 0]);
    body.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
    body.extend(list);
    body
}

fn client_hello_with(extensions: &[Vec<u8>]) -> Vec<u8> {
    record(22, &message(1, &hello_body(extensions, 5)))
}

fn sni(name: &str) -> Vec<u8> {
    let mut body = u16::try_from(name.len().saturating_add(3)).unwrap().to_be_bytes().to_vec();
    body.push(0);
    body.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
    body.extend_from_slice(name.as_bytes());
    extension(0, &body)
}

fn server_hello(suite: u16, extensions: &[Vec<u8>]) -> Vec<u8> {
    server_hello_with(suite, extensions, &[])
}

fn server_hello_with(suite: u16, extensions: &[Vec<u8>], session_id: &[u8]) -> Vec<u8> {
    let list = extensions.concat();
    let mut body = vec![3, 3];
    body.extend([6; 32]);
    body.push(u8::try_from(session_id.len()).unwrap());
    body.extend(session_id);
    body.extend(suite.to_be_bytes());
    body.push(0);
    body.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
    body.extend(list);
    record(22, &message(2, &body))
}

fn hello13() -> Vec<u8> {
    client_hello_with(&[extension(43, &[2, 3, 4]), sni("a.example")])
}

fn answer13() -> Vec<u8> {
    server_hello(0x1301, &[extension(43, &[3, 4]), extension(51, &[0x11, 0xec, 0, 0])])
}

fn sealed(lengths: &[u16]) -> Vec<u8> {
    lengths.iter().flat_map(|length| record(23, &vec![0xaa; usize::from(*length)])).collect()
}

/// What each side says, in turn.
type Script = Vec<(Side, Vec<u8>)>;

/// A full TLS 1.3 handshake whose client's flight has these record lengths.
fn script13(flight: &[u16], reaction: &[u16]) -> Script {
    let mut client = record(20, &[1]);
    client.extend(sealed(flight));
    vec![
        (Side::Client, hello13()),
        (Side::Server, [answer13(), record(20, &[1]), sealed(&[900, 53])].concat()),
        (Side::Client, client),
        (Side::Server, sealed(reaction)),
    ]
}

fn feed(handshake: &mut Handshake, script: &Script, piece: usize) {
    for (number, (side, bytes)) in (0..).zip(script) {
        for part in bytes.chunks(piece) {
            handshake.bytes(*side, Mark { packet: number, acknowledged: None }, part);
        }
    }
}

/// Feeds what each side says with what it had seen of the other by then; returns that of the next one to speak, by side.
fn feed_acknowledging(handshake: &mut Handshake, script: &Script) -> (u64, u64) {
    let (mut client, mut server) = (0_u64, 0_u64);
    for (side, bytes) in script {
        let (own, other) = match side {
            Side::Client => (&mut client, server),
            Side::Server => (&mut server, client),
        };
        *own = own.saturating_add(bytes.len() as u64);
        handshake.bytes(*side, Mark { packet: 0, acknowledged: u32::try_from(other).ok() }, bytes);
    }
    (server, client)
}

fn check(script: &Script, word: AuthWord, proof: Proof) -> Conclusion {
    let conclusions = [1, 7, 4096].map(|piece| {
        let mut handshake = Handshake::default();
        feed(&mut handshake, script, piece);
        handshake.conclude(ends(), &mut Memory::default())
    });
    assert_eq!(conclusions[0], conclusions[1], "the pieces that bytes come in change nothing");
    assert_eq!(conclusions[0], conclusions[2]);
    let [conclusion, ..] = conclusions;
    assert_eq!(conclusion.client.word(), word, "{conclusion:?}");
    let found = match conclusion.client {
        ClientAuth::Proved(_, evidence) | ClientAuth::Refuted(_, evidence) => evidence.proof,
        ClientAuth::Hidden(_) => Proof::None,
    };
    assert_eq!(found, proof, "{conclusion:?}");
    conclusion
}

#[test]
fn tls13_is_read_by_the_lengths_of_the_flight() {
    let tickets = [250, 250, 900, 40];
    let facts = check(&script13(&[53, 400], &tickets), AuthWord::Absent, Proof::Exact).session;
    assert_eq!(facts.version, Some(TlsVersion::Tls13));
    assert_eq!(facts.sni.as_deref(), Some("a.example"));
    assert_eq!(facts.cipher.as_deref(), Some("TLS_AES_128_GCM_SHA256"));
    assert_eq!(facts.group.as_deref(), Some("X25519MLKEM768"));
    assert_eq!((facts.resumed, facts.outcome), (Some(false), Outcome::Established));
    check(&script13(&[61, 400], &tickets), AuthWord::Declined, Proof::Exact);
    check(&script13(&[25, 53, 400], &tickets), AuthWord::Declined, Proof::Exact);
    check(&script13(&[856, 95, 53, 400], &tickets), AuthWord::Certificate, Proof::Exact);
    check(&script13(&[582, 401], &tickets), AuthWord::Certificate, Proof::Strong);
    check(&script13(&[69, 400], &tickets), AuthWord::Absent, Proof::Strong);
    check(&script13(&[528, 1040, 528, 528, 528, 528], &tickets), AuthWord::Unknown, Proof::None);
    check(&script13(&[], &[]), AuthWord::Unknown, Proof::None);
}

#[test]
fn an_alert_alone_after_the_certificate_is_a_rejection() {
    let mut handshake = Handshake::default();
    let (_, seen) = feed_acknowledging(&mut handshake, &script13(&[582], &[19]));
    handshake.close(Side::Server, Ending::Fin, u32::try_from(seen).ok());
    let conclusion = handshake.conclude(ends(), &mut Memory::default());
    assert!(matches!(conclusion.client, ClientAuth::Proved(Presented::Rejected, _)), "{conclusion:?}");
    assert_eq!(conclusion.session.outcome, Outcome::Failed);
}

#[test]
fn an_end_after_something_missing_is_no_failure() {
    let outcome = |script: &[(Side, Vec<u8>)], gap: Option<Side>| {
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script.to_vec(), 4096);
        gap.into_iter().for_each(|side| handshake.gap(side));
        handshake.close(Side::Client, Ending::Fin, None);
        handshake.close(Side::Server, Ending::Reset, None);
        handshake.conclude(ends(), &mut Memory::default()).session.outcome
    };
    let whole = script13(&[], &[]);
    assert_eq!(outcome(&whole[..2], None), Outcome::Failed, "the client's flight never came");
    assert_eq!(outcome(&whole[..2], Some(Side::Client)), Outcome::Incomplete, "it may be what is missing");
    assert_eq!(outcome(&whole[1..2], None), Outcome::Incomplete, "nothing of the client's was captured");
    assert_eq!(outcome(&whole[..2], Some(Side::Server)), Outcome::Incomplete);
}

/// Of every record after the hellos the capture kept so little: what is in the clear is read by its headers, what is not by lengths.
#[test]
fn records_that_the_capture_cut_say_what_whole_ones_do() {
    let certificate = message(11, &[&[0, 1, 4, 0, 1, 1][..], &[5; 257]].concat());
    let scripts = [
        script13(&[53, 400], &[250, 250, 250, 250]),
        script13(&[25, 53, 400], &[250, 250, 250, 250]),
        script13(&[856, 95, 53, 400], &[250, 250, 250, 250]),
        script13(&[582, 401], &[19]),
        script12(&[message(16, &[0; 33])]),
        script12(&[message(11, &[0, 0, 0])]),
        script12(&[certificate]),
    ];
    for script in scripts {
        let whole = {
            let mut handshake = Handshake::default();
            feed_acknowledging(&mut handshake, &script);
            handshake.close(Side::Server, Ending::Fin, None);
            handshake.conclude(ends(), &mut Memory::default()).client.word()
        };
        for kept in [9, 12, 20] {
            let mut handshake = Handshake::default();
            let (mut client, mut server) = (0_u32, 0_u32);
            for (number, (side, bytes)) in (0..).zip(&script) {
                let (own, seen) = match side {
                    Side::Client => (&mut client, server),
                    Side::Server => (&mut server, client),
                };
                let mark = Mark { packet: number, acknowledged: Some(seen) };
                let mut rest = bytes.as_slice();
                while let [kind, _, _, high, low, ..] = *rest {
                    let length = usize::from(u16::from_be_bytes([high, low])) + 5;
                    let (this, next) = rest.split_at(length);
                    // The hellos come first of all, each in a record of its own.
                    let hello = kind == 22 && matches!(this.get(5), Some(1 | 2));
                    let part = if hello { length } else { kept.min(length) };
                    handshake.bytes(*side, mark, &this[..part]);
                    if part < length {
                        handshake.cut(*side, (length - part) as u64);
                    }
                    rest = next;
                }
                *own += u32::try_from(bytes.len()).unwrap();
            }
            handshake.close(Side::Server, Ending::Fin, None);
            let client = handshake.conclude(ends(), &mut Memory::default()).client;
            assert_eq!(client.word(), whole, "{kept}: {client:?}");
        }
    }
}

/// What is lost reaches into the next record: nobody knows where that one ends.
#[test]
fn nothing_is_read_behind_a_record_of_which_the_length_is_lost() {
    let script = script13(&[53, 400], &[250]);
    let mut handshake = Handshake::default();
    feed(&mut handshake, &script[..2].to_vec(), 4096);
    let flight = [sealed(&[582]), sealed(&[53])].concat();
    let mark = Mark { packet: 2, acknowledged: None };
    handshake.bytes(Side::Client, mark, &record(20, &[1]));
    handshake.cut(Side::Client, 587);
    handshake.bytes(Side::Client, mark, &flight[587..]);
    handshake.close(Side::Client, Ending::Fin, None);
    handshake.close(Side::Server, Ending::Reset, None);
    let conclusion = handshake.conclude(ends(), &mut Memory::default());
    assert_eq!(conclusion.client, ClientAuth::Hidden(Reason::SnapLength));
    assert_eq!(conclusion.session.outcome, Outcome::Incomplete);
}

#[test]
fn the_order_of_capture_makes_no_rejection() {
    let (hello, server, flight, after) = match script13(&[582], &[19]).as_slice() {
        [(_, hello), (_, server), (_, flight), (_, after)] => {
            (hello.clone(), server.clone(), flight.clone(), after.clone())
        }
        _ => unreachable!("four turns"),
    };
    let (asked, sent) = (hello.len() as u64, (hello.len() + flight.len()) as u64);
    let read = |seen: u64, at_close: Option<u64>, goodbye: &[u16]| {
        let mut handshake = Handshake::default();
        let later = Mark { packet: 1, acknowledged: u32::try_from(asked).ok() };
        handshake.bytes(Side::Server, later, &server);
        let alert = Mark { packet: 9, acknowledged: u32::try_from(seen).ok() };
        handshake.bytes(Side::Server, alert, &after);
        handshake.close(Side::Server, Ending::Fin, at_close.and_then(|seen| u32::try_from(seen).ok()));
        let mark = Mark { packet: 10, acknowledged: Some(0) };
        handshake.bytes(Side::Client, mark, &hello);
        let mark = Mark { packet: 11, acknowledged: u32::try_from(server.len()).ok() };
        handshake.bytes(Side::Client, mark, &[flight.clone(), sealed(goodbye)].concat());
        handshake.close(Side::Client, Ending::Fin, None);
        handshake.conclude(ends(), &mut Memory::default()).client.word()
    };
    assert_eq!(read(sent, Some(sent), &[]), AuthWord::Rejected, "captured before the flight that it answers");
    assert_eq!(read(sent + 1, Some(sent + 1), &[]), AuthWord::Certificate, "the client had left");
    assert_eq!(read(sent + 24, Some(sent + 24), &[19]), AuthWord::Certificate, "the client had said so");
    assert_eq!(read(sent + 40, Some(sent + 40), &[35]), AuthWord::Certificate, "so it may, padded");
    assert_eq!(read(sent, Some(sent), &[19]), AuthWord::Rejected, "the client left after it");
    assert_eq!(read(asked, Some(asked), &[]), AuthWord::Certificate, "the server had not seen the flight");
    assert_eq!(read(asked, None, &[]), AuthWord::Certificate, "nothing tells when the server left");
    assert_eq!(read(asked, Some(sent), &[]), AuthWord::Rejected, "the server left without a word");
}

#[test]
fn a_record_of_which_nobody_knows_what_it_acknowledges_makes_no_rejection() {
    let script = script13(&[582], &[19]);
    let read = |ticket: Option<u32>| {
        let mut handshake = Handshake::default();
        let (mut client, mut server) = (0_u32, 0_u32);
        for (number, (side, bytes)) in (0..).zip(&script) {
            let (own, other) = match side {
                Side::Client => (&mut client, server),
                Side::Server => (&mut server, client),
            };
            let length = u32::try_from(bytes.len()).unwrap();
            *own = own.saturating_add(length);
            if number == 3 {
                // A ticket that a server sends only to a client that it accepted.
                handshake.bytes(Side::Server, Mark { packet: 9, acknowledged: ticket }, &sealed(&[250]));
            }
            handshake.bytes(*side, Mark { packet: number, acknowledged: Some(other) }, bytes);
        }
        handshake.close(Side::Server, Ending::Fin, Some(client));
        handshake.conclude(ends(), &mut Memory::default()).client.word()
    };
    assert_eq!(read(None), AuthWord::Certificate);
    assert_eq!(read(Some(u32::MAX)), AuthWord::Certificate, "an answer to the flight beside the alert");
    assert_eq!(read(Some(0)), AuthWord::Rejected, "sent before the flight was there");
}

/// A hello of TLS 1.3 that offers one protocol.
fn hello_with_alpn(protocol: &[u8]) -> Vec<u8> {
    let (name, list) =
        (u8::try_from(protocol.len()).unwrap(), u16::try_from(protocol.len().saturating_add(1)).unwrap());
    let alpn = [&list.to_be_bytes()[..], &[name], protocol].concat();
    client_hello_with(&[extension(43, &[2, 3, 4]), extension(16, &alpn)])
}

#[test]
fn handshake_messages_that_fill_blocks_tell_nothing_but_of_a_proxy_that_pads_none() {
    for (flight, fills) in [(528, true), (1016, true), (529, false), (1017, false)] {
        for (protocol, padded) in [(&b"h2"[..], fills), (b"istio", false)] {
            let mut script = script13(&[flight, 401, 90], &[250, 250]);
            script[0].1 = hello_with_alpn(protocol);
            let word = if padded { AuthWord::Unknown } else { AuthWord::Certificate };
            let proof = if padded { Proof::None } else { Proof::Strong };
            check(&script, word, proof);
            // The server's side was not captured.
            script.retain(|(side, _)| *side == Side::Client);
            check(&script, word, if padded { Proof::None } else { Proof::Inferred });
        }
    }
}

/// Whether a server took what it was sent, a flight that nobody can read does not say.
#[test]
fn a_padded_flight_that_was_answered_with_an_alert_is_not_taken_for_accepted() {
    for (reaction, expected) in [(&[19][..], Outcome::Incomplete), (&[250, 250, 900], Outcome::Established)] {
        let mut handshake = Handshake::default();
        feed_acknowledging(&mut handshake, &script13(&[528, 401], reaction));
        let conclusion = handshake.conclude(ends(), &mut Memory::default());
        assert_eq!(conclusion.client, ClientAuth::Hidden(Reason::Padding));
        assert_eq!(conclusion.session.outcome, expected, "{reaction:?}");
    }
}

#[test]
fn istio_s_alpn_and_no_certificate_is_a_conflict_and_the_weaker_claim_stands() {
    let read = |protocol: &[u8], flight: &[u16]| {
        let mut script = script13(flight, &[250, 250]);
        script[0].1 = hello_with_alpn(protocol);
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script, 4096);
        handshake.conclude(ends(), &mut Memory::default()).client
    };
    let absent = |evidence| ClientAuth::Refuted(Withheld::Absent, evidence);
    let conflict = absent(Evidence::because(Proof::Strong, Reason::Conflict));
    assert_eq!(read(b"istio", &[53, 400]), conflict);
    assert_eq!(read(b"istio", &[69, 400]), conflict);
    // What was only inferred does not become stronger by it.
    let inferred = absent(Evidence::because(Proof::Inferred, Reason::FlightSize));
    assert_eq!(read(b"istio", &[80; 7]), inferred);
    assert_eq!(read(b"h2", &[53, 400]), absent(Evidence { proof: Proof::Exact, reason: None }));
}

#[test]
fn what_is_lost_of_a_client_that_offered_it_may_have_been_a_late_authentication() {
    let read = |hello: Vec<u8>| {
        let mut script = script13(&[53, 400], &[250]);
        script[0].1 = hello;
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script, 4096);
        handshake.gap(Side::Client);
        handshake.conclude(ends(), &mut Memory::default()).client
    };
    let offered = client_hello_with(&[extension(43, &[2, 3, 4]), extension(49, &[])]);
    assert_eq!(read(offered), ClientAuth::Hidden(Reason::Gap));
    assert_eq!(read(hello13()).word(), AuthWord::Absent);
}

#[test]
fn a_late_authentication_is_one_answer() {
    let read = |in_one: bool| {
        let mut script = script13(&[53, 400], &[250, 250]);
        script[0].1 = client_hello_with(&[extension(43, &[2, 3, 4]), extension(49, &[])]);
        script.push((Side::Client, sealed(&[473, 97])));
        if !in_one {
            script.push((Side::Server, sealed(&[90])));
        }
        script.push((Side::Client, sealed(&[53])));
        let mut handshake = Handshake::default();
        feed_acknowledging(&mut handshake, &script);
        handshake.conclude(ends(), &mut Memory::default()).client
    };
    let inferred = |proof| Evidence::because(proof, Reason::PostHandshake);
    assert_eq!(read(true), ClientAuth::Proved(Presented::Sent, inferred(Proof::Inferred)));
    assert_eq!(read(false), ClientAuth::Refuted(Withheld::Absent, inferred(Proof::Strong)));
}

#[test]
fn a_hello_that_was_cut_may_offer_anything() {
    let hello = hello13();
    let mut handshake = Handshake::default();
    let mark = Mark { packet: 0, acknowledged: None };
    handshake.bytes(Side::Client, mark, &hello[..60]);
    handshake.cut(Side::Client, (hello.len() - 60) as u64);
    let script = script13(&[53, 400], &[250]);
    feed(&mut handshake, &script[1..].to_vec(), 4096);
    let without_acknowledgment = handshake.conclude(ends(), &mut Memory::default()).client;
    assert!(matches!(without_acknowledgment, ClientAuth::Hidden(_)), "{without_acknowledgment:?}");
}

#[test]
fn another_hop_with_the_same_hello_shows_what_one_hides() {
    let mut memory = Memory::default();
    let mut shown = Handshake::default();
    feed(&mut shown, &script13(&[582], &[250, 250]), 4096);
    shown.remember(ends(), &mut memory.sessions);
    let mut hidden = Handshake::default();
    feed(&mut hidden, &script13(&[], &[]), 4096);
    hidden.gap(Side::Client);
    // What hides it takes nothing away.
    hidden.remember(ends(), &mut memory.sessions);
    let behind = |seconds: i64| Ends {
        client: IpAddr::from([192, 0, 2, 2]),
        start: Timestamp::from_nanos(seconds * 1_000_000_000),
        ..ends()
    };
    let link = Evidence::because(Proof::Linked, Reason::SessionLink);
    let linked = ClientAuth::Proved(Presented::Sent, link);
    assert_eq!(hidden.conclude(behind(1), &mut memory).client, linked);
    assert_eq!(hidden.conclude(behind(60), &mut memory).client, ClientAuth::Hidden(Reason::Gap));
    assert_eq!(hidden.conclude(behind(1), &mut Memory::default()).client, ClientAuth::Hidden(Reason::Gap));
}

#[test]
fn the_client_s_side_alone_tells_tls13_where_payload_follows_its_hello() {
    let mut handshake = Handshake::default();
    let client = [hello13(), record(20, &[1])].concat();
    feed(&mut handshake, &vec![(Side::Client, client)], 4096);
    let session = handshake.conclude(ends(), &mut Memory::default()).session;
    assert_eq!((session.version, session.resumed), (None, None), "a key exchange may follow");
    feed(&mut handshake, &vec![(Side::Client, sealed(&[710, 300, 53]))], 4096);
    let Conclusion { client, session } = handshake.conclude(ends(), &mut Memory::default());
    assert_eq!(client.word(), AuthWord::Certificate);
    assert_eq!((session.version, session.resumed), (Some(TlsVersion::Tls13), Some(false)));
}

#[test]
fn more_bytes_never_contradict_fewer() {
    let exchange = message(16, &[0; 33]);
    let scripts = [
        script13(&[53, 400], &[250]),
        script13(&[25, 53, 400], &[250]),
        script13(&[856, 95, 53, 400], &[250]),
        script13(&[582, 401], &[250]),
        script13(&[528, 528, 528, 528], &[250]),
        script12(&[message(11, &[0, 0, 0]), exchange.clone()]),
        script12(&[exchange]),
    ];
    // Settled once the server goes on, and gone on with by both.
    let longer = [&[53, 400][..], &[856, 95, 53, 400], &[582, 401], &[700, 53, 400]].map(|flight| {
        let mut script = script13(flight, &[250, 900]);
        script.push((Side::Client, sealed(&[582, 96, 53])));
        script.push((Side::Server, sealed(&[19])));
        script
    });
    let mut early = 0;
    for script in scripts.iter().chain(&longer) {
        let mut handshake = Handshake::default();
        let (mut known, mut settled): (Option<AuthWord>, Option<ClientAuth>) = (None, None);
        for (number, (side, bytes)) in (0..).zip(script) {
            for byte in bytes {
                handshake.bytes(*side, Mark { packet: number, acknowledged: None }, &[*byte]);
                let client = handshake.conclude(ends(), &mut Memory::default()).client;
                assert!(known.is_none_or(|known| known == client.word()), "{known:?} then {client:?}");
                known = (client.word() != AuthWord::Unknown).then(|| client.word());
                assert!(settled.is_none_or(|settled| settled == client), "{settled:?} then {client:?}");
                if handshake.settled() {
                    early += u32::from(settled.is_none() && number == 3);
                    settled = Some(client);
                }
            }
        }
    }
    assert_eq!(early, 4);
}

proptest! {
    #[test]
    fn any_bytes_do_no_harm(parts in prop::collection::vec((any::<bool>(), 0..3_u8, prop::collection::vec(any::<u8>(), 0..90)), 0..20)) {
        let mut handshake = Handshake::default();
        let mark = Mark { packet: 0, acknowledged: Some(9) };
        for (client, how, body) in parts {
            let side = if client { Side::Client } else { Side::Server };
            match how {
                0 => handshake.bytes(side, mark, &body),
                1 => handshake.bytes(side, mark, &record(22, &body)),
                _ => handshake.cut(side, body.len() as u64),
            }
            let _ = handshake.settled();
        }
        handshake.remember(ends(), &mut Sessions::default());
        let _ = handshake.conclude(ends(), &mut Memory::default());
    }

    #[test]
    fn a_damaged_handshake_does_no_harm(at in 0..2000_usize, value in any::<u8>()) {
        let mut script = script13(&[856, 95, 53], &[250, 250]);
        let mut left = at % 1500;
        for (_, bytes) in &mut script {
            if let Some(byte) = bytes.get_mut(left) { *byte = value; break; }
            left = left.saturating_sub(bytes.len());
        }
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script, 4096);
        let _ = handshake.conclude(ends(), &mut Memory::default());
    }
}
