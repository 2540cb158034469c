//! MongoDB wire protocol, by the message header (MsgHeader: length, request, response to, operation).

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Mongodb,
    form: Form::Readable,
    carriers: TCP,
    ports: &[27017],
    probe,
    sample: &[(
        Side::Client,
        b"\x28\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00\x00\x00\x00\
          \x13\x00\x00\x00\x10hello\x00\x01\x00\x00\x00\x00",
    )],
};

/// Largest message (`maxMessageSizeBytes`).
const MESSAGE: u32 = 48_000_000;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.server_only() {
        return ask(opening.server, |cursor| header(cursor, false));
    }
    match ask(opening.client, |cursor| header(cursor, true)) {
        Probe::No if !opening.from_start => ask(opening.client, |cursor| header(cursor, false)),
        settled @ (Probe::Yes | Probe::More | Probe::No) => settled,
    }
}

fn header(cursor: &mut Cursor<'_>, request: bool) -> Option<bool> {
    if !(17..=MESSAGE).contains(&cursor.le32()?) {
        return Some(false);
    }
    cursor.le32()?;
    let response_to = cursor.le32()?;
    Some((response_to == 0 || !request) && matches!(cursor.le32()?, 1 | 1000 | 2001..=2007 | 2010..=2013))
}
