//! gRPC: HTTP/2 whose first request says `content-type: application/grpc`.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::http2::{Session, session};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Grpc,
    form: Form::Readable,
    carriers: TCP,
    ports: &[],
    probe,
    sample: &[
        (
            Side::Client,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\
              \x00\x00\x10\x01\x04\x00\x00\x00\x01\x83\x86\x84\x5f\x8b\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65\x64",
        ),
        (Side::Server, b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
    ],
};

fn probe(opening: &Opening<'_>) -> Probe {
    answer(match session(opening) {
        Session::Not | Session::Http2 => Some(false),
        Session::Open => None,
        Session::Grpc => Some(true),
    })
}
