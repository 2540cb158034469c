//! Apache Kafka, by the client's first request and the correlation id of the answer (Kafka protocol guide).

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::cursor::Cursor;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Kafka,
    form: Form::Readable,
    carriers: TCP,
    ports: &[9092],
    probe,
    sample: &[
        (
            Side::Client,
            b"\x00\x00\x00\x24\x00\x12\x00\x03\x00\x00\x00\x01\x00\x06orders\x00\x12apache-kafka-java\x063.7.0\x00",
        ),
        (Side::Server, b"\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00"),
    ],
};

/// Highest request kind and version with room for ones to come.
const KINDS: u16 = 100;
const VERSIONS: u16 = 24;
const PRODUCE: u16 = 0;
/// Names a mechanism next.
const SASL_HANDSHAKE: u16 = 17;
/// Longest first request.
const REQUEST: u32 = 1 << 20;

fn probe(opening: &Opening<'_>) -> Probe {
    answer(exchange(opening))
}

fn exchange(opening: &Opening<'_>) -> Option<bool> {
    let Some((correlation, telling)) = request(&mut Cursor::new(opening.client))? else { return Some(false) };
    if opening.server.is_empty() && opening.ended {
        return Some(telling);
    }
    // Small numbers agree by chance in the middle of another protocol.
    if !telling {
        return Some(false);
    }
    let mut cursor = Cursor::new(opening.server);
    let length = cursor.be32()?;
    Some((4..1 << 26).contains(&length) && cursor.be32()? == correlation)
}

/// Returns the correlation id of a request whose header is sound, and whether it holds more than small
/// numbers, of which other protocols (ZooKeeper, RabbitMQ's streams) are full: a client's name, or the kind of request.
fn request(cursor: &mut Cursor<'_>) -> Option<Option<(u32, bool)>> {
    let length = cursor.be32()?;
    if !(10..=REQUEST).contains(&length) {
        return Some(None);
    }
    let kind = cursor.be16()?;
    if kind > KINDS || cursor.be16()? > VERSIONS {
        return Some(None);
    }
    let correlation = cursor.be32()?;
    let length_of_name = cursor.be16()?;
    let sound = match length_of_name {
        u16::MAX => true,
        name @ 0..=255 => {
            u32::from(name) < length
                && cursor.take(usize::from(name))?.iter().all(|&b| b == b' ' || b.is_ascii_graphic())
        }
        _ => false,
    };
    let telling = match (kind, length_of_name) {
        (PRODUCE, 0) => false,
        (SASL_HANDSHAKE, 0) => matches!(cursor.be16(), Some(4..=32)),
        _ => true,
    };
    Some(sound.then_some((correlation, telling)))
}
