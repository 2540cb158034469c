//! Openings that the detectors' samples do not have.

use super::*;

/// Recorded of real software: clients that do not wait for a greeting, commands typed by hand, rarer forms.
#[test]
fn other_openings_of_a_protocol_are_its_own_too() {
    use Transport::{Tcp, Udp};
    let ntp_client = [&b"\x23\0\x06\x20"[..], &[0; 36], b"\x5a\xc3\x11\x22\x33\x44\x55\x66"].concat();
    // An extension field behind the header: the unique identifier of NTS (RFC 8915 section 5.3).
    let nts = [&ntp_client[..], b"\x01\x04\0\x24", &[0x7d; 32]].concat();
    let others: &[(Protocol, Transport, Sample<'_>)] = &[
        (Protocol::Imap, Tcp, &[(C, b"a LOGIN u pw\r\n"), (S, b"* OK Waiting for authentication\r\n")]),
        (Protocol::Smtp, Tcp, &[(C, b"QUIT\r\n"), (S, b"220 mail.example.org ESMTP Exim 4.96\r\n")]),
        (Protocol::Irc, Tcp, &[(C, b"PASS secret\r\nNICK bob\r\nUSER bob 0 * :Bob\r\n")]),
        (Protocol::Redis, Tcp, &[(C, b"EXISTS a\r\n"), (S, b":1\r\n")]),
        (Protocol::Redis, Tcp, &[(C, b"get a\r\n"), (S, b"$-1\r\n")]),
        (Protocol::Redis, Tcp, &[(C, b"HELLO 3\r\n"), (S, b"%7\r\n$6\r\nserver\r\n")]),
        (Protocol::Redis, Tcp, &[(C, b"set a 0 0 1\r\n"), (S, b"-ERR syntax error\r\n")]),
        (Protocol::Memcached, Tcp, &[(C, b"mn\r\n"), (S, b"MN\r\n")]),
        (Protocol::Memcached, Tcp, &[(C, b"ms a 2\r\nhi\r\nmg a v\r\n"), (S, b"HD\r\nVA 2\r\nhi\r\n")]),
        (Protocol::Memcached, Tcp, &[(C, b"set a 0 0 20000 noreply\r\nxxxx")]),
        (
            Protocol::Memcached,
            Udp,
            &[(C, b"\0\x01\0\0\0\x01\0\0get a\r\n"), (S, b"\0\x01\0\0\0\x0f\0\0VALUE a 0 20000\r\nx")],
        ),
        (Protocol::Http1, Tcp, &[(C, b"patch /a HTTP/1.1\r\nHost: a\r\n\r\n")]),
        (Protocol::Snmp, Tcp, &[(C, b"\x30\x29\x02\x01\x01\x04\x06public\xa1\x1c")]),
        (Protocol::Syslog, Tcp, &[(C, b"<13>2026-11-28T09:14:04.1+00:00 host app: hello\n")]),
        (Protocol::Ntp, Udp, &[(C, &ntp_client)]),
        (Protocol::Ntp, Udp, &[(C, &nts)]),
    ];
    for (protocol, transport, messages) in others {
        let plain = Detected::Plaintext { protocol: Some(*protocol), refused: None, inside: None };
        assert_eq!(settle(messages, *transport), plain, "{protocol}");
        claimed_by_none_but(*protocol, messages, *transport);
    }
}

/// What tls-crypt encrypts of a reset tells nothing before it is answered.
#[test]
fn an_encrypted_reset_of_openvpn_is_known_by_its_answer() {
    let client =
        b"\x38\xa3\xb2\x8c\xf5\x5b\xb9\x32\x6e\0\0\0\x01\x6b\x0a\x9f\x3a\xa3\x41\xa5\x0f\x68\xf7\xe9\xab\xf0";
    let server =
        b"\x40\x26\x30\x39\x9b\x56\x76\x12\x4a\0\0\0\x01\x6b\x0a\x9f\x3a\x6f\x3a\x77\x0e\x93\x07\x8b\x2e\xfe";
    let answered: Sample<'_> = &[(C, client), (S, server)];
    assert_eq!(settle(answered, Transport::Udp), Detected::Opaque(Protocol::Openvpn));
    claimed_by_none_but(Protocol::Openvpn, answered, Transport::Udp);
}
