//! MQTT, by the CONNECT packet (MQTT 5.0 section 3.1; 3.1 calls itself MQIsdp).

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, probe as ask};
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
    ask(opening.client, connect)
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
