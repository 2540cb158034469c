//! HTTP/2 with prior knowledge (RFC 9113), by the client's connection preface.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::cursor::Cursor;
use super::text::find;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Http2,
    form: Form::Readable,
    carriers: TCP,
    ports: &[80, 8080, 2379],
    probe,
    sample: &[
        (
            Side::Client,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\
              \x00\x00\x0b\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x86\xa0\xe4\x1d\x13\x9d\x09",
        ),
        (Side::Server, b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
    ],
};

/// The connection preface (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How far the client's first request is waited for.
const FIRST_REQUEST: usize = 4096;
/// In how many frames it is looked for.
const FRAMES: usize = 64;
/// `application/grpc` as HPACK writes it (RFC 7541 appendix B); it ends on an octet, so that suffixes may follow.
const GRPC_HUFFMAN: &[u8] = b"\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65\x64";
const GRPC_LITERAL: &[u8] = b"application/grpc";

/// What runs over HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Session {
    /// It is no HTTP/2.
    Not,
    /// Too few bytes.
    Open,
    /// HTTP/2.
    Http2,
    /// Its first request has gRPC's content type.
    Grpc,
}

/// Reads the preface and the first request's header block.
pub(super) fn session(opening: &Opening<'_>) -> Session {
    if opening.server_only() {
        return match server_preface(opening.server) {
            Some(true) => Session::Http2,
            Some(false) => Session::Not,
            None => Session::Open,
        };
    }
    let mut cursor = Cursor::new(opening.client);
    match cursor.magic(PREFACE) {
        Some(true) => {}
        Some(false) if !opening.from_start && framed(opening.client) && framed(opening.server) => {
            return Session::Http2;
        }
        Some(false) => return Session::Not,
        None => return Session::Open,
    }
    match first_request(&mut cursor) {
        Some(block) if find(block, GRPC_HUFFMAN).or_else(|| find(block, GRPC_LITERAL)).is_some() => {
            Session::Grpc
        }
        Some(_) => Session::Http2,
        None if opening.ended || opening.client.len() > FIRST_REQUEST => Session::Http2,
        None => Session::Open,
    }
}

fn probe(opening: &Opening<'_>) -> Probe {
    answer(match session(opening) {
        Session::Not | Session::Grpc => Some(false),
        Session::Open => None,
        Session::Http2 => Some(true),
    })
}

/// Returns the payload of the first HEADERS frame (RFC 9113 section 6.2); empty if there is none early.
fn first_request<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    for _ in 0..FRAMES {
        let length = usize::try_from(cursor.be24()?).ok()?;
        let kind = cursor.u8()?;
        cursor.take(5)?;
        let payload = cursor.take(length)?;
        if kind == 1 {
            return Some(payload);
        }
    }
    Some(&[])
}

/// A server's preface is a SETTINGS frame on stream 0 (RFC 9113 section 3.4).
fn server_preface(bytes: &[u8]) -> Option<bool> {
    let mut cursor = Cursor::new(bytes);
    let length = cursor.be24()?;
    Some(length % 6 == 0 && length <= 600 && cursor.u8()? == 4 && cursor.u8()? == 0 && cursor.be32()? == 0)
}

/// Tells whether bytes from the middle of a connection are a chain of valid frames, at least three of them.
fn framed(bytes: &[u8]) -> bool {
    let mut cursor = Cursor::new(bytes);
    let mut frames = 0_u8;
    while frames < 3 {
        match frame(&mut cursor) {
            Some(true) => frames = frames.saturating_add(1),
            Some(false) | None => return false,
        }
    }
    true
}

fn frame(cursor: &mut Cursor<'_>) -> Option<bool> {
    let length = cursor.be24()?;
    let kind = cursor.u8()?;
    cursor.u8()?;
    let stream = cursor.be32()?;
    let fits = match kind {
        0 | 1 => stream != 0,
        2 => stream != 0 && length == 5,
        3 => stream != 0 && length == 4,
        4 => stream == 0 && length % 6 == 0,
        6 => stream == 0 && length == 8,
        7 => stream == 0 && length >= 8,
        8 => length == 4,
        _ => false,
    };
    if !fits || stream >= 1 << 31 || length > 1 << 14 {
        return Some(false);
    }
    cursor.take(usize::try_from(length).ok()?)?;
    Some(true)
}
