//! The PROXY protocol (versions 1 and 2, HAProxy's specification): a header before anything else, which is stripped.

use flow::Upgrade;

use super::super::cursor::Cursor;
use super::super::text::find;
use super::super::{Detected, Opening, Progress, moved, recognise, unrecognised};

/// Longest header of version 1, its line ending included.
const LINE: usize = 107;
/// Signature of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Detects what follows a PROXY header; `None` when there is none.
pub(crate) fn strip(opening: &Opening<'_>, nested: u8, progress: &mut Progress) -> Option<Detected> {
    let (length, version) = match (version1(opening.client), version2(opening.client)) {
        (Header::Whole(length), _) => (length, Upgrade::ProxyV1),
        (_, Header::Whole(length)) => (length, Upgrade::ProxyV2),
        (Header::Open, _) | (_, Header::Open) if !opening.ended => return Some(Detected::More),
        _ => return None,
    };
    let nested = nested.checked_sub(1)?;
    let inner = opening.inner(length, 0);
    if inner.client.is_empty() && inner.server.is_empty() {
        // A load balancer's health check sends the header alone, whatever else would have followed.
        return Some(Detected::More);
    }
    let (first, progress) = progress.inner((length, 0), inner.speaks());
    let inner = Opening { first, ..inner };
    let detected = recognise(&inner, nested, progress).unwrap_or_else(|| unrecognised(&inner));
    Some(moved(detected, version, length, 0))
}

/// A header as far as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    Not,
    Open,
    Whole(usize),
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 1 2 CR LF`.
fn version1(bytes: &[u8]) -> Header {
    match Cursor::new(bytes).magic(b"PROXY ") {
        Some(true) => {}
        Some(false) => return Header::Not,
        None => return Header::Open,
    }
    let seen = bytes.get(..LINE).unwrap_or(bytes);
    match find(seen, b"\r\n") {
        Some(end) => Header::Whole(end.saturating_add(2)),
        None if seen.len() == LINE => Header::Not,
        None => Header::Open,
    }
}

/// Signature, version and command, family, length of what follows.
fn version2(bytes: &[u8]) -> Header {
    let mut cursor = Cursor::new(bytes);
    let mut read = || {
        if !cursor.magic(SIGNATURE)? || cursor.u8()? >> 4 != 2 {
            return Some(None);
        }
        cursor.u8()?;
        let length = usize::from(cursor.be16()?);
        cursor.take(length)?;
        Some(Some(length.saturating_add(16)))
    };
    match read() {
        Some(Some(length)) => Header::Whole(length),
        Some(None) => Header::Not,
        None => Header::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_versions() {
        let check1 = |bytes: &[u8], expected| assert_eq!(version1(bytes), expected, "{bytes:?}");
        check1(b"PROXY UNKNOWN\r\nGET", Header::Whole(15));
        check1(b"PROXY TCP4 ", Header::Open);
        check1(b"PROX", Header::Open);
        check1(b"GET /", Header::Not);
        check1(&[&b"PROXY "[..], &[b'x'; 200]].concat(), Header::Not);
        let check2 = |bytes: &[u8], expected| assert_eq!(version2(bytes), expected, "{bytes:?}");
        check2(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00GET", Header::Whole(16));
        check2(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0cabcdefghijkl", Header::Whole(28));
        check2(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0cab", Header::Open);
        check2(b"\r\n\r\n\0\r\nQUIT\n\x11\x11\x00\x00", Header::Not);
    }
}
