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
/// Longest first request.
const REQUEST: u32 = 1 << 20;

fn probe(opening: &Opening<'_>) -> Probe {
    answer(exchange(opening))
}

fn exchange(opening: &Opening<'_>) -> Option<bool> {
    let Some(correlation) = request(&mut Cursor::new(opening.client))? else { return Some(false) };
    if opening.server.is_empty() && opening.ended {
        return Some(true);
    }
    let mut cursor = Cursor::new(opening.server);
    let length = cursor.be32()?;
    Some((4..1 << 26).contains(&length) && cursor.be32()? == correlation)
}

/// Returns the correlation id of a request whose header is sound.
fn request(cursor: &mut Cursor<'_>) -> Option<Option<u32>> {
    let length = cursor.be32()?;
    if !(10..=REQUEST).contains(&length) || cursor.be16()? > KINDS || cursor.be16()? > VERSIONS {
        return Some(None);
    }
    let correlation = cursor.be32()?;
    let sound = match cursor.be16()? {
        u16::MAX => true,
        name @ 0..=255 => {
            u32::from(name) < length
                && cursor.take(usize::from(name))?.iter().all(|&b| b == b' ' || b.is_ascii_graphic())
        }
        _ => false,
    };
    Some(sound.then_some(correlation))
}
