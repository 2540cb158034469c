//! Gateway servers: which one takes a connection to a gateway pod, and what it accepts.

use std::net::IpAddr;

use flow::Class;

use crate::mesh::gateway::{Gateway, Server, ServerTlsMode};
use crate::mesh::meta::selects;
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::{HostPort, HostService, Mesh};
use crate::policy::Trace;
use crate::policy::destination_rule::acting;
use crate::policy::outbound::istio_sni;
use crate::policy::visibility::{covers, exported};
use crate::report::{GatewayServer, IstioMtls};

/// What a gateway's listener does with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The server that takes it; absent when nothing listens, or no server's hosts cover the SNI.
    pub server: Option<GatewayServer>,
    /// Wire classes it accepts.
    pub allowed: Vec<Class>,
    /// What becomes of Istio mTLS.
    pub istio_mtls: IstioMtls,
}

/// The label of the pods that a Gateway of the Gateway API manages.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// The label of a Service whose ports gateways do not look up.
const PORTS_AS_THEY_ARE: &str = "experimental.istio.io/disable-gateway-port-translation";

/// Returns the servers that Gateways open on a pod's port, in the order in which they compete, each with the port that
/// the pod listens on.
pub fn servers_on<'a>(mesh: &'a Mesh, pod: &Pod, port: u16) -> Vec<(&'a Gateway, &'a Server)> {
    mesh.gateways
        .iter()
        .filter(|gateway| configures(mesh, gateway, pod))
        .flat_map(|gateway| gateway.servers.iter().map(move |server| (gateway, server)))
        .filter(|(_, server)| reachable(server, pod))
        .filter(|(gateway, server)| listens_on(mesh, gateway, pod, server.port).contains(&port))
        .collect()
}

/// Tells whether a server listens where other pods can call it: not where it is bound to loopback or to a socket.
fn reachable(server: &Server, pod: &Pod) -> bool {
    server.bind.as_ref().is_none_or(|bind| {
        bind.parse::<IpAddr>().is_ok_and(|bind| bind.is_unspecified() || pod.ips.contains(&bind))
    })
}

/// The label of the pods that istiod makes for a Gateway of the Gateway API.
const MANAGED: &str = "gateway.istio.io/managed";

/// Tells whether a Gateway configures a pod. Since 1.31 the pods that istiod makes take none of Istio's own from another namespace.
///
/// Rule `gateway.server`. Istio: `PILOT_ENABLE_STRICT_GATEWAY_MERGING`, release notes of 1.31.
#[must_use]
pub fn configures(mesh: &Mesh, gateway: &Gateway, pod: &Pod) -> bool {
    // A Gateway that names Services configures the pods behind them.
    if !gateway.services.is_empty() {
        return mesh.hosts_of(pod).any(|host| names(gateway, host));
    }
    // Else it configures the pods that were made for it, in its own namespace.
    let elsewhere = gateway.namespace != pod.meta.namespace;
    let istiod = &mesh.control_plane;
    let apart = istiod.version.merges_gateways_strictly() && !istiod.merges_gateways;
    let bound = istiod.gateways_in_namespace
        || gateway.selector.contains_key(GATEWAY_NAME)
        || apart && pod.meta.labels.contains_key(MANAGED);
    selects(&gateway.selector, &pod.meta.labels) && !(bound && elsewhere)
}

/// Tells whether a Gateway names a Service: one of its own namespace.
fn names(gateway: &Gateway, host: &HostService) -> bool {
    *host.namespace == *gateway.namespace
        && gateway.services.iter().any(|name| {
            *name == host.host || (!name.contains('.') && host.host.split('.').next() == Some(name))
        })
}

/// Translates a server's port to those that the pod listens on: through the oldest host that leads to the pod by this
/// port, else the number itself. A Gateway that names its Services has only their ports. An unprivileged proxy opens no
/// port below 1024.
///
/// Rule `gateway.port`. Istio: `pilot/pkg/model/gateway.go`, `resolvePorts`; `Proxy.CanBindToPort`.
#[must_use]
pub fn listens_on(mesh: &Mesh, gateway: &Gateway, pod: &Pod, server_port: u16) -> Vec<u16> {
    let target = |host: &HostService| {
        pod.ips
            .iter()
            .flat_map(|ip| host.endpoints_at(*ip))
            .find_map(|endpoint| endpoint.ports.get(&server_port).copied())
    };
    let mut ports: Vec<u16> = if gateway.services.is_empty() {
        let translates = |host: &&HostService| {
            !mesh.declaration(host).is_some_and(|meta| meta.labels.contains_key(PORTS_AS_THEY_ARE))
        };
        let first = mesh.hosts_of(pod).filter(translates).find_map(target);
        vec![first.unwrap_or(server_port)]
    } else {
        mesh.hosts_of(pod).filter(|host| names(gateway, host)).filter_map(target).collect()
    };
    ports.retain(|port| *port >= 1024 || !pod.unprivileged);
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Tells whether Istio would reject a server: then it has no effect.
#[must_use]
pub fn rejected(server: &Server) -> Option<&'static str> {
    match (server.protocol, &server.tls) {
        (Protocol::Https | Protocol::Tls, None) => Some("an HTTPS or TLS server needs a tls block"),
        (protocol, Some(tls)) if !protocol.is_tls() && !tls.only_redirect => {
            Some("a tls block other than httpsRedirect on a server that is neither HTTPS nor TLS")
        }
        (_, Some(tls))
            if !tls.ca_certificates && tls.credential_name.is_none() && tls.mode == ServerTlsMode::Mutual =>
        {
            Some("MUTUAL needs a CA")
        }
        _ => None,
    }
}

