//! The flat JSON form of a flow, as the `flows` command prints it and agents ship it.
//!
//! Writing borrows, since every flow is written; reading owns.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    AuthWord, Certificate, Class, ClientAuth, Close, Endpoint, Evidence, Flow, FlowId, Outcome, PerSide,
    Presented, Proof, Protocol, Reason, Security, TcpHandshake, Timestamp, TlsSession, TlsVersion, Transport,
    Tunnel, Upgrade, Withheld,
};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireForm<'a> {
    id: FlowId,
    start: Timestamp,
    end: Timestamp,
    transport: Transport,
    client: Endpoint,
    server: Endpoint,
    /// Follows from the ends: written, and not read back.
    #[serde(skip_deserializing)]
    community_id: Cow<'a, str>,
    #[serde(default)]
    tcp_handshake: Option<TcpHandshake>,
    tunnel: Cow<'a, [Tunnel]>,
    #[serde(default)]
    seen_at: Cow<'a, [String]>,
    class: Class,
    proof: Proof,
    reason: Option<Reason>,
    protocol: Option<Protocol>,
    upgrade: Option<Upgrade>,
    tls: Option<TlsForm<'a>>,
    from_start: bool,
    close: Close,
    packets: PerSide,
    bytes: PerSide,
}

#[derive(Debug, Serialize, Deserialize)]
struct TlsForm<'a> {
    version: Option<TlsVersion>,
    quic: Option<Cow<'a, str>>,
    sni: Option<Cow<'a, str>>,
    alpn_offered: Cow<'a, [String]>,
    alpn: Option<Cow<'a, str>>,
    cipher: Option<Cow<'a, str>>,
    group: Option<Cow<'a, str>>,
    resumed: Option<bool>,
    outcome: Outcome,
    client_auth: AuthWord,
    ja4: Option<Cow<'a, str>>,
    ech: bool,
    early_data: bool,
    hello_retry: bool,
    client_certificate: Option<Cow<'a, Certificate>>,
    server_certificate: Option<Cow<'a, Certificate>>,
}

impl Serialize for Flow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Evidence { proof, reason } = self.security.evidence();
        let tls = match &self.security {
            Security::Tls(session, client) => Some(TlsForm::new(session, *client)),
            Security::Plaintext(_) | Security::Opaque(_) | Security::Unknown(_) => None,
        };
        let community_id = self.community_id().text();
        let form = WireForm {
            id: self.id,
            start: self.start,
            end: self.end,
            transport: self.transport,
            client: self.client,
            server: self.server,
            community_id: String::from_utf8_lossy(&community_id),
            tcp_handshake: self.tcp_handshake,
            tunnel: Cow::Borrowed(&self.tunnel),
            seen_at: Cow::Borrowed(&self.seen_at),
            class: self.security.class(),
            proof,
            reason,
            protocol: self.protocol,
            upgrade: self.upgrade,
            tls,
            from_start: self.from_start,
            close: self.close,
            packets: self.packets,
            bytes: self.bytes,
        };
        form.serialize(serializer)
    }
}

impl TryFrom<WireForm<'_>> for Flow {
    type Error = String;

    fn try_from(form: WireForm<'_>) -> Result<Self, Self::Error> {
        let evidence = Evidence { proof: form.proof, reason: form.reason };
        let security = match (form.class, form.tls) {
            (Class::Plaintext, None) => Security::Plaintext(evidence),
            (Class::Opaque, None) => Security::Opaque(evidence),
            (Class::Unknown, None) => {
                Security::Unknown(form.reason.ok_or("an unknown class needs a reason")?)
            }
            (class @ (Class::Tls | Class::Mtls), Some(tls)) => {
                let (session, client) = tls.split(evidence)?;
                let security = Security::Tls(Arc::new(session), client);
                if security.class() != class {
                    return Err(format!("class {class} does not fit the client authentication"));
                }
                security
            }
            (class, tls) => {
                return Err(format!(
                    "class {class} with{} a tls object",
                    if tls.is_some() { "" } else { "out" }
                ));
            }
        };
        Ok(Self {
            id: form.id,
            start: form.start,
            end: form.end,
            transport: form.transport,
            client: form.client,
            server: form.server,
            tunnel: form.tunnel.into_owned(),
            seen_at: form.seen_at.into_owned(),
            security,
            protocol: form.protocol,
            upgrade: form.upgrade,
            from_start: form.from_start,
            tcp_handshake: form.tcp_handshake,
            close: form.close,
            packets: form.packets,
            bytes: form.bytes,
        })
    }
}

