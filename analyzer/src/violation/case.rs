//! One flow beside what was declared for it, with the questions that several rules ask.

use std::sync::Arc;

use flow::{Class, ClientAuth, Flow, Outcome, Security, Timestamp, TlsSession};

use crate::expectation::Expectation;
use crate::mesh::destination_rule::{DestinationRule, TlsSettings};
use crate::mesh::pod::Pod;
use crate::mesh::{HostService, Mesh, Owner};
use crate::policy::outbound::istio_sni;
use crate::policy::visibility::covers;
use crate::report::{IstioMtls, Party, PartyKind, ServerMode, Violation};
use crate::violation::Advised;

/// One flow beside what was declared for it.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The declarations in force when the flow began.
    pub mesh: &'a Mesh,
    /// The observation.
    pub flow: &'a Flow,
    /// Who opened it.
    pub client: &'a Party,
    /// Whom it reached.
    pub server: &'a Party,
    /// What was declared.
    pub expectation: &'a Expectation,
    /// What came into force while the flow was open, and what the flow would be by that; absent where nothing did, or it
    /// breaks that neither.
    pub since: Option<&'a Since>,
    /// What was advised for earlier flows of the edge; absent where that is not kept.
    pub(crate) advised: Option<&'a Advised>,
}

/// Declarations that came into force while a flow was open, and that it would break had it begun under them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// From when they are in force.
    pub at: Timestamp,
    /// The worst of what the flow would break.
    pub violation: Arc<Violation>,
}

