//! When a conclusion is final, so that the connection need not be read on: never before what may still change it.

use super::*;

/// What may be missing when it is asked.
fn handshake(script: &Script, lost: &[Side]) -> Handshake {
    let mut handshake = Handshake::default();
    feed_acknowledging(&mut handshake, script);
    lost.iter().for_each(|side| handshake.gap(*side));
    handshake
}

#[test]
fn tls13_is_settled_by_its_flight_and_what_answers_it() {
    let late = || client_hello_with(&[extension(43, &[2, 3, 4]), extension(49, &[])]);
    let check = |hello: Option<Vec<u8>>, flight: &[u16], reaction: &[u16], lost: &[Side], expected: bool| {
        let mut script = script13(flight, reaction);
        if let Some(hello) = hello {
            script[0].1 = hello;
        }
        let settled = handshake(&script, lost).settled();
        assert_eq!(settled, expected, "{flight:?} {reaction:?} {lost:?}");
    };
    let tickets = [250; 4];
    check(None, &[53, 400], &tickets, &[], true);
    check(None, &[61, 400], &tickets, &[], true);
    check(None, &[856, 95, 53], &tickets, &[], true);
    // A ticket may come, by which the session is known later.
    check(None, &[53, 400], &tickets[1..], &[], false);
    check(None, &[], &tickets, &[], false);
    // The next record may be the second of a flight in several, or show that all are padded alike.
    check(None, &[582], &tickets, &[], false);
    check(None, &[582, 97], &tickets, &[], false);
    check(None, &[582, 401], &tickets, &[], true);
    // Early data that was refused may look like it, where the hello offers it.
    let early = || client_hello_with(&[extension(43, &[2, 3, 4]), extension(42, &[])]);
    check(Some(early()), &[582, 401, 402, 403, 404], &tickets, &[], false);
    check(Some(early()), &[582, 401, 402, 403, 404, 405], &tickets, &[], true);
    // Small blocks, which that many records tell.
    check(None, &[208, 80, 80, 80, 80], &tickets, &[], false);
    check(None, &[208, 80, 80, 80, 80, 80], &tickets, &[], true);
    // An alert, too little, blocks and no known shape.
    for flight in [&[19][..], &[25], &[528, 528, 528], &[100, 90, 120, 97, 53]] {
        check(None, flight, &tickets, &[], false);
    }
    // A certificate may come late.
    let watched: Vec<u16> = [&[53][..], &[400; 31]].concat();
    check(Some(late()), &watched[..31], &tickets, &[], false);
    check(Some(late()), &watched, &tickets, &[], true);
    // Nothing more will be read of what a side says.
    check(Some(late()), &[53, 400], &tickets, &[Side::Client], true);
    check(None, &[53, 400], &[], &[Side::Server], true);
    check(None, &[53, 400], &[], &[Side::Client], false);
    check(None, &[], &[], &[Side::Client], false);
    check(None, &[], &[], &[Side::Server], false);
    check(None, &[], &[], &[Side::Client, Side::Server], true);
}

#[test]
fn below_tls13_a_renegotiation_may_come() {
    let certificate = message(11, &[0, 0, 8, 0, 0, 5, 1, 2, 3, 4, 5]);
    let (declined, exchange) = (message(11, &[0, 0, 0]), message(16, &[0; 33]));
    let check = |messages: &[Vec<u8>], more: &[(Side, Vec<u8>)], lost: &[Side], expected: bool| {
        let script = [&script12(messages), more].concat();
        assert_eq!(handshake(&script, lost).settled(), expected, "{more:?} {lost:?}");
    };
    check(&[certificate.clone(), exchange.clone()], &[], &[], true);
    check(&[declined, exchange.clone()], &[], &[], false);
    // The Finished is the first one that is watched.
    for (count, expected) in [(30, false), (31, true)] {
        check(std::slice::from_ref(&exchange), &[(Side::Client, sealed(&vec![40; count]))], &[], expected);
        check(
            std::slice::from_ref(&exchange),
            &[(Side::Server, sealed(&vec![40; count]))],
            &[Side::Client],
            expected,
        );
    }
    check(std::slice::from_ref(&exchange), &[], &[Side::Client], false);
    check(std::slice::from_ref(&exchange), &[], &[Side::Server], false);
    check(std::slice::from_ref(&exchange), &[], &[Side::Client, Side::Server], true);
    // Either side's end of the handshake is not there yet.
    for turns in [2, 3] {
        let script = script12(&[certificate.clone(), exchange.clone()])[..turns].to_vec();
        assert!(!handshake(&script, &[]).settled(), "{turns}");
    }
    let mut server_first = script12(&[certificate, exchange]);
    server_first[2].1.truncate(57);
    assert!(!handshake(&server_first, &[]).settled());
}

#[test]
fn a_connection_of_tls13_may_rest_once_the_server_went_on() {
    let late = client_hello_with(&[extension(43, &[2, 3, 4]), extension(49, &[])]);
    for (hello, flight, reaction, expected) in [
        (hello13(), &[53, 400][..], &[250][..], true),
        (hello13(), &[61], &[250], true),
        (hello13(), &[582, 401], &[250], true),
        (hello13(), &[53, 400], &[], false),
        // A refusal.
        (hello13(), &[53, 400], &[19], false),
        (hello13(), &[], &[250], false),
        // An alert, too little, blocks, and no known shape.
        (hello13(), &[19], &[250], false),
        (hello13(), &[25], &[250], false),
        (hello13(), &[528, 528], &[250], false),
        (hello13(), &[100, 90, 120, 97, 53], &[250], false),
        (late, &[53, 400], &[250], false),
    ] {
        let mut script = script13(flight, reaction);
        script[0].1 = hello;
        assert_eq!(handshake(&script, &[]).may_rest(), expected, "{flight:?} {reaction:?}");
    }
    assert!(!Handshake::default().may_rest());
    let unknown =
        vec![(Side::Client, hello13()), (Side::Server, server_hello(0x13ff, &[extension(43, &[3, 4])]))];
    assert!(!handshake(&unknown, &[]).may_rest());
}

#[test]
fn below_tls13_a_connection_may_rest_where_no_renegotiation_can_come() {
    let check = |protocol: &[u8], turns: usize, payload: bool, expected: bool| {
        let mut script = script12(&[message(16, &[0; 33])]);
        let name = [&[u8::try_from(protocol.len()).unwrap()], protocol].concat();
        let list = [&u16::try_from(name.len()).unwrap().to_be_bytes()[..], &name].concat();
        let plain = server_hello(0xc02f, &[]).len();
        script[1].1.splice(..plain, server_hello(0xc02f, &[extension(16, &list)]));
        script.truncate(turns);
        if payload {
            script.push((Side::Client, sealed(&[100])));
        }
        assert_eq!(handshake(&script, &[]).may_rest(), expected, "{protocol:?} {turns} {payload}");
    };
    check(b"h2", 4, true, true);
    check(b"h2", 4, false, false);
    check(b"istio-http/1.1", 4, false, true);
    check(b"http/1.1", 4, true, false);
    check(b"h2", 3, true, false);
    check(b"istio", 2, false, false);
    // The client's end of the handshake is not there.
    let mut script = script12(&[message(16, &[0; 33])]);
    let plain = server_hello(0xc02f, &[]).len();
    let istio = extension(16, &[0, 6, 5, b'i', b's', b't', b'i', b'o']);
    script[1].1.splice(..plain, server_hello(0xc02f, &[istio]));
    script.remove(2);
    assert!(!handshake(&script, &[]).may_rest());
}
