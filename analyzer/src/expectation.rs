//! Both sides joined: what the declarations imply for one connection, with the resources that say so.

use std::net::IpAddr;

use flow::{Class, Endpoint};

use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::{Behind, HostEndpoint, Mesh, Owner};
use crate::parties;
use crate::policy::inbound::{self, ALL};
use crate::policy::outbound::{self, HBONE_PORT, Sends};
use crate::policy::sidecar_scope::host_fits;
use crate::policy::{cite, cite_default, gateway};
use crate::report::{Citation, ClientTls, Expected, GatewayServer, IstioMtls, Party, PartyKind, ServerMode};

/// What is declared for one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Who opens it.
    pub client: Party,
    /// Whom it reaches.
    pub server: Party,
    /// What is declared.
    pub expected: Expected,
    /// Why, client side first.
    pub because: Vec<Citation>,
    /// Hosts of the mesh that stand behind the destination; empty where none does.
    pub hosts: Vec<String>,
}

struct Accepts {
    mode: Option<ServerMode>,
    from: String,
    allowed: Vec<Class>,
    istio: IstioMtls,
    protocol: Option<Protocol>,
    gateway: Option<GatewayServer>,
    because: Vec<Citation>,
}

/// Ports of the proxy and its agent that are never redirected: metrics, readiness, statistics.
pub const INFRASTRUCTURE_PORTS: [u16; 3] = [15020, 15021, 15090];

/// Computes what is declared for a connection.
#[must_use]
pub fn expect(mesh: &Mesh, from: IpAddr, to: Endpoint, sni: Option<&str>) -> Expectation {
    let mut behind = mesh.behind(to.ip, to.port);
    let target = target(mesh, to, &behind);
    if behind.is_empty() && target.is_none() {
        behind = by_name(mesh, to.port, sni);
    }
    let (server_pod, port) = target.unzip();
    let port = port.unwrap_or(to.port);
    let client = mesh.pod_at(from, None).filter(|pod| !pod.host_network);
    let sends = outbound::decide(mesh, client, to, &behind, server_pod, sni);
    let accepts = match server_pod {
        Some(pod) => pod_accepts(mesh, pod, port, sni),
        None => declared_accepts(mesh, &behind),
    };
    let conflict = conflict(client, &sends, &accepts);
    let protocol =
        accepts.protocol.or(sends.protocol).or_else(|| behind.first().map(|found| found.port.protocol));
    let mut because = sends.because;
    because.extend(accepts.because);
    Expectation {
        client: parties::client(mesh, from),
        server: parties::server(mesh, to, &behind),
        hosts: behind.iter().map(|found| found.host.host.clone()).collect(),
        expected: Expected {
            server_mode: accepts.mode,
            server_mode_from: accepts.from,
            client_tls: sends.tls,
            client_tls_from: sends.from,
            allowed: accepts.allowed,
            istio_mtls: accepts.istio,
            client_wire: sends.wire,
            conflict,
            sni: sends.sni,
            protocol: protocol.map(|protocol| protocol.to_string()),
            gateway_server: accepts.gateway,
        },
        because,
    }
}

/// Finds the pod and its container port: by address, or through a Service's virtual address.
fn target<'a>(mesh: &'a Mesh, to: Endpoint, behind: &[Behind<'a>]) -> Option<(&'a Pod, u16)> {
    if let Some(pod) = mesh.pod_at(to.ip, Some(to.port)) {
        return Some((pod, to.port));
    }
    behind.iter().filter(|found| matches!(found.host.owner, Owner::Service(_))).find_map(|found| {
        found
            .host
            .endpoints
            .iter()
            .find_map(|endpoint| Some((mesh.pod_of(endpoint)?, *endpoint.ports.get(&found.port.number)?)))
    })
}

/// Finds what a name says where no address does: hosts that are resolved by DNS.
fn by_name<'a>(mesh: &'a Mesh, port: u16, sni: Option<&str>) -> Vec<Behind<'a>> {
    let Some(sni) = sni else { return Vec::new() };
    mesh.hosts
        .iter()
        .filter(|host| matches!(host.owner, Owner::Entry(_)) && host_fits(&host.host, sni))
        .flat_map(|host| host.ports.iter().map(move |port| (host, port)))
        .filter(|(_, declared)| declared.target == port)
        .map(|(host, port)| Behind { host, port, endpoint: None })
        .collect()
}

