//! The server's side of a connection: what reaches a destination, by declaration.

use flow::Class;

use crate::mesh::meta::Meta;
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::{Behind, HostEndpoint, Mesh};
use crate::policy::ambient::{at_ztunnel, mode_at_ztunnel};
use crate::policy::visibility::sidecar_for;
use crate::policy::{Decided, Trace, gateway, interception, peer_authentication};
use crate::report::{GatewayServer, IstioMtls, PartyKind, ServerMode};

/// The port of HBONE.
pub const HBONE: u16 = 15008;

/// What the destination accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The mode in force; absent where no proxy enforces one.
    pub mode: Decided<Option<ServerMode>>,
    /// Wire classes it accepts.
    pub allowed: Vec<Class>,
    /// What becomes of Istio mTLS.
    pub istio_mtls: IstioMtls,
    /// The protocol that the port declares; absent where no Service or Sidecar declares the port.
    pub protocol: Option<Protocol>,
    /// For a gateway: the server that takes the connection.
    pub gateway_server: Option<GatewayServer>,
    /// What kind of answer this is.
    pub kind: InboundKind,
}

/// Why the destination accepts what it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboundKind {
    /// A sidecar enforces a mode.
    Sidecar,
    /// A pod with a sidecar, but the port does not reach it; with the reason.
    NotIntercepted(String),
    /// A pod without a proxy.
    NoProxy,
    /// A gateway's listener.
    Gateway,
    /// ztunnel or a waypoint.
    Ambient,
    /// Outside the mesh, or unknown.
    Outside,
}

/// Every class.
pub const ALL: [Class; 3] = [Class::Plaintext, Class::Tls, Class::Mtls];

/// Says what a pod's port accepts.
#[must_use]
pub fn at_pod(mesh: &Mesh, pod: &Pod, port: u16, sni: Option<&str>, trace: &mut Trace) -> Inbound {
    match pod.proxy {
        PartyKind::Gateway => {
            let listener = gateway::listener(mesh, pod, port, sni, trace);
            if listener.server.is_none() && interception::NEVER_INTERCEPTED.contains(&port) {
                return own_port(port, trace);
            }
            at_listener(listener)
        }
        PartyKind::Sidecar | PartyKind::Ambient if interception::REDIRECT_TARGETS.contains(&port) => {
            redirect_target(pod, port, trace)
        }
        PartyKind::Ambient => at_ztunnel(mesh, pod, port, trace),
        // Beside HBONE, an east-west gateway has listeners like any other.
        PartyKind::Waypoint
            if pod.is_east_west() && port != HBONE && !gateway::servers_on(mesh, pod, port).is_empty() =>
        {
            at_listener(gateway::listener(mesh, pod, port, sni, trace))
        }
        PartyKind::Waypoint => waypoint(pod, port, trace),
        PartyKind::Sidecar => sidecar(mesh, pod, port, trace),
        PartyKind::NoProxy
        | PartyKind::Node
        | PartyKind::ServiceAddress
        | PartyKind::Declared
        | PartyKind::Unknown => {
            trace.cite(
                "inbound.no-proxy",
                &pod.meta,
                None,
                pod.meta.line,
                "has no proxy: nothing enforces a mode",
            );
            Inbound {
                protocol: declared_protocol(mesh, pod, port).map(|declared| declared.0),
                ..open(InboundKind::NoProxy)
            }
        }
    }
}

/// Returns the mode in force at a port of a pod: as ztunnel reads the policies where the pod is ambient.
#[must_use]
pub fn mode_of(mesh: &Mesh, pod: &Pod, port: u16, trace: &mut Trace) -> Decided<ServerMode> {
    if pod.proxy == PartyKind::Ambient {
        return mode_at_ztunnel(mesh, pod, port, trace);
    }
    peer_authentication::effective(mesh, &pod.meta.namespace, &pod.meta.labels, port, trace)
}

/// What nothing in the mesh enforces: an address outside it.
#[must_use]
pub fn outside(behind: Option<&Behind<'_>>, trace: &mut Trace) -> Inbound {
    trace.built_in("inbound.no-proxy", "the destination has no proxy of this mesh");
    Inbound { protocol: behind.map(|behind| behind.port.protocol), ..open(InboundKind::Outside) }
}

