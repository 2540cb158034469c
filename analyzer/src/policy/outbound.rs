//! The client's side of a connection: what its proxy is declared to send.

use std::net::IpAddr;

use flow::Class;

use crate::mesh::entry_visibility::Ceiling;
use crate::mesh::meta::Meta;
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::service_entry::Resolution;
use crate::mesh::{Behind, HostPort, Mesh, Owner};
use crate::policy::inbound::{ALL, HBONE};
use crate::policy::known_host::to_host;
use crate::policy::visibility::{self, Hidden};
use crate::policy::{Decided, Trace, destination_rule, interception, waypoint};
use crate::report::{ClientTls, PartyKind};

/// The port of east-west gateways, which pass on what an Istio SNI names.
pub const EAST_WEST: u16 = 15443;

/// What the client's side sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// The TLS that the client's proxy originates; absent where nothing decides, or each request does.
    pub tls: Decided<Option<ClientTls>>,
    /// Wire classes it emits; empty when nothing should leave.
    pub wire: Vec<Class>,
    /// The SNI it sends.
    pub sni: Option<String>,
    /// Why it is so.
    pub kind: OutboundKind,
}

/// Why the client sends what it sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundKind {
    /// The client has no proxy.
    NoProxy,
    /// The destination is not redirected to the sidecar; with the reason.
    NotIntercepted(String),
    /// The client does not know the destination: forwarded as it is.
    Passthrough {
        /// Why it does not.
        why: String,
        /// Whether the destination is declared, and hidden from the client by a Sidecar or an `exportTo`.
        hidden: bool,
    },
    /// The client does not know the destination: dropped.
    Blocked {
        /// As in [`OutboundKind::Passthrough`].
        hidden: bool,
    },
    /// A DestinationRule's tls block.
    Rule,
    /// Auto mTLS, or the application's bytes where it does not apply.
    Auto,
    /// HBONE.
    Hbone,
    /// An ambient client to a destination without HBONE.
    AmbientPlain,
}

