//! WebSocket (RFC 6455 section 4): an HTTP/1.1 request to upgrade that the server granted.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::http1::{Exchange, exchange};
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::WebSocket,
    form: Form::Readable,
    carriers: TCP,
    ports: &[],
    probe,
    sample: &[
        (
            Side::Client,
            b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        ),
        (
            Side::Server,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        ),
    ],
};

fn probe(opening: &Opening<'_>) -> Probe {
    answer(match exchange(opening) {
        Exchange::Not | Exchange::Http => Some(false),
        Exchange::Open => None,
        Exchange::WebSocket => Some(true),
    })
}
