//! IRC (RFC 1459 section 4.1): registration by PASS, NICK, USER or CAP, or the server's first notice.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::{Line, line, line_of, mentions, verb, word};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Irc,
    form: Form::Readable,
    carriers: TCP,
    ports: &[6667],
    probe,
    sample: &[
        (Side::Client, b"NICK bot\r\nUSER bot 0 * :A bot\r\n"),
        (Side::Server, b":irc.example.org NOTICE * :*** Looking up your hostname\r\n"),
    ],
};

/// What a client may begin with.
const COMMANDS: [&[u8]; 6] = [b"NICK", b"USER", b"CAP", b"STARTTLS", b"PRIVMSG", b"JOIN"];
/// Registers, after a password too.
const REGISTRATION: [&[u8]; 4] = [b"NICK", b"USER", b"CAP", b"SERVER"];

fn probe(opening: &Opening<'_>) -> Probe {
    let registers = |text: &[u8]| {
        let (_, argument) = word(text);
        match () {
            // Mail's and news' clients ask so, too, after a greeting that was not captured.
            () if verb(text, &[b"STARTTLS"]) => opening.from_start && argument.is_empty(),
            () if verb(text, &[b"PRIVMSG", b"JOIN"]) => !opening.from_start && !argument.is_empty(),
            () if verb(text, &[b"NICK"]) => !argument.is_empty(),
            () if verb(text, &[b"CAP"]) => verb(argument, &[b"LS", b"REQ", b"END", b"LIST"]),
            () => verb(text, &[b"USER"]) && text.contains(&b':') && text.split(|&b| b == b' ').count() >= 5,
        }
    };
    let notice = |text: &[u8]| {
        let (prefix, rest) = word(text);
        let said = if prefix.starts_with(b":") { rest } else { text };
        verb(said, &[b"NOTICE"]) && (mentions(text, b"auth") || mentions(text, b"***"))
    };
    if opening.client.is_empty() || opening.first == Side::Server {
        return answer(line_of(opening.server, &[b":", b"NOTICE"], notice));
    }
    let password = line_of(opening.client, &[b"PASS"], |text| verb(text, &[b"PASS"]));
    if password != Some(false) {
        // A password comes before the rest (section 4.1.1), as it does in no other protocol.
        let rest = match line(opening.client) {
            Line::Whole(_, rest) => rest,
            Line::Open(_) | Line::Never => &[],
        };
        return answer(password.and_then(|_| line_of(rest, &REGISTRATION, |text| verb(text, &REGISTRATION))));
    }
    answer(line_of(opening.client, &COMMANDS, registers))
}
