//! The flat JSON form of a flow, as the `flows` command prints it and agents ship it.

use serde::{Deserialize, Serialize};

use crate::{
    AuthWord, Certificate, Class, ClientAuth, Close, Endpoint, Evidence, Flow, FlowId, Outcome, PerSide,
    Presented, Proof, Protocol, Reason, Security, Timestamp, TlsSession, TlsVersion, Transport, Tunnel,
    Upgrade, Withheld,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WireForm {
    id: FlowId,
    start: Timestamp,
    end: Timestamp,
    transport: Transport,
    client: Endpoint,
    server: Endpoint,
    tunnel: Vec<Tunnel>,
    #[serde(default)]
    seen_at: Vec<String>,
    class: Class,
    proof: Proof,
    reason: Option<Reason>,
    protocol: Option<Protocol>,
    upgrade: Option<Upgrade>,
    tls: Option<TlsForm>,
    from_start: bool,
    close: Close,
    packets: PerSide,
    bytes: PerSide,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct TlsForm {
    version: Option<TlsVersion>,
    quic: Option<String>,
    sni: Option<String>,
    alpn_offered: Vec<String>,
    alpn: Option<String>,
    cipher: Option<String>,
    group: Option<String>,
    resumed: Option<bool>,
    outcome: Outcome,
    client_auth: AuthWord,
    ja4: Option<String>,
    ech: bool,
    early_data: bool,
    hello_retry: bool,
    client_certificate: Option<Certificate>,
    server_certificate: Option<Certificate>,
}

impl From<Flow> for WireForm {
    fn from(flow: Flow) -> Self {
        let class = flow.security.class();
        let Evidence { proof, reason } = flow.security.evidence();
        let tls = match flow.security {
            Security::Tls(session, client) => Some(TlsForm::new(*session, client)),
            Security::Plaintext(_) | Security::Opaque(_) | Security::Unknown(_) => None,
        };
        Self {
            id: flow.id,
            start: flow.start,
            end: flow.end,
            transport: flow.transport,
            client: flow.client,
            server: flow.server,
            tunnel: flow.tunnel,
            seen_at: flow.seen_at,
            class,
            proof,
            reason,
            protocol: flow.protocol,
            upgrade: flow.upgrade,
            tls,
            from_start: flow.from_start,
            close: flow.close,
            packets: flow.packets,
            bytes: flow.bytes,
        }
    }
}

impl TryFrom<WireForm> for Flow {
    type Error = String;

    fn try_from(form: WireForm) -> Result<Self, Self::Error> {
        let evidence = Evidence { proof: form.proof, reason: form.reason };
        let security = match (form.class, form.tls) {
            (Class::Plaintext, None) => Security::Plaintext(evidence),
            (Class::Opaque, None) => Security::Opaque(evidence),
            (Class::Unknown, None) => {
                Security::Unknown(form.reason.ok_or("an unknown class needs a reason")?)
            }
            (class @ (Class::Tls | Class::Mtls), Some(tls)) => {
                let (session, client) = tls.split(evidence)?;
                let security = Security::Tls(Box::new(session), client);
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
            tunnel: form.tunnel,
            seen_at: form.seen_at,
            security,
            protocol: form.protocol,
            upgrade: form.upgrade,
            from_start: form.from_start,
            close: form.close,
            packets: form.packets,
            bytes: form.bytes,
        })
    }
}

impl TlsForm {
    fn new(session: TlsSession, client: ClientAuth) -> Self {
        let client_auth = client.word();
        Self {
            version: session.version,
            quic: session.quic,
            sni: session.sni,
            alpn_offered: session.alpn_offered,
            alpn: session.alpn,
            cipher: session.cipher,
            group: session.group,
            resumed: session.resumed,
            outcome: session.outcome,
            client_auth,
            ja4: session.ja4,
            ech: session.ech,
            early_data: session.early_data,
            hello_retry: session.hello_retry,
            client_certificate: session.client_certificate,
            server_certificate: session.server_certificate,
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
        let session = TlsSession {
            version: self.version,
            quic: self.quic,
            sni: self.sni,
            alpn_offered: self.alpn_offered,
            alpn: self.alpn,
            cipher: self.cipher,
            group: self.group,
            resumed: self.resumed,
            outcome: self.outcome,
            ja4: self.ja4,
            ech: self.ech,
            early_data: self.early_data,
            hello_retry: self.hello_retry,
            client_certificate: self.client_certificate,
            server_certificate: self.server_certificate,
        };
        Ok((session, client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        all.extend(clients.map(|client| Security::Tls(Box::new(session.clone()), client)));
        for security in all {
            let flow = sample(security);
            let text = serde_json::to_string(&flow).unwrap();
            assert_eq!(serde_json::from_str::<Flow>(&text).unwrap(), flow, "{text}");
        }
    }

    #[test]
    fn a_class_that_its_evidence_does_not_carry_is_refused() {
        let session = Box::new(TlsSession::default());
        let flow = sample(Security::Tls(session, ClientAuth::Hidden(Reason::Resumed)));
        let text = serde_json::to_string(&flow).unwrap().replace(r#""class":"tls""#, r#""class":"mtls""#);
        assert!(serde_json::from_str::<Flow>(&text).unwrap_err().to_string().contains("does not fit"));
    }
}
