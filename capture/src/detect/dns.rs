//! DNS (RFC 1035 section 4), multicast DNS and LLMNR: a sound header and a first name.

use flow::{Protocol, Side, Transport};

use super::Opening;
use super::catalogue::{BOTH, Detector, Form, answer};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Dns,
    form: Form::Readable,
    carriers: BOTH,
    ports: &[53, 5353, 5355],
    probe,
    sample: &[(
        Side::Client,
        b"\x00\x1d\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x01\x00\x01",
    )],
};

/// More records than this in one section are no message.
const RECORDS: u16 = 512;

/// Which half of the exchange a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Query,
    Response,
}

fn probe(opening: &Opening<'_>) -> Probe {
    let (bytes, half) = if opening.client.is_empty() {
        if opening.server.is_empty()
            || (opening.from_start && opening.transport == Transport::Tcp && !opening.ended)
        {
            return Probe::More;
        }
        (opening.server, Half::Response)
    } else {
        (opening.client, Half::Query)
    };
    let mut cursor = Cursor::new(bytes);
    if opening.transport == Transport::Tcp {
        // RFC 1035 section 4.2.2: two bytes of length come first.
        match cursor.be16() {
            None => return Probe::More,
            Some(0..=16) => return Probe::No,
            Some(_) => {}
        }
    }
    match message(&mut cursor, half) {
        // A datagram is whole: there is no more of it to come.
        None if opening.transport == Transport::Udp => Probe::No,
        settled => answer(settled),
    }
}

fn message(cursor: &mut Cursor<'_>, half: Half) -> Option<bool> {
    cursor.be16()?;
    let flags = cursor.be16()?;
    let response = flags & 0x8000 != 0;
    let operation = (flags >> 11) & 0xf;
    if response != (half == Half::Response) || operation > 6 || flags & 0x40 != 0 {
        return Some(false);
    }
    let questions = cursor.be16()?;
    if questions > 32 {
        return Some(false);
    }
    let answers = cursor.be16()?;
    if answers > RECORDS || cursor.be16()? > RECORDS || cursor.be16()? > RECORDS {
        return Some(false);
    }
    if questions == 0 && (half == Half::Query || answers == 0) {
        return Some(response && answers == 0 && cursor.rest().len() < 12);
    }
    match name(cursor)? {
        true => {}
        false => return Some(false),
    }
    let kind = cursor.be16()?;
    // The top bit is multicast DNS's own (RFC 6762 sections 5.4 and 10.2).
    let class = cursor.be16()? & 0x7fff;
    Some(kind != 0 && matches!(class, 1 | 3 | 4 | 254 | 255))
}

/// Labels of at most 63 bytes, ended by an empty one; none is compressed, being the first name of the message.
fn name(cursor: &mut Cursor<'_>) -> Option<bool> {
    let mut length = 0_usize;
    loop {
        match cursor.u8()? {
            0 => return Some(true),
            label @ 1..=63 => {
                cursor.take(usize::from(label))?;
                length = length.saturating_add(usize::from(label)).saturating_add(1);
                if length > 255 {
                    return Some(false);
                }
            }
            _ => return Some(false),
        }
    }
}
