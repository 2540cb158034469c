//! MQTT, by the CONNECT packet (MQTT 5.0 section 3.1; 3.1 calls itself MQIsdp).

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer, probe as ask};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Mqtt,
    form: Form::Readable,
    carriers: TCP,
    ports: &[1883],
    probe,
    sample: &[(Side::Client, b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05meter")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    match ask(opening.client, connect) {
        Probe::No if !opening.from_start => answer(Some(joined_late(opening) == Some(true))),
        settled @ (Probe::Yes | Probe::More | Probe::No) => settled,
    }
}

/// A CONNACK (MQTT 3.1.1 section 3.2) and the client's SUBSCRIBE or PINGREQ: the CONNECT was not captured.
fn joined_late(opening: &Opening<'_>) -> Option<bool> {
    let [0x20, 2, 0 | 1, 0..=5, ..] = opening.server else { return Some(false) };
    let mut cursor = Cursor::new(opening.client);
    match cursor.u8()? {
        0xc0 => Some(cursor.u8()? == 0),
        0x82 => {
            let length = usize::from(cursor.u8()?);
            let mut body = Cursor::new(cursor.take(length)?);
            body.be16()?;
            let topic = usize::from(body.be16()?);
            body.take(topic)?;
            Some(length < 0x80 && body.u8()? <= 2)
        }
        _ => Some(false),
    }
}

fn connect(cursor: &mut Cursor<'_>) -> Option<bool> {
    if cursor.u8()? != 0x10 {
        return Some(false);
    }
    // The remaining length takes one to four bytes, the top bit saying that another follows.
    for _ in 0..4 {
        if cursor.u8()? < 0x80 {
            break;
        }
    }
    match cursor.be16()? {
        4 => Some(cursor.magic(b"MQTT")? && matches!(cursor.u8()?, 4 | 5)),
        6 => Some(cursor.magic(b"MQIsdp")? && cursor.u8()? == 3),
        _ => Some(false),
    }
}