/// Says what a client is declared to send to `ip`:`port`, where it may mean these hosts ([`Mesh::meant`]).
#[must_use]
pub fn decide(
    mesh: &Mesh,
    client: Option<&Pod>,
    meant: &[Behind<'_>],
    ip: IpAddr,
    port: u16,
    sni: Option<&str>,
    trace: &mut Trace,
) -> Outbound {
    let Some(pod) = client else {
        trace.built_in("client.application-decides", "the client has no proxy of this mesh");
        return undecided(OutboundKind::NoProxy, &ALL);
    };
    let machine = || mesh.machine_at(ip).filter(|machine| machine.hbone());
    let target = mesh.pod_at(ip, Some(port)).or_else(machine);
    match pod.proxy {
        PartyKind::NoProxy
        | PartyKind::Node
        | PartyKind::ServiceAddress
        | PartyKind::Declared
        | PartyKind::Unknown => {
            trace.cite(
                "client.application-decides",
                &pod.meta,
                None,
                pod.meta.line,
                "the client has no proxy",
            );
            return undecided(OutboundKind::NoProxy, &ALL);
        }
        PartyKind::Ambient | PartyKind::Waypoint if mesh.is_hbone_gateway(ip, port) => {
            return hbone(target, trace);
        }
        PartyKind::Ambient => return ambient(mesh, pod, target, ip, port, trace),
        PartyKind::Sidecar | PartyKind::Gateway | PartyKind::Waypoint => {}
    }
    let namespace = &*pod.meta.namespace;
    let named = by_sni(meant, sni);
    let mut hidden = None;
    let mut known = Vec::new();
    for behind in named {
        if !sent_to(&behind) {
            hidden = hidden.or(Some((Hidden::NotReady, behind)));
            continue;
        }
        if !resolves(mesh, pod, &behind) {
            hidden = hidden.or_else(|| Some((Hidden::NotResolved(mesh.declaration(behind.host)), behind)));
            continue;
        }
        let dialled = behind.endpoint.filter(|_| !behind.host.original_destination);
        if let Some(network) = dialled.and_then(|endpoint| mesh.network_apart(pod, endpoint)) {
            hidden = hidden.or(Some((Hidden::OtherNetwork(network), behind)));
            continue;
        }
        if dialled.is_some_and(|endpoint| mesh.is_on_another_node(pod, behind.host, endpoint)) {
            hidden = hidden.or(Some((Hidden::OtherNode, behind)));
            continue;
        }
        match visibility::visible(mesh, client, namespace, behind.host, behind.port.number) {
            Ok(()) => known.push(behind),
            Err(why) => {
                known.extend(takes_its_place(mesh, why, port));
                hidden = hidden.or(Some((why, behind)));
            }
        }
    }
    // Of several hosts behind one destination the one that names it most closely is meant, then that of the client's own
    // namespace, then the oldest.
    let closest = known.iter().map(|behind| behind.closeness(ip)).max();
    known.retain(|behind| Some(behind.closeness(ip)) == closest);
    let own = known.iter().find(|behind| *behind.host.namespace == *namespace).or_else(|| known.first());
    let chosen = own.map(|own| {
        let ports: Vec<Behind<'_>> =
            known.iter().copied().filter(|behind| std::ptr::eq(behind.host, own.host)).collect();
        likeliest(mesh, pod, ports, *own, port)
    });
    if pod.proxy == PartyKind::Sidecar {
        let dialled: Vec<(IpAddr, u16)> = match &chosen {
            Some(behind) => behind
                .host
                .addresses
                .iter()
                .filter(|net| net.prefix_len() == net.max_prefix_len())
                .map(|net| (net.addr(), behind.port.number))
                .chain([(ip, port), (ip, behind.port.number)])
                .collect(),
            None => vec![(ip, port)],
        };
        if let Err(why) = interception::outbound(pod, &dialled) {
            trace.cite(
                "interception.outbound",
                &pod.meta,
                Some("metadata.annotations"),
                pod.meta.line,
                why.clone(),
            );
            return undecided(OutboundKind::NotIntercepted(why), &ALL);
        }
    }
    let knows_hbone = !mesh.control_plane.without_ambient;
    if port == HBONE && knows_hbone && target.is_some_and(Pod::hbone) {
        return hbone(target, trace);
    }
    let Some(behind) = &chosen else { return unknown_destination(mesh, pod, hidden, trace) };
    if waypoint::of_proxy(mesh, pod, &known, trace).is_some() {
        return waypoint::outbound();
    }
    // Behind an east-west gateway stand only endpoints that take Istio mTLS: another network's.
    let through_gateway = behind.endpoint.is_none()
        && match target {
            Some(target) => target.proxy == PartyKind::Gateway,
            None => behind.is_elsewhere(mesh, ip, port, sni),
        };
    to_host(mesh, pod, behind, (target, through_gateway), sni, trace)
}

/// The ports of the host that a client knows instead of a hidden one of the same name, where it keeps the address that the client
/// dials, or finds it by asking for that very name: then that one's ports and rules hold there.
///
/// Rule `sidecar.one-namespace`.
fn takes_its_place<'a>(mesh: &Mesh, hidden: Hidden<'a>, wire: u16) -> impl Iterator<Item = Behind<'a>> {
    let known = match hidden {
        Hidden::Displaced(known) if known.original_destination || mesh.asks_for_its_own_name(known) => {
            Some(known)
        }
        Hidden::Displaced(_)
        | Hidden::NotExported(_)
        | Hidden::NotImported(_)
        | Hidden::NotResolved(_)
        | Hidden::Undiscovered
        | Hidden::NotReady
        | Hidden::OtherNetwork(_)
        | Hidden::OtherNode => None,
    };
    let ports = known.into_iter().flat_map(|host| host.ports.iter().map(move |port| (host, port)));
    let leads =
        move |port: &HostPort| port.protocol != Protocol::Udp && (port.number == wire || port.target == wire);
    ports.filter(move |(_, port)| leads(port)).map(|(host, port)| Behind { host, port, endpoint: None })
}

/// Tells whether proxies send to this endpoint: not to one that is not ready, except where the client's own destination is
/// kept.
///
/// Rule `client.ready-endpoints`. Istio: `pilot/pkg/xds/endpoints/endpoint_builder.go`, `filterIstioEndpoint`.
fn sent_to(behind: &Behind<'_>) -> bool {
    behind.host.original_destination || behind.endpoint.is_none_or(|endpoint| endpoint.ready)
}

/// Tells whether a client's proxy can send to a host whose names it resolves for each request (DYNAMIC_DNS): waypoints can, and
/// since 1.30 sidecars, by the name in a request of HTTP or in a ClientHello.
///
/// Rule `client.dynamic-dns`. Istio: `pilot/pkg/networking/core/cluster_dfp_sidecar_test.go`, `TestSidecarDynamicDNSClusters`;
/// istio/istio pull request 58688.
fn resolves(mesh: &Mesh, pod: &Pod, behind: &Behind<'_>) -> bool {
    let Owner::Entry(place) = behind.host.owner else { return true };
    let entry = mesh.service_entries.get(place);
    if pod.proxy == PartyKind::Waypoint
        || entry.is_none_or(|entry| entry.resolution != Resolution::DynamicDns)
    {
        return true;
    }
    let protocol = behind.port.protocol;
    pod.proxy == PartyKind::Sidecar
        && mesh.control_plane.version.resolves_in_sidecars()
        && (protocol.is_http() || protocol == Protocol::Tls)
}