/// What the east-west gateway of another network passes on: Istio mTLS, which it does not end.
///
/// Rule `client.other-network`. Istio: `pilot/pkg/xds/endpoints/ep_filters.go`, `EndpointsByNetworkFilter`.
#[must_use]
pub fn of_another_network(trace: &mut Trace) -> Inbound {
    trace
        .built_in("client.other-network", "another network's gateway passes Istio mTLS on to the pods there");
    let open = open(InboundKind::Outside);
    Inbound { allowed: vec![Class::Mtls], istio_mtls: IstioMtls::Accepted, ..open }
}

/// What another network's gateway takes for ztunnels there: HBONE, in which there is another one to the pod.
///
/// Rule `ambient.hbone`.
#[must_use]
pub fn of_hbone_gateway(trace: &mut Trace) -> Inbound {
    trace.built_in("ambient.hbone", "another network's gateway takes HBONE here: always client certificates");
    let open = open(InboundKind::Outside);
    Inbound { allowed: vec![Class::Mtls], istio_mtls: IstioMtls::Required, ..open }
}

fn at_listener(listener: gateway::Listener) -> Inbound {
    Inbound {
        mode: Decided::default(None),
        allowed: listener.allowed,
        istio_mtls: listener.istio_mtls,
        protocol: None,
        gateway_server: listener.server,
        kind: InboundKind::Gateway,
    }
}

pub(super) fn open(kind: InboundKind) -> Inbound {
    Inbound {
        mode: Decided::default(None),
        allowed: ALL.to_vec(),
        istio_mtls: IstioMtls::Unterminated,
        protocol: None,
        gateway_server: None,
        kind,
    }
}

/// Says what a workload outside Kubernetes accepts that is in the mesh: its own proxy enforces the mode by the labels of
/// its WorkloadEntry. Where the entry does not say that it takes Istio mTLS, it counts as having no proxy.
#[must_use]
pub fn at_entry(
    mesh: &Mesh,
    behind: &Behind<'_>,
    endpoint: &HostEndpoint,
    port: u16,
    trace: &mut Trace,
) -> Inbound {
    if behind.host.external || !endpoint.tls_mode_istio {
        return outside(Some(behind), trace);
    }
    let mode = peer_authentication::effective(mesh, &behind.host.namespace, &endpoint.labels, port, trace);
    let protocol = behind.port.protocol;
    let by = mesh.declaration(behind.host).map(|meta| (meta, behind.port.line));
    cite_protocol(port, protocol, by, trace);
    let (allowed, istio_mtls) = accepts(mode.value, Some(protocol));
    Inbound {
        mode: Decided { value: Some(mode.value), from: mode.from },
        allowed,
        istio_mtls,
        protocol: Some(protocol),
        gateway_server: None,
        kind: InboundKind::Sidecar,
    }
}

/// The ports that iptables redirects to take no connection from outside the pod.
///
/// Rule `interception.redirect-target`. Istio: `listener_builder.go`, the chain `virtualInbound-blackhole`.
fn redirect_target(pod: &Pod, port: u16, trace: &mut Trace) -> Inbound {
    let why = format!("port {port} is what connections are redirected to: a direct call is dropped");
    trace.cite("interception.redirect-target", &pod.meta, None, pod.meta.line, why.clone());
    let closed = open(InboundKind::NotIntercepted(why));
    Inbound { allowed: Vec::new(), istio_mtls: IstioMtls::None, ..closed }
}

fn own_port(port: u16, trace: &mut Trace) -> Inbound {
    let why = format!("port {port} is the proxy's own: no policy applies to it");
    trace.built_in("interception.inbound", why.clone());
    open(InboundKind::NotIntercepted(why))
}

/// A waypoint takes HBONE and nothing else; like a gateway it consults no PeerAuthentication.
///
/// Rule `ambient.hbone`. Istio: `pilot/pkg/security/authn`, `ForHBONE`.
fn waypoint(pod: &Pod, port: u16, trace: &mut Trace) -> Inbound {
    if interception::NEVER_INTERCEPTED.contains(&port) {
        return own_port(port, trace);
    }
    let (allowed, istio_mtls, effect) = if port == HBONE {
        (vec![Class::Mtls], IstioMtls::Required, "a waypoint's port: always client certificates")
    } else {
        (Vec::new(), IstioMtls::None, "a waypoint listens for HBONE on port 15008 alone")
    };
    trace.cite("ambient.hbone", &pod.meta, None, pod.meta.line, effect);
    Inbound { allowed, istio_mtls, ..open(InboundKind::Ambient) }
}

