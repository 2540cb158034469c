//! What the client's flight may be taken for, and is not.

use super::*;

#[test]
fn refused_early_data_is_not_taken_for_a_flight() {
    let read_to = |flight: &[u16], ended: bool| {
        let hello = client_hello_with(&[extension(43, &[2, 3, 4]), extension(42, &[])]);
        let mut handshake = Handshake::default();
        let server = [answer13(), sealed(&[60, 53])].concat();
        handshake.bytes(Side::Client, Mark { packet: 0, acknowledged: Some(0) }, &hello);
        handshake.bytes(Side::Client, Mark { packet: 1, acknowledged: Some(0) }, &sealed(&[900]));
        handshake.bytes(Side::Server, Mark { packet: 2, acknowledged: Some(1000) }, &server);
        let all = Some(u32::try_from(server.len()).unwrap());
        handshake.bytes(Side::Client, Mark { packet: 3, acknowledged: all }, &sealed(flight));
        if ended {
            handshake.close(Side::Client, Ending::Fin, None);
        }
        handshake.conclude(ends(), &mut Memory::default()).client.word()
    };
    let read = |flight: &[u16]| read_to(flight, true);
    assert_eq!(read(&[53, 400]), AuthWord::Absent);
    assert_eq!(read(&[856, 95, 53, 400]), AuthWord::Certificate);
    assert_eq!(read(&[582, 401]), AuthWord::Certificate);
    // The client's system had the ServerHello, the client had not.
    assert_eq!(read(&[700, 53, 400]), AuthWord::Unknown);
    assert_eq!(read(&[700, 61, 400]), AuthWord::Unknown);
    assert_eq!(read(&[700, 69, 400]), AuthWord::Unknown);
    assert_eq!(read(&[700, 77, 400]), AuthWord::Unknown);
    // Its Finished may still come.
    assert_eq!(read_to(&[700, 401], false), AuthWord::Unknown);
    assert_eq!(read_to(&[700, 401, 402, 403, 404], false), AuthWord::Unknown);
    assert_eq!(read_to(&[700, 401, 402, 403, 404, 405], false), AuthWord::Certificate);
    assert_eq!(read_to(&[700, 401, 402, 403, 404, 405, 53], false), AuthWord::Unknown);
}

#[test]
fn a_flight_is_not_looked_for_behind_records_of_which_nobody_knows_what_they_acknowledge() {
    let hello = client_hello_with(&[extension(43, &[2, 3, 4]), extension(42, &[])]);
    let server = [answer13(), sealed(&[60, 53])].concat();
    // The second looks like the end of early data that was accepted, which here nothing was.
    let early = [sealed(&[900, 856, 95, 53]), sealed(&[21, 53])];
    let later = [&[19][..], &[53, 400], &[400, 19]];
    for (early, later) in early.iter().flat_map(|early| later.map(|later| (early, later))) {
        let mut handshake = Handshake::default();
        let mark = Mark { packet: 0, acknowledged: None };
        handshake.bytes(Side::Client, mark, &hello);
        handshake.bytes(Side::Client, mark, early);
        let mark = Mark { packet: 1, acknowledged: u32::try_from(hello.len() + early.len()).ok() };
        handshake.bytes(Side::Server, mark, &server);
        let all = u32::try_from(server.len()).ok();
        handshake.bytes(
            Side::Client,
            Mark { packet: 2, acknowledged: u32::try_from(server.len()).ok() },
            &sealed(later),
        );
        handshake.close(Side::Client, Ending::Fin, all);
        let client = handshake.conclude(ends(), &mut Memory::default()).client;
        assert!(matches!(client, ClientAuth::Hidden(_)), "{later:?}: {client:?}");
    }
}