/// Chooses among the ports of one host that lead to the same port on the wire: the one that a rule originates TLS for, as
/// an entry's port 80 with target port 443 beside its port 443; else the one of this number.
///
/// Rule `client.same-wire-port`.
fn likeliest<'a>(mesh: &Mesh, pod: &Pod, ports: Vec<Behind<'a>>, first: Behind<'a>, wire: u16) -> Behind<'a> {
    if ports.len() < 2 {
        return first;
    }
    let acting =
        destination_rule::acting(mesh, Some(pod), &pod.meta.namespace, first.host, &mut Trace::unheard());
    let originates = |behind: &&Behind<'_>| {
        acting.as_ref().is_some_and(|acting| {
            destination_rule::tls_block(acting, behind.port.number, None, &mut Trace::unheard())
                .is_some_and(|block| block.tls.mode != ClientTls::Disable)
        })
    };
    let outside = first.host.external;
    ports
        .iter()
        .find(|behind| outside && originates(behind))
        .or_else(|| ports.iter().find(|behind| behind.port.number == wire))
        .copied()
        .unwrap_or(first)
}

/// Prefers the hosts that an Istio SNI (`outbound_.9080_.v1_.host`) names.
fn by_sni<'a>(behind: &[Behind<'a>], sni: Option<&str>) -> Vec<Behind<'a>> {
    if let Some((port, _, host)) = sni.and_then(istio_sni) {
        let named: Vec<Behind<'a>> = behind
            .iter()
            .copied()
            .filter(|behind| behind.host.host == host && behind.port.number == port)
            .collect();
        if !named.is_empty() {
            return named;
        }
    }
    behind.to_vec()
}

/// Reads an Istio SNI: Service port, subset, host.
#[must_use]
pub fn istio_sni(sni: &str) -> Option<(u16, Option<&str>, &str)> {
    let rest = sni.strip_prefix("outbound_.")?;
    let (port, rest) = rest.split_once("_.")?;
    let (subset, host) = rest.split_once("_.")?;
    Some((port.parse().ok()?, Some(subset).filter(|subset| !subset.is_empty()), host))
}

pub(super) fn undecided(kind: OutboundKind, wire: &[Class]) -> Outbound {
    Outbound { tls: Decided::default(None), wire: wire.to_vec(), sni: None, kind }
}

fn unknown_destination(
    mesh: &Mesh,
    pod: &Pod,
    hidden: Option<(Hidden<'_>, Behind<'_>)>,
    trace: &mut Trace,
) -> Outbound {
    let is_hidden = matches!(hidden, Some((Hidden::NotExported(_) | Hidden::NotImported(_), _)));
    let stranger = hidden.is_none();
    let why = match hidden {
        Some((Hidden::NotExported(Some(meta)), behind))
            if &*meta.kind == "ServiceEntry" && mesh.ceiling(&behind.host.namespace) != Ceiling::Public =>
        {
            let why = format!("{} is seen in its own namespace at most", meta.id());
            trace.config("sidecar.egress", &mesh.config, "serviceEntryVisibility", None, why.clone());
            why
        }
        Some((Hidden::NotExported(Some(meta)), _)) => {
            trace.cite(
                "sidecar.egress",
                meta,
                Some("exportTo"),
                meta.line,
                "not exported to the client's namespace",
            );
            format!("{} is not exported to the client", meta.id())
        }
        Some((Hidden::NotExported(None), behind)) => {
            let why = format!("{} is not exported to the client", behind.host.host);
            trace.built_in("sidecar.egress", why.clone());
            why
        }
        Some((Hidden::Undiscovered, behind)) => {
            let why = format!("{} is in no namespace of discoverySelectors", behind.host.host);
            trace.config("control-plane.discovery", &mesh.config, "discoverySelectors", None, why.clone());
            why
        }
        Some((Hidden::Displaced(known), behind)) => {
            let known = mesh.declaration(known);
            let by = known.map_or_else(|| "another declaration".to_owned(), Meta::id);
            let why = format!("the client knows {} by {by}", behind.host.host);
            if let Some(meta) = known {
                trace.cite("sidecar.one-namespace", meta, None, meta.line, why.clone());
            }
            why
        }
        Some((Hidden::NotReady, behind)) => {
            if let Some(meta) = mesh.declaration(behind.host) {
                trace.cite("client.ready-endpoints", meta, None, meta.line, "the endpoint is not ready");
            }
            format!("this endpoint of {} is not ready", behind.host.host)
        }
        Some((Hidden::NotResolved(declaration), behind)) => {
            let why = format!(
                "the client's proxy resolves no names of {} for protocol {}",
                behind.host.host, behind.port.protocol
            );
            if let Some(meta) = declaration {
                trace.cite("client.dynamic-dns", meta, Some("spec.resolution"), meta.line, why.clone());
            }
            why
        }
        Some((Hidden::OtherNode, behind)) => {
            if let Some(meta) = mesh.declaration(behind.host) {
                let effect = "internalTrafficPolicy is Local, and the endpoint is on another node";
                trace.cite("client.own-node", meta, Some("spec.internalTrafficPolicy"), meta.line, effect);
            }
            format!("of {} the client knows the endpoints on its own node", behind.host.host)
        }
        Some((Hidden::OtherNetwork(network), behind)) => {
            let why = format!(
                "the endpoints of {} in network {network} are reached through its gateway",
                behind.host.host
            );
            if let Some(meta) = mesh.declaration(behind.host) {
                trace.cite("client.other-network", meta, None, meta.line, why.clone());
            }
            why
        }
        Some((Hidden::NotImported(sidecar), behind)) => {
            trace.cite(
                "sidecar.egress",
                &sidecar.meta,
                Some("spec.egress"),
                sidecar.meta.line,
                format_args!("does not list {}", behind.host.host),
            );
            format!("{} hides {}", sidecar.meta.id(), behind.host.host)
        }
        None => "no Service or ServiceEntry has this address and port".to_owned(),
    };
    const RULE: &str = "client.outbound-traffic-policy";
    let own =
        visibility::sidecar_for(mesh, pod).and_then(|sidecar| Some((&sidecar.meta, sidecar.registry_only?)));
    let blocked = own.map_or(mesh.config.registry_only, |(_, blocked)| blocked);
    let does = if blocked { "REGISTRY_ONLY drops it" } else { "ALLOW_ANY passes the application's bytes on" };
    // What hides the destination was cited by itself.
    let why_not = if stranger { [": ", &why].concat() } else { String::new() };
    let effect = format_args!("{does}{why_not}");
    match own {
        Some((meta, _)) => trace.cite(RULE, meta, Some("spec.outboundTrafficPolicy.mode"), meta.line, effect),
        None if blocked => trace.config(RULE, &mesh.config, "outboundTrafficPolicy.mode", None, effect),
        None => trace.built_in(RULE, effect),
    }
    if blocked {
        return undecided(OutboundKind::Blocked { hidden: is_hidden }, &[]);
    }
    undecided(OutboundKind::Passthrough { why, hidden: is_hidden }, &ALL)
}