fn sidecar(mesh: &Mesh, pod: &Pod, port: u16, trace: &mut Trace) -> Inbound {
    if port == HBONE && pod.hbone() {
        let mode = peer_authentication::effective(mesh, &pod.meta.namespace, &pod.meta.labels, port, trace);
        trace.cite(
            "ambient.hbone",
            &pod.meta,
            None,
            pod.meta.line,
            "listens for HBONE: always client certificates",
        );
        return Inbound {
            mode: Decided { value: Some(mode.value), from: mode.from },
            allowed: vec![Class::Mtls],
            istio_mtls: IstioMtls::Required,
            ..open(InboundKind::Ambient)
        };
    }
    if port == HBONE {
        let why = "port 15008 takes HBONE, and this sidecar does not: nothing listens".to_owned();
        trace.cite("ambient.hbone", &pod.meta, None, pod.meta.line, why.clone());
        let closed = open(InboundKind::NotIntercepted(why));
        return Inbound { allowed: Vec::new(), istio_mtls: IstioMtls::None, ..closed };
    }
    let declared = declared_protocol(mesh, pod, port);
    let version = mesh.control_plane.version;
    if let Err(why) =
        interception::inbound(pod, port).and_then(|()| interception::inbound_by_default(pod, port, version))
    {
        trace.cite(
            "interception.inbound",
            &pod.meta,
            Some("metadata.annotations"),
            pod.meta.line,
            why.clone(),
        );
        return Inbound {
            protocol: declared.map(|declared| declared.0),
            ..open(InboundKind::NotIntercepted(why))
        };
    }
    let mode = peer_authentication::effective(mesh, &pod.meta.namespace, &pod.meta.labels, port, trace);
    let protocol = declared.as_ref().map(|declared| declared.0);
    match &declared {
        Some((protocol, by)) => cite_protocol(port, *protocol, *by, trace),
        None => trace.built_in(
            "inbound.mode-and-protocol",
            format_args!("no Service declares port {port}: treated as TCP"),
        ),
    }
    let (allowed, istio_mtls) = ingress_tls(mesh, pod, port, mode.value, trace).unwrap_or_else(|| {
        if protocol.is_none() && !version.passes_tls_to_undeclared_ports() {
            accepts(mode.value, Some(Protocol::Http))
        } else {
            accepts(mode.value, protocol)
        }
    });
    Inbound {
        mode: Decided { value: Some(mode.value), from: mode.from },
        allowed,
        istio_mtls,
        protocol,
        gateway_server: None,
        kind: InboundKind::Sidecar,
    }
}

/// Says what a Sidecar's `ingress.tls` accepts at a port: it acts only where the mode is DISABLE, and only with the switch
/// `ENABLE_TLS_ON_SIDECAR_INGRESS` of istiod.
///
/// Rule `sidecar.ingress-tls`. Istio: `listener_inbound.go`, `buildInboundFilterChains`.
fn ingress_tls(
    mesh: &Mesh,
    pod: &Pod,
    port: u16,
    mode: ServerMode,
    trace: &mut Trace,
) -> Option<(Vec<Class>, IstioMtls)> {
    let sidecar = sidecar_for(mesh, pod)?;
    let entry = sidecar.ingress.iter().flatten().find(|entry| entry.port == port)?;
    let tls = entry.tls_mode.as_deref()?;
    let accepted = match tls {
        "SIMPLE" => Some((vec![Class::Tls], IstioMtls::None)),
        "OPTIONAL_MUTUAL" => Some((vec![Class::Tls, Class::Mtls], IstioMtls::None)),
        "MUTUAL" => Some((vec![Class::Mtls], IstioMtls::None)),
        _ => None,
    };
    let (effect, answer) = if !mesh.control_plane.tls_on_sidecar_ingress {
        ("ignored: ENABLE_TLS_ON_SIDECAR_INGRESS is off by default".to_owned(), None)
    } else if mode != ServerMode::Disable {
        (format!("ignored: the mode is {mode}, and not DISABLE"), None)
    } else {
        (format!("{tls} is terminated, plaintext refused"), accepted)
    };
    let field = Some("spec.ingress.tls");
    trace.cite("sidecar.ingress-tls", &sidecar.meta, field, entry.line, effect);
    answer
}

