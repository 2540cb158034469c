//! One flow against what was declared for it, judged by both sides.
//!
//! Outside `allowed` the server's declaration is broken; inside it but outside `client_wire` the connection did not
//! take the declared path. What the wire hides is never a violation: it is undecided, with the doubt named.

use flow::{Class, ClientAuth, Outcome, Security, Transport};

use crate::expectation::Expectation;
use crate::mesh::gateway::ServerTlsMode;
use crate::policy::interception::NEVER_INTERCEPTED;
use crate::policy::outbound::{OutboundKind, istio_sni};
use crate::policy::{Trace, gateway, peer_authentication};
use crate::report::{IstioMtls, Judgement, PartyKind, ServerMode, Violation};
use crate::violation::{Case, Kind};

/// The outcome for one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub judgement: Judgement,
    /// What it rests on.
    pub basis: String,
    /// The broken declarations, worst first.
    pub violations: Vec<Violation>,
}

/// Judges a flow.
#[must_use]
pub fn judge(case: &Case<'_>) -> Verdict {
    let only =
        |judgement, basis: &str| Verdict { judgement, basis: basis.to_owned(), violations: Vec::new() };
    let flow = case.flow;
    if flow.is_local() {
        return only(Judgement::Exempt, "loopback: between a proxy and its own application");
    }
    let proxied = !matches!(
        case.server.kind,
        PartyKind::Unknown | PartyKind::Declared | PartyKind::ServiceAddress | PartyKind::Node
    );
    if proxied && NEVER_INTERCEPTED.contains(&flow.server.port) {
        return only(Judgement::Exempt, "a port of the proxy itself: metrics, readiness or statistics");
    }
    if flow.transport == Transport::Udp {
        return only(Judgement::Undecided, "UDP: Istio does not carry it");
    }
    let possible: &[Class] = match &flow.security {
        Security::Plaintext(_) => &[Class::Plaintext],
        Security::Tls(_, ClientAuth::Proved(..)) if is_foreign_certificate(case) => &[Class::Tls],
        Security::Tls(_, ClientAuth::Proved(..)) => &[Class::Mtls],
        Security::Tls(_, ClientAuth::Refuted(..)) => &[Class::Tls],
        Security::Tls(_, ClientAuth::Hidden(_)) => &[Class::Tls, Class::Mtls],
        Security::Opaque(_) => {
            return only(Judgement::Undecided, "encrypted, but no TLS: policies do not name it");
        }
        Security::Unknown(reason) => {
            return only(Judgement::Undecided, &format!("the wire does not tell the class: {reason}"));
        }
    };
    let violations = violations(case, possible);
    if let Some(first) = violations.first() {
        let basis = format!("{}: {}", first.id, flow.security.class());
        return Verdict { judgement: Judgement::Violates, basis, violations };
    }
    // A class that is accepted is no pass where this very handshake was not: a foreign certificate, refused.
    if flow.tls().is_some_and(|tls| tls.outcome == Outcome::Failed) {
        return only(Judgement::Undecided, "the handshake failed: no connection came about");
    }
    if !case.expectation.known_destination {
        return only(Judgement::Undecided, "the destination is unknown to the mesh");
    }
    let allowed = &case.expectation.expected.allowed;
    if possible.iter().all(|class| allowed.contains(class)) {
        return only(Judgement::Conforms, "what the destination accepts");
    }
    only(
        Judgement::Undecided,
        "whether the client sent a certificate is hidden, and the declaration depends on it",
    )
}

/// PERMISSIVE picks Istio's filter chain by ALPN: a client certificate without it is ordinary TLS to the sidecar.
fn is_foreign_certificate(case: &Case<'_>) -> bool {
    case.expectation.expected.server_mode == Some(ServerMode::Permissive)
        && case.server.kind == PartyKind::Sidecar
        && case.flow.tls().is_some_and(|tls| tls.ja4.is_some() && !tls.offers_istio_alpn())
}