impl<'a> TlsForm<'a> {
    fn new(session: &'a TlsSession, client: ClientAuth) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed);
        Self {
            version: session.version,
            quic: text(&session.quic),
            sni: text(&session.sni),
            alpn_offered: Cow::Borrowed(&session.alpn_offered),
            alpn: text(&session.alpn),
            cipher: session.cipher.as_deref().map(Cow::Borrowed),
            group: session.group.as_deref().map(Cow::Borrowed),
            resumed: session.resumed,
            outcome: session.outcome,
            client_auth: client.word(),
            ja4: text(&session.ja4),
            ech: session.ech,
            early_data: session.early_data,
            hello_retry: session.hello_retry,
            client_certificate: session.client_certificate.as_deref().map(Cow::Borrowed),
            server_certificate: session.server_certificate.as_deref().map(Cow::Borrowed),
        }
    }

    fn split(self, evidence: Evidence) -> Result<(TlsSession, ClientAuth), String> {
        let client = match self.client_auth {
            AuthWord::Certificate => ClientAuth::Proved(Presented::Sent, evidence),
            AuthWord::Rejected => ClientAuth::Proved(Presented::Rejected, evidence),
            AuthWord::Absent => ClientAuth::Refuted(Withheld::Absent, evidence),
            AuthWord::Declined => ClientAuth::Refuted(Withheld::Declined, evidence),
            AuthWord::Unknown => {
                ClientAuth::Hidden(evidence.reason.ok_or("an unknown client authentication needs a reason")?)
            }
        };
        let text = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        let session = TlsSession {
            version: self.version,
            quic: text(self.quic),
            sni: text(self.sni),
            alpn_offered: self.alpn_offered.into_owned(),
            alpn: text(self.alpn),
            cipher: text(self.cipher).map(Cow::Owned),
            group: text(self.group).map(Cow::Owned),
            resumed: self.resumed,
            outcome: self.outcome,
            ja4: text(self.ja4),
            ech: self.ech,
            early_data: self.early_data,
            hello_retry: self.hello_retry,
            client_certificate: self.client_certificate.map(|certificate| Arc::new(certificate.into_owned())),
            server_certificate: self.server_certificate.map(|certificate| Arc::new(certificate.into_owned())),
        };
        Ok((session, client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JsonWriter;
    use crate::{Protocol, Reason};

    fn sample(security: Security) -> Flow {
        let end = |ip: &str, port| Endpoint { ip: ip.parse().unwrap(), port };
        Flow {
            id: FlowId(7),
            start: Timestamp::from_nanos(1),
            end: Timestamp::from_nanos(2),
            transport: Transport::Tcp,
            client: end("192.0.2.1", 40000),
            server: end("2001:db8::1", 443),
            tunnel: vec![Tunnel::Vlan(12), Tunnel::Vxlan(4096), Tunnel::Gre],
            seen_at: vec!["eth0".into()],
            security,
            protocol: Some(Protocol::Http1),
            upgrade: Some(Upgrade::Postgres),
            from_start: true,
            tcp_handshake: Some(TcpHandshake(0x0123_4567_89ab_cdef)),
            close: Close::Fin,
            packets: PerSide { client: 3, server: 4 },
            bytes: PerSide { client: 5, server: 6 },
        }
    }

    #[test]
    fn every_kind_of_security_reads_back() {
        let strong = Evidence::because(Proof::Strong, Reason::FlightSize);
        let session =
            TlsSession { version: Some(TlsVersion::Tls13), sni: Some("a".into()), ..TlsSession::default() };
        let clients = [
            ClientAuth::Proved(Presented::Sent, strong),
            ClientAuth::Proved(Presented::Rejected, Evidence::WIRE),
            ClientAuth::Refuted(Withheld::Absent, strong),
            ClientAuth::Refuted(Withheld::Declined, Evidence::WIRE),
            ClientAuth::Hidden(Reason::Resumed),
        ];
        let mut all = vec![
            Security::Plaintext(Evidence::WIRE),
            Security::Opaque(Evidence::WIRE),
            Security::Unknown(Reason::MidStream),
        ];
        all.extend(clients.map(|client| Security::Tls(Arc::new(session.clone()), client)));
        for security in all {
            let flow = sample(security);
            let text = serde_json::to_string(&flow).unwrap();
            assert_eq!(serde_json::from_str::<Flow>(&text).unwrap(), flow, "{text}");
            assert_eq!(line(&flow), text);
        }
    }

    /// The flow as it is written by hand.
    fn line(flow: &Flow) -> String {
        let mut line = Vec::new();
        flow.write_json(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn both_ways_of_writing_agree() {
        let odd = "a \"b\" \\ \u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f} \u{7f} é \u{1f512}".to_owned();
        let certificate = Certificate {
            subject: odd.clone(),
            issuer: String::new(),
            sans: vec!["dns:a".into(), odd.clone()],
            spiffe_id: Some("spiffe://cluster.local/ns/a/sa/b".into()),
            not_before: Some(Timestamp::from_nanos(-1)),
            not_after: None,
            key: "rsa-2048".into(),
            chain: 3,
        };
        let session = TlsSession {
            version: Some(TlsVersion::Tls12),
            quic: Some("v1".into()),
            sni: Some(odd.clone()),
            alpn_offered: vec!["h2".into(), odd],
            alpn: Some("h2".into()),
            cipher: Some("TLS_AES_128_GCM_SHA256".into()),
            group: Some("x25519".into()),
            resumed: Some(true),
            outcome: Outcome::Failed,
            ja4: Some("t13d".into()),
            ech: true,
            early_data: true,
            hello_retry: true,
            client_certificate: Some(Arc::new(certificate.clone())),
            server_certificate: Some(Arc::new(certificate)),
        };
        let mut flow = sample(Security::Tls(Arc::new(session), ClientAuth::Hidden(Reason::Resumed)));
        flow.id = FlowId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        flow.bytes = PerSide { client: u64::MAX, server: 0 };
        flow.packets = PerSide { client: 10, server: 1_000_000_007 };
        assert_eq!(line(&flow), serde_json::to_string(&flow).unwrap());
        flow.tunnel.clear();
        flow.seen_at = vec!["eth0".into(), "\"".into()];
        (flow.protocol, flow.upgrade, flow.from_start, flow.tcp_handshake) = (None, None, false, None);
        assert_eq!(line(&flow), serde_json::to_string(&flow).unwrap());
    }

    #[test]
    fn a_writer_says_the_same_of_every_flow_however_many_sessions_there_are() {
        let session = |number: usize| {
            let sni = Some(format!("host-{number}.example"));
            Arc::new(TlsSession { sni, ..TlsSession::default() })
        };
        // More than it remembers, some of them gone when others come to stand in their places.
        let kept: Vec<_> = (0..800).map(session).collect();
        let mut writer = JsonWriter::default();
        for number in 0..4_000 {
            let session = if number % 3 == 0 { session(number) } else { kept[number % 800].clone() };
            let client = if number % 2 == 0 {
                ClientAuth::Hidden(Reason::Resumed)
            } else {
                ClientAuth::Proved(Presented::Sent, Evidence::WIRE)
            };
            let flow = sample(Security::Tls(session, client));
            let mut text = Vec::new();
            writer.write(&flow, &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), line(&flow));
        }
    }

    #[test]
    fn a_class_that_its_evidence_does_not_carry_is_refused() {
        let session = Arc::new(TlsSession::default());
        let flow = sample(Security::Tls(session, ClientAuth::Hidden(Reason::Resumed)));
        let text = serde_json::to_string(&flow).unwrap().replace(r#""class":"tls""#, r#""class":"mtls""#);
        assert!(serde_json::from_str::<Flow>(&text).unwrap_err().to_string().contains("does not fit"));
    }
}
