//! Kerberos 5 (RFC 4120 section 5.10): the application tags of its messages.

use flow::{Protocol, Side, Transport};

use super::Opening;
use super::catalogue::{BOTH, Detector, Form, answer};
use super::cursor::{Cursor, element};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Kerberos,
    form: Form::Readable,
    carriers: BOTH,
    ports: &[88, 464],
    probe,
    sample: &[(
        Side::Client,
        b"\x00\x00\x00\x1a\x6a\x18\x30\x16\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a\xa4\x0a\x30\x08\xa0\x06\x03\x04\x00\x00\x00\x10",
    )],
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = if opening.client.is_empty() && opening.ended { opening.server } else { opening.client };
    let mut cursor = Cursor::new(bytes);
    if opening.transport == Transport::Tcp {
        match cursor.be32() {
            None => return Probe::More,
            Some(8..0x0010_0000) => {}
            Some(_) => return Probe::No,
        }
    }
    answer(message(&mut cursor))
}

/// AS, TGS, AP, error: a sequence whose first field is the version 5, under field 0 or 1.
fn message(cursor: &mut Cursor<'_>) -> Option<bool> {
    if !matches!(cursor.rest().first()?, 0x6a..=0x6f | 0x7e) {
        return Some(false);
    }
    if element(cursor)?.is_none() || cursor.rest().first()? != &0x30 || element(cursor)?.is_none() {
        return Some(false);
    }
    Some(matches!(cursor.take(5)?, [0xa0 | 0xa1, 3, 2, 1, 5]))
}
