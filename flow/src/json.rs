//! A flow as one line of JSON, written straight into bytes.
//!
//! The same text that serde makes of it, which a test holds this to, in a tenth of the instructions: `flows` and the
//! agents write one for every connection, and there it is what costs most.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use crate::digits::{Digits, Dotted};
use crate::{Certificate, Endpoint, Evidence, Flow, Security, TcpHandshake, TlsSession, Tunnel};

/// How many sessions a writer remembers the text of, at most: a power of two.
const SESSIONS: usize = 512;

/// Writes flows as JSON. What the engine found many times is one in memory, and its text is made once.
#[derive(Debug, Default)]
pub struct JsonWriter {
    sessions: Vec<Option<Known>>,
}

/// A session, and its text up to the word on the client's certificate, which is each flow's own, and from there on.
#[derive(Debug)]
struct Known {
    /// Kept, so that nothing else comes to stand where it does.
    session: Arc<TlsSession>,
    text: Vec<u8>,
    split: usize,
}

impl JsonWriter {
    /// Appends a flow's JSON to `out`, without a line break.
    pub fn write(&mut self, flow: &Flow, out: &mut Vec<u8>) {
        flow.write(out, |json, session, client_auth| {
            let (before, after) = self.session(session);
            json.0.extend_from_slice(before);
            json.raw(client_auth);
            json.0.extend_from_slice(after);
        });
    }

    /// Returns both parts of a session's text.
    fn session(&mut self, session: &Arc<TlsSession>) -> (&[u8], &[u8]) {
        if self.sessions.is_empty() {
            self.sessions.resize_with(SESSIONS, || None);
        }
        // Multiplied by digits of the golden ratio, the upper bits depend on all of where it stands.
        let mixed = (Arc::as_ptr(session).addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = (mixed >> 32) as usize % SESSIONS;
        let Some(known) = self.sessions.get_mut(place) else { return (&[], &[]) };
        if known.as_ref().is_some_and(|known| !Arc::ptr_eq(&known.session, session)) {
            *known = None;
        }
        let Known { text, split, .. } = known.get_or_insert_with(|| {
            let (mut text, mut split) = (Vec::new(), 0);
            Json(&mut text).session(session, |json| split = json.0.len());
            Known { session: session.clone(), text, split }
        });
        text.split_at_checked(*split).unwrap_or_default()
    }
}

impl Flow {
    /// Appends the flow's JSON to `out`, without a line break. A [`JsonWriter`] is quicker for many.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        self.write(out, |json, session, client_auth| json.session(session, |json| json.raw(client_auth)));
    }

    /// Appends what the flow does not share with one that was written before ([`crate::delivery::Like`]).
    pub(crate) fn write_like(&self, like: usize, out: &mut Vec<u8>) {
        let mut json = Json(out);
        json.raw(crate::delivery::LIKE);
        json.number(like as u64);
        json.raw(",\"id\":\"");
        json.0.extend_from_slice(&self.id.hex());
        json.raw("\",\"start\":");
        json.time(self.start);
        json.raw(",\"end\":");
        json.time(self.end);
        json.raw(",\"client\":");
        json.endpoint(self.client);
        json.raw(",\"server\":");
        json.endpoint(self.server);
        json.raw(",\"tcp_handshake\":");
        json.handshake(self.tcp_handshake);
        json.totals(self);
    }

