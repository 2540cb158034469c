//! XMPP (RFC 6120 section 4.2): the stream's opening tag.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, TCP, answer};
use super::text::find;
use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Xmpp,
    form: Form::Readable,
    carriers: TCP,
    ports: &[5222, 5269],
    probe,
    sample: &[(
        Side::Client,
        b"<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client' \
          xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
    )],
};

/// How far the opening tag is looked for.
const TAG: usize = 1024;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.server_only() {
        return answer(stream(opening.server));
    }
    let seen = opening.client.get(..TAG).unwrap_or(opening.client);
    // Only a server has features: then it was taken for the client (RFC 6120 section 4.3.2).
    if find(seen, b"<stream:features").is_some() {
        return Probe::No;
    }
    let joined_late = !opening.from_start && seen.trim_ascii_start().starts_with(b"<starttls");
    answer(if joined_late { Some(true) } else { stream(seen) })
}

fn stream(bytes: &[u8]) -> Option<bool> {
    let seen = bytes.get(..TAG).unwrap_or(bytes);
    let first = seen.iter().copied().find(|byte| !byte.is_ascii_whitespace())?;
    if first != b'<' {
        return Some(false);
    }
    if find(seen, b"<stream:stream").is_some() && find(seen, b"jabber").is_some() {
        return Some(true);
    }
    let impossible =
        seen.len() == TAG || seen.iter().any(|&b| b.is_ascii_control() && !b.is_ascii_whitespace());
    impossible.then_some(false)
}