#[test]
fn a_flight_without_its_hello_is_read_for_whatever_that_may_have_offered() {
    let read_after = |answer: Vec<u8>, early: &[u16], flight: &[u16]| {
        let mut handshake = Handshake::default();
        let server = [answer, sealed(&[60, 53])].concat();
        let all = u32::try_from(server.len()).ok();
        handshake.bytes(Side::Client, Mark { packet: 1, acknowledged: Some(0) }, &sealed(early));
        handshake.bytes(Side::Server, Mark { packet: 2, acknowledged: Some(0) }, &server);
        handshake.bytes(Side::Client, Mark { packet: 3, acknowledged: all }, &sealed(flight));
        handshake.close(Side::Client, Ending::Fin, None);
        let hidden = handshake.conclude(ends(), &mut Memory::default()).client;
        assert!(matches!(hidden, ClientAuth::Hidden(_)), "something of it may be missing: {hidden:?}");
        handshake.follows_the_answer(Reason::Gap);
        let client = handshake.conclude(ends(), &mut Memory::default()).client;
        let reason = match client {
            ClientAuth::Proved(_, evidence) | ClientAuth::Refuted(_, evidence) => {
                assert!(evidence.proof < Proof::Exact, "{client:?}");
                evidence.reason
            }
            ClientAuth::Hidden(_) => Some(Reason::Gap),
        };
        assert_eq!(reason, Some(Reason::Gap), "{client:?}");
        client.word()
    };
    let read = |early: &[u16], flight: &[u16]| read_after(answer13(), early, flight);
    assert_eq!(read(&[], &[53, 400]), AuthWord::Absent);
    assert_eq!(read(&[], &[61, 400]), AuthWord::Declined);
    assert_eq!(read(&[], &[456, 95, 53, 400]), AuthWord::Certificate);
    assert_eq!(read(&[], &[900, 401]), AuthWord::Certificate);
    // Application settings and a Channel ID may be as long.
    assert_eq!(read(&[], &[700, 401]), AuthWord::Unknown);
    // Early data that was refused, sent before the answer was there, or as it came.
    assert_eq!(read(&[900], &[53, 400]), AuthWord::Absent);
    assert_eq!(read(&[], &[900, 53, 400]), AuthWord::Unknown);
    // A certificate may come late, as it does here.
    assert_eq!(read(&[], &[53, 400, 856, 95, 53]), AuthWord::Certificate);
    // All as long as a limit, so perhaps pieces.
    assert_eq!(read(&[], &[69, 69, 69, 60]), AuthWord::Unknown);
    // A session that was resumed has no flight of its own.
    let resumes = || server_hello(0x1301, &[extension(43, &[3, 4]), extension(41, &[0, 0])]);
    assert_eq!(read_after(resumes(), &[], &[53, 400]), AuthWord::Unknown);
    assert_eq!(read_after(resumes(), &[], &[900, 401, 53]), AuthWord::Unknown);
}

#[test]
fn pieces_of_a_flight_are_not_padding() {
    let read = |extensions: &[Vec<u8>], flight: &[u16]| {
        let mut script = script13(flight, &[250]);
        script[0].1 = client_hello_with(extensions);
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script, 4096);
        handshake.conclude(ends(), &mut Memory::default()).client.word()
    };
    let (tls13, limit) = (extension(43, &[2, 3, 4]), extension(28, &[0x40, 1]));
    let both = [tls13.clone(), limit];
    assert_eq!(read(&[tls13], &[80; 7]), AuthWord::Absent);
    assert_eq!(read(&both, &[80; 7]), AuthWord::Unknown);
    assert_eq!(read(&both, &[53, 53, 80]), AuthWord::Absent);
}