fn violations(case: &Case<'_>, possible: &[Class]) -> Vec<Violation> {
    let expected = &case.expectation.expected;
    let refused = !possible.iter().any(|class| expected.allowed.contains(class));
    let plaintext = possible == [Class::Plaintext];
    let strict = expected.server_mode == Some(ServerMode::Strict);
    let answered = case.flow.answered();
    let found = if case.server.kind == PartyKind::Gateway {
        at_gateway(case, possible, refused)
    } else if plaintext && case.client.kind == PartyKind::Ambient && case.server.kind == PartyKind::Ambient {
        Some(case.violation(
            Kind::AmbientNotCaptured,
            None,
            "plaintext between ambient pods, not captured by ztunnel",
            Vec::new(),
        ))
    } else if plaintext && refused && strict {
        Some(under_strict(case, answered))
    } else if plaintext
        && answered
        && let Some(violation) = unenforced_strict(case)
    {
        Some(violation)
    } else if strict && possible == [Class::Tls] {
        let cause = case.client_cause().or_else(|| case.server_cause());
        Some(case.violation(
            Kind::CertificateMissing,
            cause,
            "TLS without a client certificate where STRICT is declared",
            Vec::new(),
        ))
    } else if !plaintext && offers_istio(case) && undecryptable(case) {
        let cause = case.client_cause().or_else(|| case.server_cause());
        Some(case.violation(
            Kind::Unterminated,
            cause,
            "Istio mTLS to a server that cannot decrypt it",
            Vec::new(),
        ))
    } else if !plaintext && refused {
        Some(case.violation(
            Kind::TlsToHttpPort,
            None,
            "TLS that is not Istio's to a port declared HTTP",
            Vec::new(),
        ))
    } else if plaintext && !refused && downgraded(case.expectation) {
        let what = "plaintext where the client's proxy is declared to send mutual TLS";
        Some(case.violation(Kind::Downgrade, case.client_cause(), what, Vec::new()))
    } else if plaintext && answered && is_migration_blocker(case) {
        let what = "plaintext from a client without proxy, accepted because the mode is PERMISSIVE";
        Some(case.violation(Kind::MigrationBlocker, case.server_cause(), what, Vec::new()))
    } else if plaintext && case.expectation.protocol.is_some_and(|protocol| protocol.is_tls()) {
        Some(case.violation(
            Kind::PlaintextToTlsPort,
            None,
            "plaintext to a port declared HTTPS or TLS",
            Vec::new(),
        ))
    } else {
        None
    };
    let mut violations: Vec<Violation> = found.into_iter().chain(stale(case)).collect();
    violations.sort_by_key(|violation| std::cmp::Reverse(violation.severity));
    violations
}

fn under_strict(case: &Case<'_>, answered: bool) -> Violation {
    if answered {
        let what = "plaintext was accepted although STRICT is declared: the proxy is stale or was bypassed";
        return case.violation(Kind::PlaintextUnderStrict, case.server_cause(), what, Vec::new());
    }
    let why = match &case.expectation.client {
        OutboundKind::NoProxy | OutboundKind::AmbientPlain => {
            "the client has no proxy that could encrypt".to_owned()
        }
        OutboundKind::NotIntercepted(reason) => format!("the client's proxy is bypassed: {reason}"),
        OutboundKind::Passthrough(reason) => format!("the client's proxy passes it through: {reason}"),
        OutboundKind::Blocked => "the client's proxy should have dropped it".to_owned(),
        OutboundKind::Rule => format!("{} switches TLS off", case.expectation.expected.client_tls_from),
        OutboundKind::Auto | OutboundKind::Hbone => "the client's proxy did not encrypt".to_owned(),
    };
    let cause = case.client_cause().or_else(|| case.server_cause());
    case.violation(
        Kind::PlaintextRefused,
        cause,
        &format!("plaintext attempt, refused by STRICT; {why}"),
        Vec::new(),
    )
}

/// STRICT is declared for the workload, but no proxy is there to enforce it.
fn unenforced_strict(case: &Case<'_>) -> Option<Violation> {
    if case.expectation.expected.server_mode.is_some() {
        return None;
    }
    let port = case.flow.server.port;
    let pod = case.mesh.pod_at(case.flow.server.ip, Some(port))?;
    // A waypoint consults no PeerAuthentication: none is broken there.
    if pod.proxy == PartyKind::Waypoint {
        return None;
    }
    let mut trace = Trace::default();
    let declared =
        peer_authentication::effective(case.mesh, &pod.meta.namespace, &pod.meta.labels, port, &mut trace);
    if declared.value != ServerMode::Strict {
        return None;
    }
    let what = if pod.proxy == PartyKind::NoProxy {
        "plaintext was accepted although STRICT is declared: the pod has no proxy to enforce it"
    } else {
        "plaintext was accepted although STRICT is declared: the port is excluded from interception"
    };
    Some(case.violation(Kind::PlaintextUnderStrict, Some(declared.from), what, trace.into_citations()))
}