/// What leaves where no TLS is originated: the application's own bytes, as far as the port's protocol binds them.
#[must_use]
pub fn application_wire(protocol: Protocol) -> Vec<Class> {
    if protocol.is_http() {
        vec![Class::Plaintext]
    } else if protocol.is_tls() {
        vec![Class::Tls, Class::Mtls]
    } else {
        ALL.to_vec()
    }
}

fn ambient(
    mesh: &Mesh,
    pod: &Pod,
    target: Option<&Pod>,
    ip: IpAddr,
    port: u16,
    trace: &mut Trace,
) -> Outbound {
    let led = waypoint::of_ambient_client(mesh, target, ip, port, trace).is_some();
    let all_endpoints = |behind: &Behind<'_>| {
        !behind.host.endpoints.is_empty()
            && behind.host.endpoints.iter().all(|endpoint| mesh.pod_of(endpoint).is_some_and(Pod::hbone))
    };
    if target.is_some_and(Pod::hbone)
        || (target.is_none() && mesh.behind(ip, port).first().is_some_and(all_endpoints))
    {
        return hbone(target, trace);
    }
    if led {
        return waypoint::outbound();
    }
    trace.cite(
        "ambient.no-sidecar-mtls",
        &pod.meta,
        None,
        pod.meta.line,
        "the destination has no HBONE: ztunnel passes the application's bytes on",
    );
    undecided(OutboundKind::AmbientPlain, &ALL)
}

pub(super) fn hbone(target: Option<&Pod>, trace: &mut Trace) -> Outbound {
    match target {
        Some(pod) => {
            trace.cite("ambient.hbone", &pod.meta, None, pod.meta.line, "reached by HBONE on port 15008")
        }
        None => trace.built_in("ambient.hbone", "reached by HBONE on port 15008"),
    }
    Outbound {
        tls: Decided { value: Some(ClientTls::IstioMutual), from: "hbone".to_owned() },
        wire: vec![Class::Mtls],
        sni: None,
        kind: OutboundKind::Hbone,
    }
}

#[cfg(test)]
mod tests {
    use super::istio_sni;

    #[test]
    fn an_istio_sni_names_port_subset_and_host() {
        for (sni, expected) in [
            (
                "outbound_.9080_._.reviews.default.svc.cluster.local",
                Some((9080, None, "reviews.default.svc.cluster.local")),
            ),
            ("outbound_.80_.v1_.a.b", Some((80, Some("v1"), "a.b"))),
            ("outbound_.x_._.a", None),
            ("reviews", None),
        ] {
            assert_eq!(istio_sni(sni), expected, "{sni}");
        }
    }
}