    /// Writes the flow, and its session of TLS, if it has one, as is said with the word on the client's certificate.
    fn write(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Json<'_>, &Arc<TlsSession>, &str)) {
        let Evidence { proof, reason } = self.security.evidence();
        let mut json = Json(out);
        let mut head = *HEAD;
        fill(&mut head, 7, self.id.hex());
        fill(&mut head, 50, self.start.rfc3339());
        fill(&mut head, 89, self.end.rfc3339());
        json.0.extend_from_slice(&head);
        json.raw(self.transport.name());
        json.raw("\",\"client\":");
        json.endpoint(self.client);
        json.raw(",\"server\":");
        json.endpoint(self.server);
        json.raw(",\"community_id\":\"");
        json.0.extend_from_slice(&self.community_id().text());
        json.raw("\",\"tcp_handshake\":");
        json.handshake(self.tcp_handshake);
        if self.tunnel.is_empty() && self.seen_at.is_empty() {
            json.raw(",\"tunnel\":[],\"seen_at\":[],\"class\":\"");
        } else {
            json.raw(",\"tunnel\":");
            json.list(&self.tunnel, |json, tunnel| json.tunnel(*tunnel));
            json.raw(",\"seen_at\":");
            json.list(&self.seen_at, |json, point| json.text(point));
            json.raw(",\"class\":\"");
        }
        json.raw(self.security.class().name());
        json.raw("\",\"proof\":\"");
        json.raw(proof.name());
        json.raw("\",\"reason\":");
        json.optional(reason, |json, reason| json.name(reason.name()));
        json.raw(",\"protocol\":");
        json.optional(self.protocol, |json, protocol| json.name(protocol.name()));
        json.raw(",\"upgrade\":");
        json.optional(self.upgrade, |json, upgrade| json.name(upgrade.name()));
        json.raw(",\"tls\":");
        match &self.security {
            Security::Tls(session, client) => write(&mut json, session, client.word().name()),
            Security::Plaintext(_) | Security::Opaque(_) | Security::Unknown(_) => json.raw("null"),
        }
        json.raw(if self.from_start { ",\"from_start\":true" } else { ",\"from_start\":false" });
        json.totals(self);
    }
}

/// What every line begins with: its length does not change.
const HEAD: &[u8; 134] = b"{\"id\":\"00000000000000000000000000000000\",\"start\":\"0000-00-00T00:00:00.000000000Z\",\"end\":\"0000-00-00T00:00:00.000000000Z\",\"transport\":\"";

/// Fills in a part of fixed length.
fn fill<const N: usize>(text: &mut [u8], at: usize, part: [u8; N]) {
    if let Some(place) = text.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = part;
    }
}

/// Where JSON goes to.
struct Json<'a>(&'a mut Vec<u8>);

