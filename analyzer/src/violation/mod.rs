//! Broken declarations: what each id of the catalogue means, how bad it is and what mends it.
//!
//! In: a [`Case`], one flow beside what was declared for it. Out: a [`Violation`]. Whether there is one at all is the
//! verdict's business.

pub mod remedy;

use flow::{Flow, Proof};

use crate::expectation::Expectation;
use crate::mesh::Mesh;
use crate::report::{Certainty, Citation, Party, Severity, Violation};

flow::named! {
    /// The kinds of violation that are judged, by their ids in the catalogue.
    pub enum Kind {
        /// Plaintext accepted where STRICT is declared.
        PlaintextUnderStrict = "OB01",
        /// Plaintext attempted and refused under STRICT.
        PlaintextRefused = "OB02",
        /// TLS without a client certificate where STRICT is declared.
        CertificateMissing = "OB03",
        /// Plaintext from a client that is declared to send mutual TLS.
        Downgrade = "OB04",
        /// Plaintext accepted by PERMISSIVE from a client without proxy.
        MigrationBlocker = "OB05",
        /// Istio mTLS to a server that cannot decrypt it.
        Unterminated = "OB06",
        /// TLS to a port that is declared HTTP.
        TlsToHttpPort = "OB07",
        /// Plaintext to a port that is declared HTTPS or TLS.
        PlaintextToTlsPort = "OB08",
        /// A class that the gateway's server does not accept.
        GatewayRefuses = "OB09",
        /// A handshake completed without certificate at a gateway that requires one.
        GatewayCertificateMissing = "OB10",
        /// An SNI of Istio's form that names another service than the destination's.
        StaleDestination = "OB16",
        /// Plaintext between two ambient pods.
        AmbientNotCaptured = "OB17",
    }
}

impl Kind {
    /// Returns how bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::PlaintextUnderStrict | Self::GatewayCertificateMissing => Severity::Critical,
            Self::PlaintextRefused
            | Self::CertificateMissing
            | Self::Downgrade
            | Self::Unterminated
            | Self::GatewayRefuses
            | Self::AmbientNotCaptured => Severity::High,
            Self::MigrationBlocker
            | Self::TlsToHttpPort
            | Self::PlaintextToTlsPort
            | Self::StaleDestination => Severity::Medium,
        }
    }
}

/// One flow beside what was declared for it.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The declarations.
    pub mesh: &'a Mesh,
    /// The observation.
    pub flow: &'a Flow,
    /// Who opened it.
    pub client: &'a Party,
    /// Whom it reached.
    pub server: &'a Party,
    /// What was declared.
    pub expectation: &'a Expectation,
}

impl Case<'_> {
    /// Returns the resource that set the server's mode; absent for what is built in.
    #[must_use]
    pub fn server_cause(&self) -> Option<String> {
        named(&self.expectation.expected.server_mode_from)
    }

    /// Returns the rule that set the client's TLS; absent for auto mTLS and what is built in.
    #[must_use]
    pub fn client_cause(&self) -> Option<String> {
        named(&self.expectation.expected.client_tls_from)
    }

    /// Returns the Gateway whose server took the connection.
    #[must_use]
    pub fn gateway_cause(&self) -> Option<String> {
        self.expectation.expected.gateway_server.as_ref().map(|server| server.from.clone())
    }

    /// Builds the violation; `also` is cited after what led to the expectation.
    #[must_use]
    pub fn violation(&self, kind: Kind, cause: Option<String>, what: &str, also: Vec<Citation>) -> Violation {
        let mut because = self.expectation.because.clone();
        because.extend(also);
        let port = self.flow.server.port;
        Violation {
            id: kind.to_string(),
            severity: kind.severity(),
            certainty: certainty(kind, self.flow),
            message: format!("{} to {} port {port}: {what}", self.client.name(), self.server.name()),
            remedy: remedy::of(kind, self, cause.as_deref(), &because),
            cause,
            because,
        }
    }
}

fn named(from: &str) -> Option<String> {
    from.contains('/').then(|| from.to_owned())
}

/// A violation is certain where it rests on what was read in the clear or on exact arithmetic. Where it only takes that
/// the connection is TLS, a weaker proof of the client's certificate does not weaken it; no proof at all does: the
/// handshake told less than it should have.
fn certainty(kind: Kind, flow: &Flow) -> Certainty {
    let only_tls = matches!(kind, Kind::TlsToHttpPort | Kind::Unterminated | Kind::StaleDestination);
    match flow.security.evidence().proof {
        Proof::Wire | Proof::Exact => Certainty::Certain,
        Proof::Strong | Proof::Linked | Proof::Inferred if only_tls => Certainty::Certain,
        Proof::Strong | Proof::Linked | Proof::Inferred | Proof::None => Certainty::Likely,
    }
}