impl<'a> Case<'a> {
    /// Returns the classes that the flow may be of: two where the client's certificate is hidden, none where the wire does
    /// not tell the class or no policy names it.
    pub(crate) fn possible(&self) -> &'static [Class] {
        match &self.flow.security {
            Security::Plaintext(_) => &[Class::Plaintext],
            Security::Tls(session, _) if session.encrypts_nothing() => &[Class::Plaintext],
            Security::Tls(_, ClientAuth::Proved(..)) if self.is_foreign_certificate() => &[Class::Tls],
            Security::Tls(_, ClientAuth::Proved(..)) => &[Class::Mtls],
            Security::Tls(_, ClientAuth::Refuted(..)) => &[Class::Tls],
            Security::Tls(_, ClientAuth::Hidden(_)) => &[Class::Tls, Class::Mtls],
            Security::Opaque(_) | Security::Unknown(_) => &[],
        }
    }

    /// PERMISSIVE picks Istio's filter chain by ALPN: a client certificate without it is ordinary TLS to the sidecar. HBONE
    /// has a port of its own and needs no such mark.
    fn is_foreign_certificate(&self) -> bool {
        self.expectation.expected.server_mode == Some(ServerMode::Permissive)
            && self.expectation.expected.istio_mtls != IstioMtls::Required
            && self.tls().is_some_and(|tls| tls.ja4.is_some() && !tls.offers_istio_alpn())
    }

    /// Returns the TLS session, where one was seen.
    pub(crate) fn tls(&self) -> Option<&'a TlsSession> {
        self.flow.tls()
    }

    /// Tells whether the bytes were readable: without TLS, or under a cipher suite that encrypts nothing.
    pub(crate) fn is_plaintext(&self) -> bool {
        self.flow.security.class() == Class::Plaintext || self.tls().is_some_and(TlsSession::encrypts_nothing)
    }

    /// Tells whether the destination accepts none of the classes that the flow may be of.
    pub(crate) fn is_refused(&self) -> bool {
        let possible = self.possible();
        let allowed = &self.expectation.expected.allowed;
        !possible.is_empty() && !possible.iter().any(|class| allowed.contains(class))
    }

    /// Tells whether a proxy enforces STRICT at the destination.
    pub(crate) fn is_strict(&self) -> bool {
        self.expectation.expected.server_mode == Some(ServerMode::Strict)
    }

    /// Tells whether the handshake is known to have failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.tls().is_some_and(|tls| tls.outcome == Outcome::Failed)
    }

    /// Says what became of it: an attempt is told from what was accepted.
    pub(crate) fn ending(&self) -> &'static str {
        match self.tls().map(|tls| tls.outcome) {
            Some(Outcome::Established) => "the handshake completed",
            Some(Outcome::Failed) => "the handshake was refused",
            Some(Outcome::Incomplete) => "the handshake was not seen to its end",
            None if self.flow.answered() => "it was answered",
            None if self.flow.packets.server == 0 => "nothing of the server's was captured",
            None => "it was not answered",
        }
    }

    /// Tells whether the client speaks Istio mTLS, by its ALPN or SNI.
    pub(crate) fn offers_istio(&self) -> bool {
        self.tls().is_some_and(|tls| {
            tls.offers_istio_alpn() || tls.sni.as_deref().is_some_and(|sni| istio_sni(sni).is_some())
        })
    }

    /// Tells whether it is known who opened the connection: what is joined in the middle may be the other way round.
    pub(crate) fn knows_direction(&self) -> bool {
        self.flow.from_start || self.tls().is_some_and(|tls| tls.ja4.is_some())
    }

    /// Tells whether one of this mesh's proxies carries the client's traffic.
    pub(crate) fn client_is_proxied(&self) -> bool {
        is_proxied(self.client.kind)
    }

    /// Tells whether one of this mesh's proxies carries the server's traffic.
    pub(crate) fn server_is_proxied(&self) -> bool {
        is_proxied(self.server.kind)
    }

    /// Tells whether the destination may be a host whose addresses no declaration tells, such as a name resolved by DNS:
    /// an address that is in no declaration is then no unknown destination for certain.
    pub(crate) fn may_be_declared(&self) -> bool {
        let port = self.flow.server.port;
        let sni = self.tls().and_then(|tls| tls.sni.as_deref());
        let names = |host: &HostService| {
            sni.is_none_or(|sni| matches!(host.owner, Owner::Service(_)) || covers(&host.host, sni))
        };
        self.mesh.unresolved_hosts(port).any(names)
    }

    /// Returns the resource that set the server's mode; absent for what is built in.
    pub(crate) fn server_cause(&self) -> Option<String> {
        named(&self.expectation.expected.server_mode_from)
    }

    /// Returns the rule that set the client's TLS; absent for auto mTLS and what is built in.
    pub(crate) fn client_cause(&self) -> Option<String> {
        named(&self.expectation.expected.client_tls_from)
    }

    /// Returns the pod that it reached, and at which of its ports.
    pub(crate) fn server_pod(&self) -> Option<(&'a Pod, u16)> {
        self.mesh.server_at(self.flow.server.ip, self.flow.server.port)
    }

    /// Returns the Gateway whose server took the connection.
    pub(crate) fn gateway_cause(&self) -> Option<String> {
        self.expectation.expected.gateway_server.as_ref().map(|server| server.from.clone())
    }

    /// Returns the tls block that decides what the client's proxy sends, and the rule that it stands in.
    pub(crate) fn client_block(&self) -> Option<(&'a DestinationRule, &'a TlsSettings)> {
        let from = &self.expectation.expected.client_tls_from;
        let rule = self.mesh.destination_rule(from)?;
        let decided = self.expectation.because.iter().rfind(|citation| {
            citation.resource == *from
                && matches!(&*citation.rule, "destination-rule.mode" | "destination-rule.credential-name")
        })?;
        let subsets = rule.subsets.iter().filter_map(|subset| subset.policy.as_ref());
        rule.policy
            .iter()
            .chain(subsets)
            .flat_map(|policy| {
                policy.tls.iter().chain(policy.ports.iter().filter_map(|entry| entry.tls.as_ref()))
            })
            .find(|tls| Some(tls.line) == decided.line)
            .map(|tls| (rule, tls))
    }
}

fn is_proxied(kind: PartyKind) -> bool {
    match kind {
        PartyKind::Sidecar | PartyKind::Gateway | PartyKind::Waypoint | PartyKind::Ambient => true,
        PartyKind::NoProxy
        | PartyKind::Node
        | PartyKind::ServiceAddress
        | PartyKind::Declared
        | PartyKind::Unknown => false,
    }
}

fn named(from: &str) -> Option<String> {
    from.contains('/').then(|| from.to_owned())
}
