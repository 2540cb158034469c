//! A flow as one line of JSON, written straight into bytes.
//!
//! The same text that serde makes of it, which a test holds this to, in a tenth of the instructions: `flows` and the
//! agents write one for every connection, and there it is what costs most.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::{Certificate, Endpoint, Evidence, Flow, Security, TlsSession, Tunnel};

impl Flow {
    /// Appends the flow's JSON to `out`, without a line break.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let Evidence { proof, reason } = self.security.evidence();
        let mut json = Json(out);
        json.raw("{\"id\":\"");
        json.0.extend_from_slice(&self.id.hex());
        json.raw("\",\"start\":");
        json.time(self.start);
        json.raw(",\"end\":");
        json.time(self.end);
        json.raw(",\"transport\":");
        json.name(self.transport.name());
        json.raw(",\"client\":");
        json.endpoint(self.client);
        json.raw(",\"server\":");
        json.endpoint(self.server);
        json.raw(",\"tunnel\":");
        json.list(&self.tunnel, |json, tunnel| json.tunnel(*tunnel));
        json.raw(",\"seen_at\":");
        json.list(&self.seen_at, |json, point| json.text(point));
        json.raw(",\"class\":");
        json.name(self.security.class().name());
        json.raw(",\"proof\":");
        json.name(proof.name());
        json.raw(",\"reason\":");
        json.optional(reason, |json, reason| json.name(reason.name()));
        json.raw(",\"protocol\":");
        json.optional(self.protocol, |json, protocol| json.name(protocol.name()));
        json.raw(",\"upgrade\":");
        json.optional(self.upgrade, |json, upgrade| json.name(upgrade.name()));
        json.raw(",\"tls\":");
        match &self.security {
            Security::Tls(session, client) => json.session(session, client.word().name()),
            Security::Plaintext(_) | Security::Opaque(_) | Security::Unknown(_) => json.raw("null"),
        }
        json.raw(",\"from_start\":");
        json.boolean(self.from_start);
        json.raw(",\"close\":");
        json.name(self.close.name());
        for (key, both) in [(",\"packets\":", self.packets), (",\"bytes\":", self.bytes)] {
            json.raw(key);
            json.raw("{\"client\":");
            json.number(both.client);
            json.raw(",\"server\":");
            json.number(both.server);
            json.raw("}");
        }
        json.raw("}");
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
        let plain = text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
        if plain {
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

    fn number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut begin = digits.len();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            begin -= 1;
            if number == 0 {
                break;
            }
        }
        self.0.extend_from_slice(digits.get(begin..).unwrap_or_default());
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
            IpAddr::V4(ip) => {
                for (at, octet) in ip.octets().into_iter().enumerate() {
                    if at > 0 {
                        self.raw(".");
                    }
                    self.number(u64::from(octet));
                }
            }
            IpAddr::V6(ip) => self.display(ip),
        }
        self.raw("\",\"port\":");
        self.number(u64::from(end.port));
        self.raw("}");
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

    fn session(&mut self, session: &TlsSession, client_auth: &str) {
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
        self.raw(",\"outcome\":");
        self.name(session.outcome.name());
        self.raw(",\"client_auth\":");
        self.name(client_auth);
        self.raw(",\"ja4\":");
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