/// Tells whether a later server cannot stand beside an earlier one on the same port, and is dropped. Servers that are bound
/// to different addresses have a listener each. A tls block, be it only a redirect, keeps its hosts to itself. Plaintext after TLS
/// stays: it takes what none of the names is for, which leaves it nothing beside `*`.
///
/// Rule `gateway.server`. Istio: `mergeGateways`, `canMergeProtocols`, `CheckDuplicates`.
fn clash(earlier: &Server, later: &Server) -> bool {
    if earlier.bind != later.bind {
        return false;
    }
    let shared = || earlier.hosts.iter().any(|host| later.hosts.contains(host));
    match (earlier.tls_in_force(), later.tls_in_force()) {
        (None, None) => {
            let both_http = earlier.protocol.is_http() && later.protocol.is_http();
            !both_http || (earlier.tls.is_some() && later.tls.is_some() && shared())
        }
        (Some(_), Some(_)) => shared(),
        (Some(_), None) => earlier.hosts.iter().any(|host| host == "*") || (later.tls.is_some() && shared()),
        (None, Some(_)) => true,
    }
}

/// Returns the one of the earlier servers of a port for which a later one is dropped. A port that begins with TLS takes more of it
/// after plaintext as well.
#[must_use]
pub fn displacing<'a>(
    earlier: impl IntoIterator<Item = (&'a Gateway, &'a Server)>,
    later: &Server,
) -> Option<(&'a Gateway, &'a Server)> {
    let mut begins_with_tls = None;
    earlier.into_iter().filter(|(_, one)| one.bind == later.bind).find(|(_, one)| {
        let tls = one.tls_in_force().is_some();
        let beside = *begins_with_tls.get_or_insert(tls) && !tls && later.tls_in_force().is_some();
        !beside && clash(one, later)
    })
}

/// Finds the server that takes a connection to a gateway pod's port, and what it accepts.
///
/// TLS servers share a port by SNI, the most specific host first; a client without SNI reaches only `*`.
///
/// Rules `gateway.server`, `gateway.server-tls`. Istio: `mergeGateways`, `BuildListenerTLSContext`.
#[must_use]
pub fn listener(mesh: &Mesh, pod: &Pod, port: u16, sni: Option<&str>, trace: &mut Trace) -> Listener {
    let mut kept: Vec<(&Gateway, &Server)> = Vec::new();
    for (gateway, server) in servers_on(mesh, pod, port) {
        if let Some(why) = rejected(server) {
            trace.cite(
                "gateway.server",
                &gateway.meta,
                Some("spec.servers"),
                server.line,
                format_args!("rejected: {why}"),
            );
            continue;
        }
        // A plaintext HTTP and a plaintext TCP server cannot share a port: the later one is dropped silently.
        if displacing(kept.iter().copied(), server).is_some() {
            trace.cite(
                "gateway.server",
                &gateway.meta,
                Some("spec.servers"),
                server.line,
                "dropped: an older server has the port or host",
            );
            continue;
        }
        kept.push((gateway, server));
    }
    let tls_port = kept.iter().any(|(_, server)| server.tls_in_force().is_some());
    let taken = if tls_port {
        let score = |server: &Server| {
            server
                .hosts
                .iter()
                .filter(|host| match sni {
                    Some(sni) if server_auto(server) => {
                        // Such a server has a chain for every service that its hosts cover, by the name that Istio sends.
                        istio_sni(sni).is_some_and(|(_, _, service)| covers(host, service))
                            && passes_on(mesh, pod, sni)
                    }
                    Some(sni) => covers(host, sni),
                    None => *host == "*",
                })
                .map(|host| (!host.starts_with('*'), host.len()))
                .max()
        };
        let by_name = || kept.iter().filter(|(_, server)| server.tls_in_force().is_some());
        let best = by_name().filter_map(|(_, server)| score(server)).max();
        let by_sni = by_name().find(|(_, server)| best.is_some() && score(server) == best);
        // What is for none of the names is plaintext's.
        let by_sni = by_sni.or_else(|| kept.iter().find(|(_, server)| server.tls_in_force().is_none()));
        // Asked without an SNI, a port with a single server still has an answer: what that server is declared as.
        by_sni.or_else(|| if sni.is_none() && kept.len() == 1 { kept.first() } else { None })
    } else {
        kept.first()
    };
    let Some((gateway, server)) = taken else {
        trace.built_in("gateway.server", format_args!("nothing listens on port {port} for this connection"));
        return Listener { server: None, allowed: Vec::new(), istio_mtls: IstioMtls::None };
    };
    let (allowed, client_cert, istio_mtls) = accepts(server);
    let mode = server.tls_in_force();
    trace.cite_at(
        "gateway.server-tls",
        &gateway.meta,
        format!(
            "spec.servers[{}].tls.mode",
            server.port_name.clone().unwrap_or_else(|| server.port.to_string())
        ),
        server.tls.as_ref().map_or(server.line, |tls| tls.line),
        format!("{} {}, decides", server.protocol_text, mode.map_or("without TLS", ServerTlsMode::name)),
    );
    let https_redirect = server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
    Listener {
        server: Some(GatewayServer {
            from: gateway.meta.id(),
            port_name: server.port_name.clone(),
            protocol: server.protocol_text.clone(),
            tls_mode: mode.map(|mode| mode.name().to_owned()),
            client_cert: client_cert.to_owned(),
            min_version: min_version(mesh, server),
            https_redirect: https_redirect.then_some(true),
        }),
        allowed,
        istio_mtls,
    }
}

