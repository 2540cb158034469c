//! SNMP (RFC 3416, RFC 3412 section 6), over TCP too (RFC 3430): version, then a community or global data.

use flow::{Protocol, Side, Transport};

use super::Opening;
use super::catalogue::{BOTH, Detector, Form, probe as ask};
use super::cursor::{Cursor, element};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Snmp,
    form: Form::Readable,
    carriers: BOTH,
    ports: &[161, 162],
    probe,
    sample: &[(
        Side::Client,
        b"\x30\x1b\x02\x01\x01\x04\x06public\xa0\x0e\x02\x04\x00\x00\x00\x01\x02\x01\x00\x02\x01\x00\x30\x00",
    )],
};

fn probe(opening: &Opening<'_>) -> Probe {
    let alone = opening.transport == Transport::Udp || opening.ended;
    ask(if alone && opening.client.is_empty() { opening.server } else { opening.client }, message)
}

fn message(cursor: &mut Cursor<'_>) -> Option<bool> {
    if *cursor.rest().first()? != 0x30 {
        return Some(false);
    }
    if element(cursor)?.is_none() {
        return Some(false);
    }
    match cursor.take(3)? {
        [2, 1, 0 | 1] => {
            if cursor.u8()? != 4 {
                return Some(false);
            }
            let community = usize::from(cursor.u8()?);
            if community >= 128 {
                return Some(false);
            }
            cursor.take(community)?;
            Some(matches!(cursor.u8()?, 0xa0..=0xa8))
        }
        [2, 1, 3] => Some(cursor.u8()? == 0x30),
        _ => Some(false),
    }
}
