//! Which server of which Gateway takes a connection to a router pod, and what it accepts.

use flow::Class;

use crate::mesh::Mesh;
use crate::mesh::gateway::{Gateway, Server, ServerTlsMode};
use crate::mesh::meta::selects;
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::policy::inbound::ALL;
use crate::policy::sidecar_scope::host_fits;
use crate::report::{GatewayServer, IstioMtls};

/// A server and the Gateway it stands in.
#[derive(Debug, Clone, Copy)]
pub struct Taken<'a> {
    /// The Gateway.
    pub gateway: &'a Gateway,
    /// The server.
    pub server: &'a Server,
}

/// Finds the server for a connection to a router pod's container port. Without an SNI in the question the server for
/// any host is meant, else the first.
///
/// Rule `gateway.server`. Istio: `mergeGateways`.
#[must_use]
pub fn server<'a>(mesh: &'a Mesh, pod: &Pod, port: u16, sni: Option<&str>) -> Option<Taken<'a>> {
    let listening = listening(mesh, pod, port);
    let tls: Vec<Taken<'a>> =
        listening.iter().copied().filter(|taken| taken.server.protocol.is_tls()).collect();
    if tls.is_empty() {
        return listening.first().copied();
    }
    let any = |taken: &&Taken<'_>| taken.server.hosts.iter().any(|host| host == "*");
    match sni {
        Some(sni) => tls
            .iter()
            .filter_map(|taken| {
                let best = taken
                    .server
                    .hosts
                    .iter()
                    .filter(|host| host_fits(host, sni) || auto_passthrough(taken.server))
                    .map(|host| (!host.starts_with('*'), host.len()))
                    .max()?;
                Some((best, *taken))
            })
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(_, taken)| taken),
        None => tls.iter().find(any).or_else(|| tls.first()).copied(),
    }
}

fn auto_passthrough(server: &Server) -> bool {
    server.tls.as_ref().is_some_and(|tls| tls.mode == ServerTlsMode::AutoPassthrough)
}

/// Lists the servers that listen on a container port, oldest Gateway first, those left out that Istio drops: a
/// plaintext protocol that clashes with an earlier one, a TLS host that an earlier server has.
fn listening<'a>(mesh: &'a Mesh, pod: &Pod, port: u16) -> Vec<Taken<'a>> {
    let mut kept: Vec<Taken<'a>> = Vec::new();
    for gateway in mesh.gateways.iter().filter(|gateway| configures(gateway, pod)) {
        for server in &gateway.servers {
            if container_port(mesh, pod, server.port) != port
                || (server.protocol.is_tls() && server.tls.is_none())
            {
                continue;
            }
            let clash = kept.iter().any(|earlier| {
                let earlier = earlier.server;
                match (earlier.protocol.is_tls(), server.protocol.is_tls()) {
                    (false, false) => earlier.protocol.is_http() != server.protocol.is_http(),
                    (true, true) => earlier.hosts.iter().any(|host| server.hosts.contains(host)),
                    (true, false) | (false, true) => false,
                }
            });
            if !clash {
                kept.push(Taken { gateway, server });
            }
        }
    }
    kept
}

/// Tells whether a Gateway's selector chooses the pod; one of the Gateway API only in its own namespace.
#[must_use]
pub fn configures(gateway: &Gateway, pod: &Pod) -> bool {
    let managed = gateway.selector.contains_key("gateway.networking.k8s.io/gateway-name");
    selects(&gateway.selector, &pod.meta.labels) && (!managed || gateway.meta.namespace == pod.meta.namespace)
}

/// Maps a server's port to the container's through the Services that select the pod; without one it is the same.
fn container_port(mesh: &Mesh, pod: &Pod, number: u16) -> u16 {
    mesh.hosts
        .iter()
        .filter_map(|host| {
            let endpoint = host.endpoints.iter().find(|endpoint| pod.ips.contains(&endpoint.ip))?;
            endpoint.ports.get(&number).copied()
        })
        .next()
        .unwrap_or(number)
}

/// Tells which classes a server accepts, what becomes of Istio mTLS, and how it asks for client certificates.
///
/// Rule `gateway.server`. Istio: Gateway, `ServerTLSSettings`.
#[must_use]
pub fn accepts(protocol: Protocol, mode: Option<ServerTlsMode>) -> (Vec<Class>, IstioMtls, &'static str) {
    if !protocol.is_tls() {
        return if protocol.is_http() {
            (vec![Class::Plaintext], IstioMtls::Unterminated, "none")
        } else {
            (ALL.to_vec(), IstioMtls::Unterminated, "none")
        };
    }
    match mode {
        None | Some(ServerTlsMode::Passthrough) => {
            (vec![Class::Tls, Class::Mtls], IstioMtls::None, "passthrough")
        }
        Some(ServerTlsMode::Simple) => (vec![Class::Tls], IstioMtls::None, "none"),
        Some(ServerTlsMode::Mutual) => (vec![Class::Mtls], IstioMtls::None, "required"),
        Some(ServerTlsMode::OptionalMutual) => (vec![Class::Tls, Class::Mtls], IstioMtls::None, "optional"),
        Some(ServerTlsMode::IstioMutual) => (vec![Class::Mtls], IstioMtls::Required, "required"),
        Some(ServerTlsMode::AutoPassthrough) => (vec![Class::Mtls], IstioMtls::Accepted, "passthrough"),
    }
}

/// Describes a server for the answer.
#[must_use]
pub fn describe(taken: Taken<'_>) -> GatewayServer {
    let server = taken.server;
    let tls = server.tls.as_ref().filter(|_| server.protocol.is_tls());
    let (_, _, client_cert) = accepts(server.protocol, tls.map(|tls| tls.mode));
    GatewayServer {
        from: taken.gateway.meta.id(),
        port_name: server.port_name.clone(),
        protocol: server.protocol_text.clone(),
        tls_mode: tls.map(|tls| tls.mode.to_string()),
        client_cert: client_cert.to_owned(),
        min_version: tls.and_then(|tls| tls.min_version.clone()),
        https_redirect: server.tls.as_ref().filter(|tls| tls.https_redirect).map(|_| true),
    }
}

#[cfg(test)]
mod tests {
    use flow::Class::{Mtls, Plaintext, Tls};

    use super::accepts;
    use crate::mesh::gateway::ServerTlsMode as Mode;
    use crate::mesh::service::Protocol;

    #[test]
    fn every_protocol_with_every_mode() {
        for &protocol in Protocol::ALL {
            for &mode in Mode::ALL {
                let (allowed, _, _) = accepts(protocol, Some(mode));
                let expected = match (protocol.is_tls(), protocol.is_http(), mode) {
                    (false, true, _) => vec![Plaintext],
                    (false, false, _) => vec![Plaintext, Tls, Mtls],
                    (true, _, Mode::Simple) => vec![Tls],
                    (true, _, Mode::Mutual | Mode::IstioMutual | Mode::AutoPassthrough) => vec![Mtls],
                    (true, _, Mode::Passthrough | Mode::OptionalMutual) => vec![Tls, Mtls],
                };
                assert_eq!(allowed, expected, "{protocol} {mode}");
            }
        }
        assert_eq!(accepts(Protocol::Https, None).0, vec![Tls, Mtls], "no mode is PASSTHROUGH");
    }
}
