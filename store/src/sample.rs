//! Judged flows to test with: small, and different in what a test names.

use std::sync::Arc;

use analyzer::report::{
    Certainty, Citation, Expected, IstioMtls, Judged, Judgement, Party, PartyKind, Remedy, ServerMode,
    Severity, Violation,
};
use flow::{
    Class, ClientAuth, Close, Endpoint, Evidence, Flow, FlowId, PerSide, Presented, Proof, Protocol, Reason,
    Security, Timestamp, TlsSession, Transport, Withheld,
};

/// What a sample flow is to be.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The flow's id.
    pub id: u128,
    /// Start in seconds since the Unix epoch; it ends one second later.
    pub start: i64,
    /// `namespace/workload` of the client.
    pub client: &'static str,
    /// `namespace/workload` of the server.
    pub server: &'static str,
    /// The destination port.
    pub port: u16,
    /// The class on the wire.
    pub class: Class,
    /// How it is known.
    pub proof: Proof,
    /// The violation's id and severity; absent for a flow that conforms, as does one with a note of severity `info`.
    pub violation: Option<(&'static str, Severity)>,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            id: 1,
            start: 1_700_000_000,
            client: "shop/cart",
            server: "pay/ledger",
            port: 8080,
            class: Class::Mtls,
            proof: Proof::Exact,
            violation: None,
        }
    }
}

impl Sample {
    /// Builds the judged flow.
    #[must_use]
    pub fn judged(self) -> Judged {
        let evidence = Evidence { proof: self.proof, reason: None };
        let session = || Arc::new(TlsSession { sni: Some("ledger.pay".into()), ..TlsSession::default() });
        let security = match self.class {
            Class::Plaintext => Security::Plaintext(evidence),
            Class::Mtls => Security::Tls(session(), ClientAuth::Proved(Presented::Sent, evidence)),
            Class::Tls => Security::Tls(session(), ClientAuth::Refuted(Withheld::Absent, evidence)),
            Class::Opaque => Security::Opaque(evidence),
            Class::Unknown => Security::Unknown(Reason::MidStream),
        };
        let end = |host: u8, port| Endpoint { ip: [10, 0, 0, host].into(), port };
        let start = self.start.saturating_mul(1_000_000_000);
        let flow = Flow {
            id: FlowId(self.id),
            start: Timestamp::from_nanos(start),
            end: Timestamp::from_nanos(start.saturating_add(1_000_000_000)),
            transport: Transport::Tcp,
            client: end(1, 40_000),
            server: end(2, self.port),
            tunnel: Vec::new(),
            seen_at: Vec::new(),
            security,
            protocol: Some(Protocol::Http1),
            upgrade: None,
            from_start: true,
            tcp_handshake: None,
            close: Close::Fin,
            packets: PerSide { client: 3, server: 2 },
            bytes: PerSide { client: 30, server: 70 },
        };
        Judged {
            flow,
            client: Arc::new(party(self.client, 1)),
            server: Arc::new(party(self.server, 2)),
            expected: Some(Arc::new(expected())),
            judgement: match self.violation {
                Some((_, severity)) if severity > Severity::Info => Judgement::Violates,
                Some(_) | None => Judgement::Conforms,
            },
            basis: "sample".into(),
            set_aside: None,
            translated: None,
            violations: self
                .violation
                .into_iter()
                .map(|(id, severity)| violation(id, severity).into())
                .collect(),
        }
    }
}

/// Says in one line what a sample is: id, start, class and violation.
#[must_use]
pub fn sample(id: u128, start: i64, class: Class, violation: Option<(&'static str, Severity)>) -> Judged {
    let proof = match class {
        Class::Plaintext | Class::Opaque => Proof::Wire,
        Class::Tls | Class::Mtls => Proof::Exact,
        Class::Unknown => Proof::None,
    };
    Sample { id, start, class, proof, violation, ..Sample::default() }.judged()
}

fn party(name: &str, host: u8) -> Party {
    let split = name.split_once('/');
    Party {
        address: [10, 0, 0, host].into(),
        kind: if split.is_some() { PartyKind::Sidecar } else { PartyKind::Unknown },
        namespace: split.map(|(namespace, _)| namespace.into()),
        workload: split.map(|(_, workload)| workload.into()),
        pod: None,
        service: None,
        service_account: None,
    }
}

fn expected() -> Expected {
    Expected {
        server_mode: Some(ServerMode::Strict),
        server_mode_from: "PeerAuthentication/pay/default".into(),
        client_tls: None,
        client_tls_from: "auto-mtls".into(),
        allowed: vec![Class::Mtls],
        istio_mtls: IstioMtls::Required,
        client_wire: vec![Class::Mtls],
        conflict: Some(false),
        sni: None,
        protocol: Some("HTTP".into()),
        gateway_server: None,
    }
}

fn violation(id: &str, severity: Severity) -> Violation {
    Violation {
        id: id.into(),
        severity,
        certainty: Certainty::Certain,
        message: "plaintext was accepted although STRICT is declared".into(),
        cause: Some("PeerAuthentication/pay/default".into()),
        because: vec![Citation {
            rule: "peer-authentication.narrowest-wins".into(),
            resource: "PeerAuthentication/pay/default".into(),
            field: Some("spec.mtls.mode".into()),
            effect: "STRICT, decides".into(),
            file: Some("mesh.yaml".into()),
            line: Some(8),
        }]
        .into(),
        remedy: Remedy {
            summary: "Give the server a sidecar.".into(),
            resource: None,
            file: None,
            line: None,
            yaml: None,
            values: None,
        },
    }
}
