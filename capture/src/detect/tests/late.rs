//! Connections joined late, with holes, or captured on one side.

use super::*;

#[test]
fn a_connection_joined_late_may_have_its_roles_exchanged() {
    let (request, response) = (b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"HTTP/1.1 200 OK\r\n\r\n".as_slice());
    let (hello, answer) = (hello(), server_hello());
    for (client, server) in [(response, request), (&answer, &hello)] {
        let late = Opening {
            client,
            server,
            first: C,
            from_start: false,
            transport: Transport::Tcp,
            port: 0,
            ended: false,
        };
        assert_eq!(detect(&late), Detected::Reversed);
        assert!(detect(&late.swapped()).recognised());
        assert_ne!(detect(&Opening { from_start: true, ..late }), Detected::Reversed);
    }
}

#[test]
fn what_a_hole_took_is_not_what_follows_it() {
    let (mut hello, mut answer) = (hello(), server_hello());
    let check = |client: &[u8], server: &[u8], first, from_start, expected| {
        let transport = Transport::Tcp;
        let seen = Opening { client, server, first, from_start, transport, port: 0, ended: true };
        assert_eq!(detect(&seen), expected, "{:?} {:?}", client.escape_ascii(), server.escape_ascii());
    };
    let tls = |upgrade, protocol, client, server| Detected::Tls { upgrade, client, server, protocol };
    // The server's one byte is lost: what follows is no refusal.
    let asked = [SSL_REQUEST, &hello].concat();
    let postgres = Some(Protocol::Postgres);
    check(&asked, &answer, C, false, tls(Some(Upgrade::Postgres), postgres, SSL_REQUEST.len(), 0));
    check(SSL_REQUEST, &answer, C, false, Detected::Upgradable(Protocol::Postgres));
    // The line that asks for TLS is lost.
    let granted = [b"220 mx ESMTP\r\n220 go ahead\r\n".as_slice(), &answer].concat();
    let begins = granted.len() - answer.len();
    check(&hello, &granted, S, false, tls(Some(Upgrade::Smtp), Some(Protocol::Smtp), 0, begins));
    // The request is lost: a response with content answers no CONNECT, one without may.
    let plain = Detected::Plaintext { protocol: Some(Protocol::Http1), refused: None, inside: None };
    check(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", S, true, plain);
    check(b"", b"HTTP/1.1 200 OK\r\n\r\n", S, true, Detected::Upgradable(Protocol::Http1));
    // The server alone, taken for the client.
    check(&answer, b"", C, false, Detected::Reversed);
    answer.truncate(30);
    hello.truncate(30);
    check(&answer, b"", C, false, Detected::Reversed);
}

#[test]
fn a_conversation_joined_late_is_known_by_both_its_sides() {
    let check = |client: &[u8], server: &[u8], protocol| {
        let transport = Transport::Tcp;
        let late = Opening { client, server, first: C, from_start: false, transport, port: 0, ended: true };
        assert_eq!(
            detect(&late),
            Detected::Plaintext { protocol: Some(protocol), refused: None, inside: None }
        );
        assert_ne!(detect(&Opening { from_start: true, ..late }), detect(&late), "only of a late start");
    };
    check(b"PASS secret\r\n", b"230 Login successful.\r\n", Protocol::Ftp);
    let subscribe = b"\x82\x08\0\x01\0\x03a/b\x01";
    check(subscribe, b"\x20\x02\0\0\x90\x03\0\x01\x01", Protocol::Mqtt);
    let mut login = b"\x27\0\0\x01\x05\xa6\x0f\0\0\0\0\x01\x2d".to_vec();
    login.extend([0; 23]);
    login.extend(b"root\0\0\0");
    check(&login, b"\x07\0\0\x02\0\0\0\x02\0\0\0", Protocol::Mysql);
}

/// What a connection joined late shows of one protocol, and another one begins with.
#[test]
fn a_part_of_a_dialogue_is_not_taken_for_anothers_beginning() {
    let check = |client: &[u8], server: &[u8], first, expected| {
        let transport = Transport::Tcp;
        let late = Opening { client, server, first, from_start: false, transport, port: 0, ended: true };
        assert_eq!(detect(&late), expected, "{:?} {:?}", client.escape_ascii(), server.escape_ascii());
    };
    let unknown = Detected::Unknown(Reason::MidStream);
    let (hello, answer) = (hello(), server_hello());
    // Redis and NATS say no more than "+OK"; POP3 does to its own words.
    check(b"PUB a 1\r\n", b"+OK\r\n", S, unknown);
    check(b"", b"+OK\r\n", S, unknown);
    check(b"STAT\r\n", b"+OK\r\n", S, Detected::Upgradable(Protocol::Pop3));
    // Replies of SMTP and FTP before words that IMAP has, too; a request that IRC has.
    check(b"503 STARTTLS command used when not advertised\r\n", b"", C, unknown);
    check(b"230 Login successful.\r\n", b"", C, unknown);
    check(b"STARTTLS\r\nMAIL FROM:<a@b>\r\n", b"503 no\r\n", C, unknown);
    // ZooKeeper: a request's number and kind, and an answer with that number.
    check(b"\0\0\0\x0e\0\0\0\x01\0\0\0\x08\0\0\0\x01/\0", b"", C, unknown);
    let (request, answer_to_it) =
        (b"\0\0\0\x0e\0\0\0\x08\0\0\0\x08\0\0\0\x01/\0", b"\0\0\0\x14\0\0\0\x08\0\0\0\0");
    check(request, answer_to_it, C, unknown);
    let cut = Opening { from_start: true, ended: false, ..opening_of_late(request, answer_to_it) };
    assert_eq!(detect(&cut), Detected::More);
    // The request of SOCKS 5, which reads like a greeting, and TLS behind it.
    let begun =
        |upgrade, client, server| Detected::Tls { upgrade: Some(upgrade), client, server, protocol: None };
    let request: &[u8] = b"\x05\x01\0\x01\x0a\0\0\x07\x01\xbb";
    for chosen in [&b"\x05\0"[..], b""] {
        let client = [request, &hello].concat();
        let reply = [chosen, b"\x05\0\0\x01\0\0\0\0\0\0"].concat();
        check(
            &client,
            &[&reply[..], &answer].concat(),
            S,
            begun(Upgrade::Socks5, request.len(), reply.len()),
        );
    }
    // The reply of a SOCKS proxy in front of a CONNECT's.
    let reply = [b"\x05\0\0\x01\0\0\0\0\0\0", b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &answer].concat();
    check(&[CONNECT, &hello].concat(), &reply, C, Detected::Unknown(Reason::NotTls));
    // The answer to a search, before the one to StartTLS.
    let entry = b"\x30\x0c\x02\x01\x01\x64\x07\x04\x01a\x30\x02\x04\0";
    let late = Opening { ended: false, ..opening_of_late(b"", entry) };
    assert_eq!(detect(&late), Detected::Upgradable(Protocol::Ldap));
    // Two control packets of one session of OpenVPN.
    let control =
        [b"\0\x16\x28\xa3\xb2\x8c\xf5\x5b\xb9\x32\x6e\x01\0\0\0\x01".as_slice(), &[0x5d; 8]].concat();
    let inside = [&control[..], &control, &hello].concat();
    check(&inside, &[&control[..], &control, &answer].concat(), C, Detected::Opaque(Protocol::Openvpn));
}

fn opening_of_late<'a>(client: &'a [u8], server: &'a [u8]) -> Opening<'a> {
    Opening { client, server, first: S, from_start: false, transport: Transport::Tcp, port: 0, ended: true }
}

/// A server of TLS refuses plaintext by an alert, too.
#[test]
fn an_alert_makes_no_tls_of_what_was_said_before() {
    let alert = b"\x15\x03\x03\0\x02\x02\x46";
    let check = |client: &[u8], from_start, expected| {
        assert_eq!(detect(&Opening { from_start, ..opening_of_late(client, alert) }), expected);
    };
    let text = Detected::Plaintext { protocol: None, refused: None, inside: None };
    check(b"LOGON alice secret\r\n", true, text);
    check(b"LOGON alice secret\r\n", false, Detected::Unknown(Reason::MidStream));
    check(&[0x9d; 5], true, Detected::Unknown(Reason::NotTls));
    check(b"", true, Detected::TlsMidStream);
    check(alert, false, Detected::TlsMidStream);
}

/// Its zeros make it regular, and no plaintext.
#[test]
fn a_reset_of_openvpn_is_known_where_the_client_was_not_captured() {
    let reset = b"\x40\x26\x30\x39\x9b\x56\x76\x12\x4a\x01\0\0\0\0\xa3\xb2\x8c\xf5\x5b\xb9\x32\x6e\0\0\0\0";
    let streams = (Vec::new(), reset.to_vec());
    assert_eq!(detect(&opening(&streams, S, Transport::Udp)), Detected::Opaque(Protocol::Openvpn));
    assert_eq!(detect(&opening(&streams, S, Transport::Udp).swapped()), Detected::Reversed);
}

/// Of what is only like text inside a tunnel, the tunnel's own protocol proves nothing: it may have been cut.
#[test]
fn text_inside_a_tunnel_is_judged_by_its_look() {
    let client =
        [b"\x05\x01\x00\x05\x01\x00\x01\x0a\0\0\x07\x00\x15".as_slice(), b"LOGON alice secret here\r\n"]
            .concat();
    let streams = (client, b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0".to_vec());
    let seen = Opening { ended: true, ..opening(&streams, C, Transport::Tcp) };
    let text = Detected::Plaintext { protocol: None, refused: None, inside: Some(Upgrade::Socks5) };
    assert_eq!(detect(&seen), text);
}

/// A keepalive that comes first is as good a beginning as a handshake.
#[test]
fn one_packet_of_wireguard_is_enough() {
    let keepalive = b"\x04\0\0\0\x0e\x9f\x8e\x51\0\0\0\0\0\0\0\0\x0a\xdd\x57\x8a\x95\x7d\xf9\x49\x67\x3d\x6b\xe5\x69\x25\x38\x0c";
    let mut zeros = *keepalive;
    zeros[16..].fill(0);
    let detected = |bytes: &[u8]| {
        let streams = (bytes.to_vec(), Vec::new());
        detect(&opening(&streams, C, Transport::Udp))
    };
    assert_eq!(detected(keepalive), Detected::Opaque(Protocol::Wireguard));
    assert_eq!(detected(&zeros), Detected::More);
}