impl Json<'_> {
    /// Appends what is JSON already.
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Appends a word of ours, none of which has a character to escape.
    fn name(&mut self, name: &str) {
        self.raw("\"");
        self.raw(name);
        self.raw("\"");
    }

    fn text(&mut self, text: &str) {
        if plain(text.as_bytes()) {
            self.name(text);
            return;
        }
        self.raw("\"");
        for character in text.chars() {
            match character {
                '"' => self.raw("\\\""),
                '\\' => self.raw("\\\\"),
                '\n' => self.raw("\\n"),
                '\r' => self.raw("\\r"),
                '\t' => self.raw("\\t"),
                '\u{8}' => self.raw("\\b"),
                '\u{c}' => self.raw("\\f"),
                control @ '\0'..='\u{1f}' => {
                    let mut escape = String::new();
                    // Writing to a String cannot fail.
                    let _ = write!(escape, "\\u{:04x}", u32::from(control));
                    self.raw(&escape);
                }
                other => self.raw(other.encode_utf8(&mut [0; 4])),
            }
        }
        self.raw("\"");
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(Digits::of(number).bytes());
    }

    fn boolean(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }

    fn time(&mut self, time: crate::Timestamp) {
        self.raw("\"");
        self.0.extend_from_slice(&time.rfc3339());
        self.raw("\"");
    }

    fn endpoint(&mut self, end: Endpoint) {
        self.raw("{\"ip\":\"");
        match end.ip {
            IpAddr::V4(ip) => self.0.extend_from_slice(Dotted::of(ip).bytes()),
            IpAddr::V6(ip) => self.display(ip),
        }
        self.raw("\",\"port\":");
        self.number(u64::from(end.port));
        self.raw("}");
    }

    fn handshake(&mut self, handshake: Option<TcpHandshake>) {
        self.optional(handshake, |json, handshake| {
            json.raw("\"");
            json.0.extend_from_slice(&handshake.hex());
            json.raw("\"");
        });
    }

    /// Appends what a flow ends with: how it stands, and what was counted.
    fn totals(&mut self, flow: &Flow) {
        self.raw(",\"close\":\"");
        self.raw(flow.close.name());
        self.raw("\",\"packets\":{\"client\":");
        self.number(flow.packets.client);
        self.raw(",\"server\":");
        self.number(flow.packets.server);
        self.raw("},\"bytes\":{\"client\":");
        self.number(flow.bytes.client);
        self.raw(",\"server\":");
        self.number(flow.bytes.server);
        self.raw("}}");
    }

    fn tunnel(&mut self, tunnel: Tunnel) {
        self.raw("\"");
        self.display(tunnel);
        self.raw("\"");
    }

    /// Appends what displays without a character to escape.
    fn display(&mut self, value: impl std::fmt::Display) {
        // Writing to memory cannot fail.
        let _ = std::io::Write::write_fmt(self.0, format_args!("{value}"));
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.raw("null"),
        }
    }

    fn list<T>(&mut self, values: &[T], write: impl Fn(&mut Self, &T)) {
        self.raw("[");
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                self.raw(",");
            }
            write(self, value);
        }
        self.raw("]");
    }

    /// Appends a session, and where it is due, what is said of the client's certificate.
    fn session(&mut self, session: &TlsSession, client_auth: impl FnOnce(&mut Self)) {
        self.raw("{\"version\":");
        self.optional(session.version, |json, version| json.name(version.name()));
        self.raw(",\"quic\":");
        self.optional(session.quic.as_deref(), Self::text);
        self.raw(",\"sni\":");
        self.optional(session.sni.as_deref(), Self::text);
        self.raw(",\"alpn_offered\":");
        self.list(&session.alpn_offered, |json, name| json.text(name));
        self.raw(",\"alpn\":");
        self.optional(session.alpn.as_deref(), Self::text);
        self.raw(",\"cipher\":");
        self.optional(session.cipher.as_deref(), Self::text);
        self.raw(",\"group\":");
        self.optional(session.group.as_deref(), Self::text);
        self.raw(",\"resumed\":");
        self.optional(session.resumed, Self::boolean);
        self.raw(",\"outcome\":\"");
        self.raw(session.outcome.name());
        self.raw("\",\"client_auth\":\"");
        client_auth(self);
        self.raw("\",\"ja4\":");
        self.optional(session.ja4.as_deref(), Self::text);
        self.raw(",\"ech\":");
        self.boolean(session.ech);
        self.raw(",\"early_data\":");
        self.boolean(session.early_data);
        self.raw(",\"hello_retry\":");
        self.boolean(session.hello_retry);
        self.raw(",\"client_certificate\":");
        self.optional(session.client_certificate.as_deref(), Self::certificate);
        self.raw(",\"server_certificate\":");
        self.optional(session.server_certificate.as_deref(), Self::certificate);
        self.raw("}");
    }

    fn certificate(&mut self, certificate: &Certificate) {
        self.raw("{\"subject\":");
        self.text(&certificate.subject);
        self.raw(",\"issuer\":");
        self.text(&certificate.issuer);
        self.raw(",\"sans\":");
        self.list(&certificate.sans, |json, name| json.text(name));
        self.raw(",\"spiffe_id\":");
        self.optional(certificate.spiffe_id.as_deref(), Self::text);
        self.raw(",\"not_before\":");
        self.optional(certificate.not_before, Self::time);
        self.raw(",\"not_after\":");
        self.optional(certificate.not_after, Self::time);
        self.raw(",\"key\":");
        self.text(&certificate.key);
        self.raw(",\"chain\":");
        self.number(certificate.chain as u64);
        self.raw("}");
    }
}

/// Tells whether a string stands for itself: no control character, quote or backslash, looked for eight bytes at a time.
fn plain(text: &[u8]) -> bool {
    /// The same byte eight times.
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    /// Sets the upper bit of a byte of the result where the word has a zero byte; never elsewhere if there is none.
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(all(1)) & !word & all(0x80)
    }
    let special = |word: u64| {
        let control = word.wrapping_sub(all(0x20)) & !word & all(0x80);
        control | zeros(word ^ all(b'"')) | zeros(word ^ all(b'\\'))
    };
    let (words, rest) = text.as_chunks();
    let found = words.iter().fold(0, |found, word| found | special(u64::from_ne_bytes(*word)));
    match text.last_chunk() {
        // The last eight bytes, some of them seen already, are quicker than the last few one by one.
        Some(last) => found | special(u64::from_ne_bytes(*last)) == 0,
        None => rest.iter().all(|byte| *byte >= 0x20 && !matches!(byte, b'"' | b'\\')),
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn whatever_is_escaped_is_found_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for around in [b'a', b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff] {
                for at in 0..17 {
                    let mut text = [around; 17];
                    text[at] = byte;
                    let escaped = byte < 0x20 || byte == b'"' || byte == b'\\';
                    assert_eq!(plain(&text), !escaped, "{byte:#x} at {at} among {around:#x}");
                }
            }
        }
    }
}
