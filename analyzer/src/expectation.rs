//! Both sides of one connection joined: what the client should send and the server accept, with the reasons.

use std::net::IpAddr;
use std::sync::Arc;

use flow::{Class, Endpoint};

use crate::mesh::service::Protocol;
use crate::mesh::{Behind, Mesh};
use crate::policy::inbound::{self, Inbound, InboundKind};
use crate::policy::outbound::{self, OutboundKind};
use crate::policy::{Decided, Trace};
use crate::report::{Citation, ClientTls, Expected, IstioMtls, PartyKind};

/// What is declared for one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The answer.
    pub expected: Arc<Expected>,
    /// Every step that led to it, in order: the client's side, then the server's.
    pub because: Arc<[Citation]>,
    /// How many of those steps are the client's side.
    pub client_steps: usize,
    /// Why the server accepts what it accepts.
    pub server: InboundKind,
    /// Why the client sends what it sends.
    pub client: OutboundKind,
    /// The protocol that the destination's port declares; absent where nothing declares the port.
    pub protocol: Option<Protocol>,
    /// Whether the destination is known to the mesh at all.
    pub known_destination: bool,
    /// Whether the destination stands outside the mesh.
    pub external: bool,
    /// Whether auto mTLS is switched off for the mesh.
    pub auto_mtls_off: bool,
}

/// Computes what is declared for a connection from `from` to `to`, with the SNI of its ClientHello where there is one.
#[must_use]
pub fn expect(mesh: &Mesh, from: IpAddr, to: Endpoint, sni: Option<&str>) -> Expectation {
    let mut trace = Trace::default();
    let client_pod = mesh.client_at(from);
    let behind = mesh.meant(to.ip, to.port, sni);
    let out = outbound::decide(mesh, client_pod, &behind, to.ip, to.port, sni, &mut trace);
    let client_steps = trace.len();
    let reached = mesh.server_at(to.ip, to.port);
    let through_node = reached.filter(|(pod, _)| !pod.ips.contains(&to.ip));
    if let Some((pod, port)) = through_node {
        let effect = format!("published at this port of its node for its port {port}");
        trace.cite("inbound.published-address", &pod.meta, None, pod.meta.line, effect);
    }
    let server_pod = reached.map(|(pod, _)| pod);
    // A client outside the cluster dials what a Service is published at.
    let published = server_pod.is_none().then(|| mesh.published_at(to.ip, to.port)).flatten();
    let tunnel = server_pod.is_none() && mesh.is_hbone_gateway(to.ip, to.port);
    // What stands behind the address of another network's gateway is not here.
    let elsewhere = behind.first().is_some_and(|meant| meant.is_elsewhere(mesh, to.ip, to.port, sni));
    let published = published.filter(|published| !(elsewhere && published.host.endpoints.is_empty()));
    let behind = match published {
        Some(published) if mesh.behind(to.ip, to.port).is_empty() => {
            if let Some(meta) = mesh.declaration(published.host) {
                let effect = format!("published at this address for port {}", published.port.number);
                trace.cite("inbound.published-address", meta, None, meta.line, effect);
            }
            vec![published]
        }
        // What a client's proxy takes it for tells nothing of the pod.
        _ if through_node.is_some() => Vec::new(),
        _ => behind,
    };
    let inbound = match reached {
        Some((pod, port)) => inbound::at_pod(mesh, pod, port, sni, &mut trace),
        None if tunnel => inbound::of_hbone_gateway(&mut trace),
        None => behind_virtual_address(mesh, &behind, to, sni, &mut trace),
    };
    let protocol = behind
        .first()
        .map(|behind| behind.port.protocol)
        .or(inbound.protocol)
        .or_else(|| mesh.is_udp(to.ip, to.port).then_some(Protocol::Udp));
    let conflict = conflict(&out, &inbound);
    let gateway = server_pod.is_some_and(|pod| pod.proxy == PartyKind::Gateway);
    Expectation {
        expected: Arc::new(Expected {
            server_mode: inbound.mode.value,
            server_mode_from: inbound.mode.from,
            client_tls: out.tls.value,
            client_tls_from: out.tls.from,
            allowed: inbound.allowed,
            istio_mtls: inbound.istio_mtls,
            client_wire: out.wire,
            conflict,
            sni: out.sni,
            protocol: protocol.map(|protocol| protocol.name().to_owned()),
            gateway_server: inbound.gateway_server,
        }),
        because: trace.into_citations().into(),
        client_steps,
        known_destination: server_pod.is_some() || tunnel || !behind.is_empty(),
        external: !gateway
            && server_pod.is_none()
            && behind.first().is_none_or(|behind| behind.host.external),
        auto_mtls_off: !mesh.config.auto_mtls,
        server: inbound.kind,
        client: out.kind,
        protocol,
    }
}