fn pod_accepts(mesh: &Mesh, pod: &Pod, port: u16, sni: Option<&str>) -> Accepts {
    let protocol = inbound::protocol(mesh, pod, port);
    let bare = |allowed: Vec<Class>, istio, because| Accepts {
        mode: None,
        from: "default".to_owned(),
        allowed,
        istio,
        protocol,
        gateway: None,
        because: vec![because],
    };
    let tunnel = port == HBONE_PORT && pod.hbone();
    match pod.proxy {
        PartyKind::Gateway => gateway_accepts(mesh, pod, port, sni, protocol),
        PartyKind::Waypoint if tunnel => {
            bare(vec![Class::Mtls], IstioMtls::Required, cite_default("outbound.hbone", "HBONE only"))
        }
        PartyKind::Waypoint => {
            bare(Vec::new(), IstioMtls::None, cite_default("outbound.hbone", "HBONE only"))
        }
        PartyKind::Sidecar if !tunnel && INFRASTRUCTURE_PORTS.contains(&port) => bare(
            vec![Class::Plaintext],
            IstioMtls::Unterminated,
            cite_default("inbound.no-proxy", "a port of the proxy itself, never redirected"),
        ),
        PartyKind::Sidecar if tunnel || inbound::intercepted(pod, port) => {
            let mode = inbound::effective(mesh, &pod.meta.namespace, &pod.meta.labels, port);
            let (allowed, istio) = if tunnel {
                (vec![Class::Mtls], IstioMtls::Required)
            } else {
                inbound::accepts(mode.mode, protocol.is_some_and(Protocol::is_http))
            };
            Accepts {
                mode: Some(mode.mode),
                from: mode.from,
                allowed,
                istio,
                protocol,
                gateway: None,
                because: mode.because,
            }
        }
        PartyKind::Ambient => {
            let mode = inbound::effective_ambient(mesh, &pod.meta.namespace, &pod.meta.labels, port);
            let (allowed, istio) = match (tunnel, mode.mode) {
                (true, _) => (vec![Class::Mtls], IstioMtls::Required),
                (false, ServerMode::Strict) => (Vec::new(), IstioMtls::None),
                (false, ServerMode::Permissive | ServerMode::Disable) => {
                    (ALL.to_vec(), IstioMtls::Unterminated)
                }
            };
            Accepts {
                mode: Some(mode.mode),
                from: mode.from,
                allowed,
                istio,
                protocol,
                gateway: None,
                because: mode.because,
            }
        }
        PartyKind::Sidecar => bare(
            ALL.to_vec(),
            IstioMtls::Unterminated,
            cite(
                "inbound.no-proxy",
                &pod.meta,
                Some("metadata.annotations"),
                pod.meta.line,
                "the port is excluded from interception",
            ),
        ),
        PartyKind::NoProxy
        | PartyKind::Node
        | PartyKind::ServiceAddress
        | PartyKind::Declared
        | PartyKind::Unknown => bare(
            ALL.to_vec(),
            IstioMtls::Unterminated,
            cite("inbound.no-proxy", &pod.meta, None, pod.meta.line, "no proxy, nothing enforces a mode"),
        ),
    }
}

fn gateway_accepts(
    mesh: &Mesh,
    pod: &Pod,
    port: u16,
    sni: Option<&str>,
    protocol: Option<Protocol>,
) -> Accepts {
    let base = Accepts {
        mode: None,
        from: "default".to_owned(),
        allowed: Vec::new(),
        istio: IstioMtls::None,
        protocol,
        gateway: None,
        because: Vec::new(),
    };
    if INFRASTRUCTURE_PORTS.contains(&port) {
        return Accepts {
            allowed: vec![Class::Plaintext],
            because: vec![cite_default("inbound.no-proxy", "a port of the proxy itself")],
            ..base
        };
    }
    let Some(taken) = gateway::server(mesh, pod, port, sni) else {
        return Accepts { because: vec![cite_default("gateway.no-server", "nothing listens there")], ..base };
    };
    let mode = taken.server.tls.as_ref().map(|tls| tls.mode);
    let (allowed, istio, _) = gateway::accepts(taken.server.protocol, mode);
    let line = taken.server.tls.as_ref().map_or(taken.server.line, |tls| tls.line);
    let effect = mode.map_or_else(
        || format!("{} without tls, decides", taken.server.protocol_text),
        |mode| format!("{mode}, decides"),
    );
    Accepts {
        allowed,
        istio,
        gateway: Some(gateway::describe(taken)),
        because: vec![cite(
            "gateway.server",
            &taken.gateway.meta,
            Some("spec.servers.tls.mode"),
            line,
            &effect,
        )],
        ..base
    }
}

/// What an endpoint outside Kubernetes accepts: a mesh workload's by its policies, else whatever it likes.
fn declared_accepts(mesh: &Mesh, behind: &[Behind<'_>]) -> Accepts {
    let found = behind.first();
    let protocol = found.map(|found| found.port.protocol);
    let workload: Option<(&Behind<'_>, &HostEndpoint)> = found
        .and_then(|found| Some((found, found.endpoint?)))
        .filter(|(found, endpoint)| !found.host.external && endpoint.tls_mode_istio);
    match workload {
        Some((found, endpoint)) => {
            let port = endpoint.ports.get(&found.port.number).copied().unwrap_or(found.port.target);
            let mode = inbound::effective(mesh, &found.host.namespace, &endpoint.labels, port);
            let (allowed, istio) = inbound::accepts(mode.mode, found.port.protocol.is_http());
            Accepts {
                mode: Some(mode.mode),
                from: mode.from,
                allowed,
                istio,
                protocol,
                gateway: None,
                because: mode.because,
            }
        }
        None => Accepts {
            mode: None,
            from: "default".to_owned(),
            allowed: ALL.to_vec(),
            istio: IstioMtls::Unterminated,
            protocol,
            gateway: None,
            because: vec![cite_default("inbound.no-proxy", "no proxy of the mesh there")],
        },
    }
}

/// Tells whether the two sides exclude each other. An application without a proxy may bring whatever the server wants,
/// so where only TLS is let in the answer is its own.
fn conflict(client: Option<&Pod>, sends: &Sends, accepts: &Accepts) -> Option<bool> {
    if sends.tls == Some(ClientTls::IstioMutual) && accepts.istio == IstioMtls::Unterminated {
        return Some(true);
    }
    if !sends.wire.iter().any(|class| accepts.allowed.contains(class)) {
        return Some(true);
    }
    let in_mesh = client.is_some_and(|pod| {
        matches!(
            pod.proxy,
            PartyKind::Sidecar | PartyKind::Gateway | PartyKind::Ambient | PartyKind::Waypoint
        )
    });
    let no_tls = matches!(sends.tls, None | Some(ClientTls::Disable));
    if no_tls && in_mesh && accepts.mode == Some(ServerMode::Strict) {
        return Some(true);
    }
    if no_tls && !accepts.allowed.contains(&Class::Plaintext) && sends.wire.contains(&Class::Plaintext) {
        return None;
    }
    Some(false)
}
