//! LDAP (RFC 4511 section 4.1.1): a sequence of a message number and an operation.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{BOTH, Detector, Form, probe as ask};
use super::cursor::{Cursor, element};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Ldap,
    form: Form::Readable,
    carriers: BOTH,
    ports: &[389, 3268],
    probe,
    sample: &[
        (Side::Client, b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"),
        (Side::Server, b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"),
    ],
};

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.server_only() {
        return ask(opening.server, |cursor| {
            message(cursor, &[0x61, 0x64, 0x65, 0x67, 0x69, 0x6f, 0x73, 0x78])
        });
    }
    // Bind, unbind, search, modify, add, delete, rename, compare, abandon, extended request.
    let requests = [0x60, 0x42, 0x63, 0x66, 0x68, 0x4a, 0x6c, 0x6e, 0x50, 0x77];
    ask(opening.client, |cursor| message(cursor, &requests))
}

fn message(cursor: &mut Cursor<'_>, operations: &[u8]) -> Option<bool> {
    if cursor.rest().first().is_some_and(|&tag| tag != 0x30) {
        return Some(false);
    }
    let Some(sequence) = element(cursor)? else { return Some(false) };
    if sequence.length < 5 || cursor.u8()? != 2 {
        return Some(false);
    }
    let number = cursor.u8()?;
    if !(1..=4).contains(&number) {
        return Some(false);
    }
    cursor.take(usize::from(number))?;
    let Some(operation) = element(cursor)? else { return Some(false) };
    Some(operations.contains(&operation.tag) && operation.length < sequence.length)
}
