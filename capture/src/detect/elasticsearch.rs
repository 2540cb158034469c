//! Elasticsearch transport, by its header: 'ES', length, request, status, version.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Elasticsearch,
    form: Form::Readable,
    carriers: TCP,
    ports: &[9300],
    probe,
    sample: &[(
        Side::Client,
        b"ES\x00\x00\x00\x33\x00\x00\x00\x00\x00\x00\x00\x01\x08\x00\x6a\xcf\xc7\x00\x00\x00\x1e",
    )],
};

fn probe(opening: &Opening<'_>) -> Probe {
    ask(if opening.server_only() { opening.server } else { opening.client }, header)
}

fn header(cursor: &mut Cursor<'_>) -> Option<bool> {
    if !cursor.magic(b"ES")? {
        return Some(false);
    }
    let length = cursor.be32()?;
    if length == u32::MAX {
        return Some(true);
    }
    if !(13..1 << 28).contains(&length) {
        return Some(false);
    }
    cursor.be64()?;
    Some(cursor.u8()? <= 0x0f && (1..1 << 28).contains(&cursor.be32()?))
}
