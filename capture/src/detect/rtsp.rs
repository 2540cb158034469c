//! RTSP (RFC 7826): a request line of version 1.0 or 2.0.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::first_line;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Rtsp,
    form: Form::Readable,
    carriers: TCP,
    ports: &[554],
    probe,
    sample: &[(Side::Client, b"OPTIONS rtsp://camera.example.org/1 RTSP/1.0\r\nCSeq: 1\r\n\r\n")],
};

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.server_only() {
        return answer(first_line(opening.server, |text| {
            text.starts_with(b"RTSP/1.0 ") || text.starts_with(b"RTSP/2.0 ")
        }));
    }
    if opening.client.first().is_some_and(|first| !first.is_ascii_uppercase()) {
        return Probe::No;
    }
    answer(first_line(opening.client, |text| text.ends_with(b" RTSP/1.0") || text.ends_with(b" RTSP/2.0")))
}
