//! NATS client protocol: the server's INFO line comes first.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::first_line;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Nats,
    form: Form::Readable,
    carriers: TCP,
    ports: &[4222],
    probe,
    sample: &[
        (Side::Server, b"INFO {\"server_id\":\"NDHBLLCIGK3PQKD5RUAUPCZAO6HCLQC4\",\"version\":\"2.10.7\",\"max_payload\":1048576}\r\n"),
        (Side::Client, b"CONNECT {\"verbose\":false}\r\nPING\r\n"),
    ],
};

fn probe(opening: &Opening<'_>) -> Probe {
    let info = |bytes: &[u8]| {
        let mut cursor = super::cursor::Cursor::new(bytes);
        Some(cursor.magic(b"INFO ")? && matches!(cursor.u8()?, b'{' | b' '))
    };
    let asked = |bytes: &[u8]| first_line(bytes, |text| text.starts_with(b"CONNECT {"));
    match info(opening.server) {
        Some(true) => Probe::Yes,
        Some(false) | None if opening.server.is_empty() && !opening.client.is_empty() => {
            answer(asked(opening.client))
        }
        settled => answer(settled),
    }
}