fn offers_istio(case: &Case<'_>) -> bool {
    case.flow.tls().is_some_and(|tls| {
        tls.offers_istio_alpn() || tls.sni.as_deref().is_some_and(|sni| istio_sni(sni).is_some())
    })
}

/// Istio mTLS reaches something that is known not to decrypt it. Of a destination that the mesh does not know nothing is
/// known, and a handshake that completed was terminated, whatever the declarations say.
fn undecryptable(case: &Case<'_>) -> bool {
    let completed = case.flow.tls().is_some_and(|tls| tls.outcome == Outcome::Established);
    case.expectation.expected.istio_mtls == IstioMtls::Unterminated
        && case.expectation.known_destination
        && !completed
}

fn downgraded(expectation: &Expectation) -> bool {
    expectation.expected.client_wire == [Class::Mtls]
}

fn is_migration_blocker(case: &Case<'_>) -> bool {
    case.expectation.expected.server_mode == Some(ServerMode::Permissive)
        && matches!(case.client.kind, PartyKind::NoProxy | PartyKind::Unknown)
}

fn at_gateway(case: &Case<'_>, possible: &[Class], refused: bool) -> Option<Violation> {
    let Some(server) = case.expectation.expected.gateway_server.as_ref() else {
        return refused_by_every_server(case, possible);
    };
    if !refused {
        return None;
    }
    let mode = server.tls_mode.as_deref().unwrap_or("no TLS");
    let established = case.flow.tls().is_some_and(|tls| tls.outcome == Outcome::Established);
    if server.client_cert == "required" && established {
        let what = format!("a handshake completed without a client certificate, though {mode} is declared");
        return Some(case.violation(
            Kind::GatewayCertificateMissing,
            case.gateway_cause(),
            &what,
            Vec::new(),
        ));
    }
    let seen = case.flow.security.class();
    let what = format!("{seen} to a server that is declared {} with {mode}", server.protocol);
    Some(case.violation(Kind::GatewayRefuses, case.gateway_cause(), &what, Vec::new()))
}

/// No server was chosen, because the connection carries no SNI to choose by; where all servers of the port refuse it, it
/// does not matter which it would have been.
fn refused_by_every_server(case: &Case<'_>, possible: &[Class]) -> Option<Violation> {
    let port = case.flow.server.port;
    let pod = case.mesh.pod_at(case.flow.server.ip, Some(port))?;
    let servers: Vec<_> = gateway::servers_on(case.mesh, pod, port)
        .into_iter()
        .filter(|(_, server)| gateway::rejected(server).is_none())
        .collect();
    let (first, _) = servers.first()?;
    let accepted = servers
        .iter()
        .any(|(_, server)| possible.iter().any(|class| gateway::accepts(server).0.contains(class)));
    if accepted {
        return None;
    }
    let mut trace = Trace::default();
    for (gateway, server) in &servers {
        let mode = server.tls_in_force().map_or("without TLS", ServerTlsMode::name);
        let effect = format!("{} {mode} refuses it", server.protocol_text);
        trace.cite("gateway.server-tls", &gateway.meta, Some("spec.servers"), server.line, effect);
    }
    let what = format!("{} to a port where no server accepts it", case.flow.security.class());
    Some(case.violation(Kind::GatewayRefuses, Some(first.meta.id()), &what, trace.into_citations()))
}

/// An SNI of Istio's own form names the Service that the client meant; it must be one behind the destination.
fn stale(case: &Case<'_>) -> Option<Violation> {
    let sni = case.flow.tls()?.sni.as_deref()?;
    let (port, _, host) = istio_sni(sni)?;
    let behind = case.mesh.behind(case.flow.server.ip, case.flow.server.port);
    let known = case.server.kind == PartyKind::Sidecar && !behind.is_empty();
    if !known || behind.iter().any(|found| found.host.host == host && found.port.number == port) {
        return None;
    }
    let what = format!("the client meant {host} port {port}, which this destination does not belong to");
    Some(case.violation(Kind::StaleDestination, None, &what, Vec::new()))
}