/// Tells whether an AUTO_PASSTHROUGH server of a pod passes on what an SNI names: of a host that the mesh declares only the ports
/// and subsets that it has. Of others another cluster may know.
///
/// Rule `gateway.server`. Istio: `gateway.go`, `builtAutoPassthroughFilterChains`.
fn passes_on(mesh: &Mesh, pod: &Pod, sni: &str) -> bool {
    let Some((number, subset, name)) = istio_sni(sni) else { return false };
    let namespace = &*pod.meta.namespace;
    let has_subset = |host: &HostService| {
        let acting = acting(mesh, Some(pod), namespace, host, &mut Trace::unheard());
        subset.is_none_or(|name| acting.is_some_and(|acting| acting.subset(name).is_some()))
    };
    let has_port = |port: &HostPort| port.number == number && port.protocol != Protocol::Udp;
    let mut known = mesh.hosts_named(name).peekable();
    known.peek().is_none()
        || known.any(|host| {
            !host.external
                && exported(&host.export_to, &host.namespace, namespace)
                && host.ports.iter().any(has_port)
                && has_subset(host)
        })
}

/// Tells whether no server of a pod's port takes TLS without an SNI: all of them have other hosts than `*`.
#[must_use]
pub fn needs_sni(mesh: &Mesh, pod: &Pod, port: u16) -> bool {
    let mut servers = servers_on(mesh, pod, port)
        .into_iter()
        .filter(|(_, server)| rejected(server).is_none() && server.tls_in_force().is_some())
        .peekable();
    servers.peek().is_some() && servers.all(|(_, server)| server.hosts.iter().all(|host| host != "*"))
}

/// The lowest version that a server negotiates, where one is declared: its own, else the mesh's `tlsDefaults`, which say
/// nothing about mesh certificates, and about connections that are passed on neither.
fn min_version(mesh: &Mesh, server: &Server) -> Option<String> {
    let own = server.tls.as_ref().and_then(|tls| tls.min_version.clone());
    let defaults = matches!(
        server.tls_in_force(),
        Some(ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual)
    );
    own.or_else(|| mesh.config.tls_min_version.clone().filter(|_| defaults))
}

fn server_auto(server: &Server) -> bool {
    server.tls_in_force() == Some(ServerTlsMode::AutoPassthrough)
}

impl Server {
    /// Returns the tls mode in force; absent for servers without TLS.
    #[must_use]
    pub fn tls_in_force(&self) -> Option<ServerTlsMode> {
        self.tls.as_ref().filter(|_| self.protocol.is_tls()).map(|tls| tls.mode)
    }
}

/// Returns the classes a server accepts, what it does with client certificates, and with Istio mTLS.
#[must_use]
pub fn accepts(server: &Server) -> (Vec<Class>, &'static str, IstioMtls) {
    use Class::{Mtls, Plaintext, Tls};
    match server.tls_in_force() {
        None if server.protocol.is_http() => (vec![Plaintext], "none", IstioMtls::None),
        None => (vec![Plaintext, Tls, Mtls], "none", IstioMtls::Unterminated),
        Some(ServerTlsMode::Simple) => (vec![Tls], "none", IstioMtls::None),
        Some(ServerTlsMode::Mutual) => (vec![Mtls], "required", IstioMtls::None),
        Some(ServerTlsMode::IstioMutual) => (vec![Mtls], "required", IstioMtls::Required),
        Some(ServerTlsMode::OptionalMutual) => (vec![Tls, Mtls], "optional", IstioMtls::None),
        Some(ServerTlsMode::Passthrough) => (vec![Tls, Mtls], "passthrough", IstioMtls::Unterminated),
        Some(ServerTlsMode::AutoPassthrough) => (vec![Mtls], "passthrough", IstioMtls::Accepted),
    }
}