#[test]
fn what_a_client_says_besides_its_authentication_is_no_certificate() {
    let read = |extensions: &[Vec<u8>], flight: u16, one_sided: bool| {
        let mut script = script13(&[flight, 400], &[250, 250]);
        script[0].1 = client_hello_with(extensions);
        if one_sided {
            script.retain(|(side, _)| *side == Side::Client);
        }
        let mut handshake = Handshake::default();
        feed(&mut handshake, &script, 4096);
        handshake.conclude(ends(), &mut Memory::default()).client
    };
    let tls13 = extension(43, &[2, 3, 4]);
    for one_sided in [false, true] {
        let plain = read(std::slice::from_ref(&tls13), 189, one_sided);
        assert!(matches!(plain, ClientAuth::Proved(..)), "{plain:?}");
        // Channel ID is a message of 136 bytes; application settings are as long as the client likes.
        for (kind, hidden, shown) in [
            (30_032, [189, 317], [318, 1200]),
            (17_513, [182, 693], [694, 1200]),
            (17_613, [182, 693], [694, 1200]),
        ] {
            let hello = [tls13.clone(), extension(kind, &[0, 3, 2, b'h', b'2'])];
            for flight in hidden {
                let client = read(&hello, flight, one_sided);
                assert_eq!(client, ClientAuth::Hidden(Reason::FlightShape), "{kind} {flight} {one_sided}");
            }
            for flight in shown {
                let client = read(&hello, flight, one_sided);
                assert!(matches!(client, ClientAuth::Proved(..)), "{kind} {flight} {one_sided}: {client:?}");
            }
        }
    }
}

#[test]
fn a_hello_that_was_cut_may_offer_what_is_as_long_as_a_certificate() {
    let read = |lost: usize, flight: u16| {
        let hello = hello13();
        let seen = hello.len() - lost;
        let server = [answer13(), sealed(&[900, 53])].concat();
        let all = u32::try_from(server.len()).ok();
        let mut handshake = Handshake::default();
        handshake.bytes(Side::Client, Mark { packet: 0, acknowledged: Some(0) }, &hello[..seen]);
        if lost > 0 {
            handshake.cut(Side::Client, lost as u64);
        }
        let mark = Mark { packet: 1, acknowledged: u32::try_from(hello.len()).ok() };
        handshake.bytes(Side::Server, mark, &server);
        handshake.bytes(Side::Client, Mark { packet: 2, acknowledged: all }, &sealed(&[flight, 400]));
        handshake.close(Side::Client, Ending::Fin, all);
        handshake.conclude(ends(), &mut Memory::default()).client
    };
    assert!(matches!(read(0, 600), ClientAuth::Proved(..)), "{:?}", read(0, 600));
    for flight in [182, 600, 829] {
        assert!(matches!(read(4, flight), ClientAuth::Hidden(_)), "{flight}: {:?}", read(4, flight));
    }
    assert!(matches!(read(4, 830), ClientAuth::Proved(..)), "{:?}", read(4, 830));
}

/// A flight in several records says itself where it ends: blocks that its first record fills take nothing from it.
#[test]
fn an_exact_flight_is_not_doubted() {
    let tickets = [250, 250];
    check(&script13(&[528, 97, 53, 400], &tickets), AuthWord::Certificate, Proof::Exact);
    // In small blocks it is what it is by inference, and says so.
    let read = |flight: &[u16]| check(&script13(flight, &tickets), AuthWord::Certificate, Proof::Inferred);
    let padded = read(&[208, 80, 80, 80]).client;
    assert_eq!(
        padded,
        ClientAuth::Proved(Presented::Sent, Evidence::because(Proof::Inferred, Reason::Padding))
    );
}

#[test]
fn the_client_s_side_alone_tells_nothing_of_what_it_may_still_do() {
    let read = |hello: Vec<u8>| {
        let mut handshake = Handshake::default();
        feed(&mut handshake, &vec![(Side::Client, [hello, sealed(&[710, 300, 53])].concat())], 4096);
        handshake.conclude(ends(), &mut Memory::default()).client
    };
    let tls13 = || extension(43, &[2, 3, 4]);
    let keys = [&[0, 214, 0, 208][..], &[9; 212]].concat();
    assert_eq!(read(client_hello_with(&[tls13()])).word(), AuthWord::Certificate);
    for other in [extension(49, &[]), extension(42, &[]), extension(41, &keys)] {
        let client = read(client_hello_with(&[tls13(), other.clone()]));
        assert!(matches!(client, ClientAuth::Hidden(_)), "{other:?}: {client:?}");
    }
    let older = read(client_hello_with(&[sni("a.example")]));
    assert!(matches!(older, ClientAuth::Hidden(_)), "{older:?}");
}
