//! SSH (RFC 4253 section 4.2), by the identification string that either side sends first.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Ssh,
    form: Form::Encrypted,
    carriers: TCP,
    ports: &[22],
    probe,
    sample: &[(Side::Server, b"SSH-2.0-OpenSSH_9.7\r\n"), (Side::Client, b"SSH-2.0-Go\r\n")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    let server = ask(opening.server, identification);
    let client = ask(opening.client, identification);
    match (client, server) {
        (Probe::Yes, _) | (_, Probe::Yes) => Probe::Yes,
        (Probe::More, Probe::More) => Probe::More,
        (Probe::More, Probe::No) if opening.client.is_empty() => Probe::No,
        (Probe::No, Probe::More) if opening.server.is_empty() => Probe::No,
        (Probe::More, _) | (_, Probe::More) => Probe::More,
        (Probe::No, Probe::No) => Probe::No,
    }
}

fn identification(cursor: &mut Cursor<'_>) -> Option<bool> {
    Some(cursor.magic(b"SSH-")? && matches!(cursor.u8()?, b'1' | b'2') && cursor.u8()? == b'.')
}
