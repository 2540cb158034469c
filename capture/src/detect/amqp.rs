//! AMQP 0-9-1 and 1.0, by the protocol header (AMQP 0-9-1 section 4.2.2, AMQP 1.0 part 2 section 2.2).

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Amqp,
    form: Form::Readable,
    carriers: TCP,
    ports: &[5672],
    probe,
    sample: &[(Side::Client, b"AMQP\x00\x00\x09\x01")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    // A server that does not like the client's version answers with its own header.
    let bytes = if opening.server_only() { opening.server } else { opening.client };
    match ask(bytes, header) {
        Probe::No if !opening.from_start => ask(bytes, frame),
        settled @ (Probe::Yes | Probe::More | Probe::No) => settled,
    }
}

/// Longest frame of a connection joined late that is waited for.
const FRAME: u32 = 8192;

/// A whole frame (AMQP 0-9-1 section 4.2.3): method, header, body or heartbeat, channel, size, and the octet that ends it.
fn frame(cursor: &mut Cursor<'_>) -> Option<bool> {
    let kind = cursor.u8()?;
    let channel = cursor.be16()?;
    let size = cursor.be32()?;
    let sound = matches!((kind, channel, size), (1 | 2, _, 4..=FRAME) | (3, 1.., 1..=FRAME) | (8, 0, 0));
    if !sound {
        return Some(false);
    }
    cursor.take(usize::try_from(size).ok()?)?;
    Some(cursor.u8()? == 0xce)
}

fn header(cursor: &mut Cursor<'_>) -> Option<bool> {
    if !cursor.magic(b"AMQP")? {
        return Some(false);
    }
    Some(matches!(cursor.take(4)?, [0, 0, 9, 0 | 1] | [0 | 2 | 3, 1, 0, 0] | [1, 1, 0 | 8 | 9, _]))
}