/// Says what a sidecar's inbound listener accepts, by mode and declared protocol.
///
/// Rule `inbound.mode-and-protocol`. Istio: `filterchain_options.go`, `listener_inbound.go`.
#[must_use]
pub fn accepts(mode: ServerMode, protocol: Option<Protocol>) -> (Vec<Class>, IstioMtls) {
    use Class::{Mtls, Plaintext};
    let http = protocol.is_some_and(Protocol::is_http);
    match (mode, http) {
        (ServerMode::Strict, _) => (vec![Mtls], IstioMtls::Required),
        (ServerMode::Permissive, true) => (vec![Plaintext, Mtls], IstioMtls::Accepted),
        (ServerMode::Permissive, false) => (ALL.to_vec(), IstioMtls::Accepted),
        (ServerMode::Disable, true) => (vec![Plaintext], IstioMtls::Unterminated),
        (ServerMode::Disable, false) => (ALL.to_vec(), IstioMtls::Unterminated),
    }
}

fn cite_protocol(port: u16, protocol: Protocol, by: Option<(&Meta, u32)>, trace: &mut Trace) {
    const RULE: &str = "inbound.mode-and-protocol";
    let effect = format_args!("port {port} is declared {protocol}");
    match by {
        Some((meta, line)) => {
            let field = if &*meta.kind == "Sidecar" { "spec.ingress" } else { "spec.ports" };
            trace.cite(RULE, meta, Some(field), line, effect);
        }
        None => trace.built_in(RULE, effect),
    }
}

/// Returns the protocol that a container port declares and what declares it, with the line: the Sidecar's ingress where
/// there is one, else the oldest Service that leads to the port. A list leaves no other ports to Services, unless istiod merges
/// them (`PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE`).
///
/// Rule `sidecar.ingress`. Istio: `listener_inbound.go`, `buildInboundChainConfigs`.
#[must_use]
pub fn declared_protocol<'a>(
    mesh: &'a Mesh,
    pod: &Pod,
    port: u16,
) -> Option<(Protocol, Option<(&'a Meta, u32)>)> {
    if pod.proxy == PartyKind::Sidecar
        && let Some(sidecar) = sidecar_for(mesh, pod)
        && let Some(ingress) = &sidecar.ingress
    {
        let own = ingress.iter().find(|entry| entry.port == port);
        if own.is_some() || !mesh.control_plane.merges_ingress {
            return own.map(|entry| (entry.protocol, Some((&sidecar.meta, entry.line))));
        }
    }
    let (host, host_port) = *mesh.services_of(pod, port).first()?;
    Some((host_port.protocol, mesh.declaration(host).map(|meta| (meta, host_port.line))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_and_protocol_decide_together() {
        use Class::{Mtls, Plaintext, Tls};
        let http = [Protocol::Http, Protocol::Http2, Protocol::Grpc, Protocol::GrpcWeb];
        for protocol in Protocol::ALL.iter().copied().map(Some).chain([None]) {
            let is_http = protocol.is_some_and(|protocol| http.contains(&protocol));
            let check = |mode, allowed: &[Class], istio| {
                assert_eq!(accepts(mode, protocol), (allowed.to_vec(), istio), "{mode} {protocol:?}");
            };
            check(ServerMode::Strict, &[Mtls], IstioMtls::Required);
            if is_http {
                check(ServerMode::Permissive, &[Plaintext, Mtls], IstioMtls::Accepted);
                check(ServerMode::Disable, &[Plaintext], IstioMtls::Unterminated);
            } else {
                check(ServerMode::Permissive, &[Plaintext, Tls, Mtls], IstioMtls::Accepted);
                check(ServerMode::Disable, &[Plaintext, Tls, Mtls], IstioMtls::Unterminated);
            }
        }
    }
}