/// A Service's virtual address stands for what is behind it: what all of that accepts. An endpoint stands for itself.
fn behind_virtual_address(
    mesh: &Mesh,
    behind: &[Behind<'_>],
    to: Endpoint,
    sni: Option<&str>,
    trace: &mut Trace,
) -> Inbound {
    let Some(first) = behind.first() else { return inbound::outside(None, trace) };
    if first.is_elsewhere(mesh, to.ip, to.port, sni) {
        return inbound::of_another_network(trace);
    }
    if let Some(endpoint) = first.endpoint {
        return match mesh.pod_of(endpoint) {
            Some(pod) => inbound::at_pod(mesh, pod, to.port, sni, trace),
            None => inbound::at_entry(mesh, first, endpoint, to.port, trace),
        };
    }
    let mut together: Option<Inbound> = None;
    for endpoint in &first.host.endpoints {
        let Some(port) = endpoint.ports.get(&first.port.number).copied() else { continue };
        // Only the first one's reasons are told: the others' are the same, or the answer is left open.
        let mut unheard = Trace::unheard();
        let trace = if together.is_none() { &mut *trace } else { &mut unheard };
        let other = match mesh.pod_of(endpoint) {
            Some(pod) => inbound::at_pod(mesh, pod, port, sni, trace),
            None if endpoint.tls_mode_istio => inbound::at_entry(mesh, first, endpoint, port, trace),
            None => continue,
        };
        match &mut together {
            None => together = Some(other),
            Some(answer) => {
                // Which one the connection ends at is not known here: only what every one of them accepts is declared.
                answer.allowed.retain(|class| other.allowed.contains(class));
                answer.istio_mtls = weaker(answer.istio_mtls, other.istio_mtls);
                // Of one mode that several policies set, the first one's is named.
                if other.mode.value != answer.mode.value {
                    answer.mode = Decided::default(None);
                }
            }
        }
    }
    together.unwrap_or_else(|| inbound::outside(Some(first), trace))
}

/// What becomes of Istio mTLS at one of two places: what can be relied on at both.
const fn weaker(one: IstioMtls, other: IstioMtls) -> IstioMtls {
    use IstioMtls::{Accepted, None, Required, Unterminated};
    match (one, other) {
        (Unterminated, _) | (_, Unterminated) => Unterminated,
        (None, _) | (_, None) => None,
        (Accepted, _) | (_, Accepted) => Accepted,
        (Required, Required) => Required,
    }
}

/// Tells whether the two sides exclude each other. Where the application decides what it sends, be it that its proxy adds
/// no TLS of its own, and plaintext is not accepted, it depends on the application.
fn conflict(out: &outbound::Outbound, inbound: &Inbound) -> Option<bool> {
    let hbone = out.kind == OutboundKind::Hbone;
    if hbone {
        return Some(false);
    }
    let disjoint = !out.wire.iter().any(|class| inbound.allowed.contains(class));
    let undecryptable =
        out.tls.value == Some(ClientTls::IstioMutual) && inbound.istio_mtls == IstioMtls::Unterminated;
    if disjoint || undecryptable {
        return Some(true);
    }
    let application_decides = matches!(out.tls.value, None | Some(ClientTls::Disable));
    let accepted = |class: &Class| inbound.allowed.contains(class);
    // Plaintext that is accepted is the ordinary case: what else the application could do is no contradiction.
    let ordinary = out.wire.contains(&Class::Plaintext) && accepted(&Class::Plaintext);
    if application_decides && !ordinary && !out.wire.iter().all(accepted) {
        return None;
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::inbound::InboundKind;
    use crate::report::ClientTls::{Disable, IstioMutual, Mutual, Simple};
    use IstioMtls::{Accepted, Required, Unterminated};

    const P: Class = Class::Plaintext;
    const T: Class = Class::Tls;
    const M: Class = Class::Mtls;

    #[test]
    fn two_sides_conflict_where_nothing_that_comes_is_accepted() {
        for (tls, wire, allowed, istio_mtls, expected) in [
            // The client's proxy decides.
            (Some(IstioMutual), &[M][..], &[M][..], Required, Some(false)),
            (Some(IstioMutual), &[M], &[P, M], Accepted, Some(false)),
            (Some(IstioMutual), &[M], &[P], Unterminated, Some(true)),
            (Some(IstioMutual), &[M], &[P, T, M], Unterminated, Some(true)),
            (Some(Mutual), &[M], &[P, T, M], Unterminated, Some(false)),
            (Some(Simple), &[T], &[M], Required, Some(true)),
            (Some(Simple), &[T], &[P, T, M], Accepted, Some(false)),
            // The application does: plaintext that is accepted is no contradiction, whatever else it could send.
            (None, &[P, T, M], &[M], Required, None),
            (None, &[P, T, M], &[P, M], Accepted, Some(false)),
            (None, &[P, T, M], &[P, T, M], Accepted, Some(false)),
            (None, &[T, M], &[P, M], Accepted, None),
            (None, &[T, M], &[T, M], Accepted, Some(false)),
            (Some(Disable), &[P], &[M], Required, Some(true)),
            (Some(Disable), &[P], &[P, M], Accepted, Some(false)),
            (Some(Disable), &[T, M], &[P, M], Accepted, None),
            // Each request does, and none of them is the application's.
            (Some(Simple), &[T, M], &[P, M], Accepted, Some(false)),
        ] {
            let out = outbound::Outbound {
                tls: Decided::default(tls),
                wire: wire.to_vec(),
                sni: None,
                kind: OutboundKind::Rule,
            };
            let inbound = Inbound {
                mode: Decided::default(None),
                allowed: allowed.to_vec(),
                istio_mtls,
                protocol: None,
                gateway_server: None,
                kind: InboundKind::Sidecar,
            };
            assert_eq!(conflict(&out, &inbound), expected, "{tls:?} {wire:?} {allowed:?} {istio_mtls:?}");
        }
    }

    #[test]
    fn behind_one_address_the_weaker_of_two_answers_is_relied_on() {
        let order = [Unterminated, IstioMtls::None, Accepted, Required];
        for (at, one) in order.into_iter().enumerate() {
            for (other_at, other) in order.into_iter().enumerate() {
                assert_eq!(weaker(one, other), order[at.min(other_at)], "{one:?} {other:?}");
            }
        }
    }
}
