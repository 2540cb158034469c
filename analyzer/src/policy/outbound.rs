//! The client's side of a connection: what its proxy is declared to send.

use std::net::IpAddr;

use flow::Class;

use crate::mesh::entry_visibility::Ceiling;
use crate::mesh::meta::Meta;
use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::{Behind, HostPort, Mesh, Owner};
use crate::policy::auto_mtls::{self, AutoMtls, Circumstances};
use crate::policy::inbound::{ALL, HBONE};
use crate::policy::visibility::{self, Hidden};
use crate::policy::{Decided, Trace, destination_rule, interception, routing};
use crate::report::{ClientTls, PartyKind};

/// The port of east-west gateways, which pass on what an Istio SNI names.
pub const EAST_WEST: u16 = 15443;

/// What the client's side sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// The TLS that the client's proxy originates; absent where nothing decides.
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
    let target = mesh.pod_at(ip, Some(port));
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
        let dialled = behind.endpoint.filter(|_| !behind.host.original_destination);
        if let Some(network) = dialled.and_then(|endpoint| mesh.network_apart(pod, endpoint)) {
            hidden = hidden.or(Some((Hidden::OtherNetwork(network), behind)));
            continue;
        }
        match visibility::visible(mesh, client, namespace, behind.host, behind.port.number) {
            Ok(()) => known.push(behind),
            Err(why) => {
                known.extend(takes_its_place(why, port));
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
    // Behind an east-west gateway stand only endpoints that take Istio mTLS: another network's.
    let through_gateway = behind.endpoint.is_none()
        && match target {
            Some(target) => target.proxy == PartyKind::Gateway,
            None => behind.is_elsewhere(mesh, ip, port, sni),
        };
    to_host(mesh, pod, behind, (target, through_gateway), sni, trace)
}

/// Tells whether a client's proxy reaches a pod by HBONE where istiod knows it: a pod that offers it, and not the
/// sidecars' mTLS as well unless that is to come second, or the client is a waypoint, which does not speak it. It takes
/// the place of Istio mTLS, be that a rule's own; another rule's TLS goes inside. Where the client's own destination is
/// kept there is no endpoint to tell of it.
///
/// Rule `ambient.hbone`. Istio: `endpoint_builder.go`, `buildEnvoyLbEndpoint`; `cluster_tls.go`,
/// `applyHBONETransportSocketMatches`; istio/istio pull request 54914 (1.25) and issue 54921.
fn takes_hbone(mesh: &Mesh, client: &Pod, behind: &Behind<'_>, target: &Pod, passthrough: bool) -> bool {
    let istiod = &mesh.control_plane;
    let keeps_destination = passthrough || auto_mtls::keeps_destination(mesh, client, behind);
    if istiod.without_ambient || behind.host.external || keeps_destination {
        return false;
    }
    let alone = client.proxy == PartyKind::Waypoint || !target.tls_mode_istio();
    target.hbone() && (istiod.prefers_hbone || alone)
}

/// The ports of the host that a client knows instead of a hidden one of the same name, where it keeps the address that the client
/// dials: then that one's ports and rules hold there.
///
/// Rule `sidecar.one-namespace`.
fn takes_its_place<'a>(hidden: Hidden<'a>, wire: u16) -> impl Iterator<Item = Behind<'a>> {
    let known = match hidden {
        Hidden::Displaced(known) if known.original_destination => Some(known),
        Hidden::Displaced(_)
        | Hidden::NotExported(_)
        | Hidden::NotImported(_)
        | Hidden::Undiscovered
        | Hidden::NotReady
        | Hidden::OtherNetwork(_) => None,
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

fn undecided(kind: OutboundKind, wire: &[Class]) -> Outbound {
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

fn to_host(
    mesh: &Mesh,
    pod: &Pod,
    behind: &Behind<'_>,
    (target, through_gateway): (Option<&Pod>, bool),
    sni: Option<&str>,
    trace: &mut Trace,
) -> Outbound {
    let acting = destination_rule::acting(mesh, Some(pod), &pod.meta.namespace, behind.host, trace);
    let meant = sni.and_then(istio_sni).and_then(|(_, subset, _)| subset);
    let subsets = match meant {
        Some(subset) => vec![Some(subset.to_owned())],
        None => routing::subsets(mesh, pod, behind, acting.as_ref()),
    };
    let to = |subset: Option<&str>, trace: &mut Trace| {
        to_subset(mesh, pod, behind, (target, through_gateway), acting.as_ref(), subset, trace)
    };
    let (first, others) = match subsets.as_slice() {
        [] => return to(None, trace),
        [only] => return to(only.as_deref(), trace),
        [first, others @ ..] => (first.as_deref(), others),
    };
    let mut found = to(first, &mut Trace::unheard());
    let mut differ = None;
    for other in others {
        let other = to(other.as_deref(), &mut Trace::unheard());
        if other.sni != found.sni {
            found.sni = None;
        }
        if (&other.tls.value, &other.wire) != (&found.tls.value, &found.wire) {
            differ.get_or_insert_with(|| found.wire.clone()).extend(other.wire);
        }
    }
    let Some(wire) = differ else {
        return Outbound { sni: found.sni, ..to(first, trace) };
    };
    if let Some(acting) = &acting {
        let meta = &acting.rule.meta;
        let names: Vec<&str> = subsets.iter().flatten().map(String::as_str).collect();
        let effect = format_args!("routes lead to what differs in TLS ({}): each may come", names.join(", "));
        trace.cite("destination-rule.routed-subsets", meta, Some("spec.subsets"), meta.line, effect);
    }
    let wire = ALL.into_iter().filter(|class| wire.contains(class)).collect();
    Outbound { tls: Decided::default(None), wire, sni: None, kind: OutboundKind::Rule }
}

/// What the client sends to a subset of a host, or to the host as a whole.
fn to_subset(
    mesh: &Mesh,
    pod: &Pod,
    behind: &Behind<'_>,
    (target, through_gateway): (Option<&Pod>, bool),
    acting: Option<&destination_rule::Acting<'_>>,
    subset: Option<&str>,
    trace: &mut Trace,
) -> Outbound {
    let port = behind.port.number;
    let block = acting.and_then(|acting| destination_rule::tls_block(acting, port, subset, trace));
    let passthrough =
        acting.is_some_and(|acting| destination_rule::load_balancer_passthrough(acting, port, subset));
    let version = mesh.control_plane.version;
    // Before, endpoints of a rule's ISTIO_MUTUAL were told that they take it.
    let mutual = block.as_ref().is_some_and(|block| block.tls.mode == ClientTls::IstioMutual)
        && !version.replaces_istio_mutual_by_hbone();
    if !mutual && target.is_some_and(|target| takes_hbone(mesh, pod, behind, target, passthrough)) {
        return hbone(target, trace);
    }
    let application =
        routing::brought(mesh, pod, behind, target).unwrap_or_else(|| application_wire(behind.port.protocol));
    if let Some(block) = block {
        return by_rule(pod, behind, &block, subset, application, trace);
    }
    if pod.proxy == PartyKind::Waypoint && !behind.host.external {
        let effect = "the destination has no HBONE: the waypoint passes the application's bytes on";
        trace.cite("ambient.no-sidecar-mtls", &pod.meta, None, pod.meta.line, effect);
        return undecided(OutboundKind::AmbientPlain, &application);
    }
    let circumstances = Circumstances {
        passthrough,
        through_gateway,
        endpoint_mode: acting
            .and_then(|acting| destination_rule::endpoint_mode(acting, port, subset, version)),
    };
    let (tls, wire, sni) = match auto_mtls::decide(mesh, pod, behind, circumstances, trace) {
        AutoMtls::NotApplicable => {
            return Outbound {
                tls: Decided::default(None),
                wire: application,
                sni: None,
                kind: OutboundKind::Auto,
            };
        }
        AutoMtls::Plain => (ClientTls::Disable, application, None),
        AutoMtls::Mutual => {
            let tls = if pod.own_certificates { ClientTls::Mutual } else { ClientTls::IstioMutual };
            (tls, vec![Class::Mtls], Some(mesh_sni(behind, subset)))
        }
    };
    let tls = Decided { value: Some(tls), from: "auto-mtls".to_owned() };
    Outbound { tls, wire, sni, kind: OutboundKind::Auto }
}

/// What the client sends by a rule's tls block, or of the application's own where that is no TLS.
///
/// Rules `destination-rule.mode`, `ambient.no-sidecar-mtls`, `destination-rule.credential-name`,
/// `destination-rule.own-certificates`, `destination-rule.without-certificate`. Istio: `cluster_tls.go`,
/// `buildUpstreamTLSSettings`, `buildUpstreamClusterTLSContext`, `constructUpstreamTLS`; `cluster_waypoint.go`, `buildWaypointTLSContext`.
fn by_rule(
    pod: &Pod,
    behind: &Behind<'_>,
    block: &destination_rule::TlsBlock<'_>,
    subset: Option<&str>,
    application: Vec<Class>,
    trace: &mut Trace,
) -> Outbound {
    let tls = block.tls;
    let from = block.rule.meta.id();
    let mut cite = |rule: &'static str, effect: std::fmt::Arguments<'_>| {
        trace.cite_at(rule, &block.rule.meta, block.field.clone(), tls.line, effect);
    };
    let waypoint = pod.proxy == PartyKind::Waypoint;
    let mutual = matches!(tls.mode, ClientTls::Mutual | ClientTls::IstioMutual);
    if mutual && !waypoint && pod.own_certificates && !behind.host.external {
        cite(
            "destination-rule.own-certificates",
            format_args!("{}: MUTUAL with the certificates of the client's proxy", tls.mode),
        );
        return Outbound {
            tls: Decided { value: Some(ClientTls::Mutual), from },
            wire: vec![Class::Mtls],
            sni: tls.sni.clone(),
            kind: OutboundKind::Rule,
        };
    }
    let skipped = tls.credential_name.as_ref().is_some_and(|name| !name.starts_with("configmap://"))
        && matches!(tls.mode, ClientTls::Simple | ClientTls::Mutual)
        && pod.proxy == PartyKind::Sidecar
        && block.rule.workload_selector.is_none();
    let without = tls.mode == ClientTls::Mutual && tls.credential_name.is_none() && !tls.client_certificate;
    let unspoken = waypoint && tls.mode == ClientTls::IstioMutual;
    if skipped || without || unspoken {
        if unspoken {
            cite(
                "ambient.no-sidecar-mtls",
                format_args!("ISTIO_MUTUAL is skipped: waypoints do not speak the sidecars' mTLS"),
            );
        } else if skipped {
            cite(
                "destination-rule.credential-name",
                format_args!(
                    "{} is skipped: sidecars take no credentialName from a rule without workloadSelector",
                    tls.mode
                ),
            );
        } else {
            cite(
                "destination-rule.without-certificate",
                format_args!("MUTUAL without a client certificate and key is no TLS at all"),
            );
        }
        return Outbound {
            tls: Decided { value: Some(ClientTls::Disable), from },
            wire: application,
            sni: None,
            kind: OutboundKind::Rule,
        };
    }
    let missing = if tls.mode_written { "" } else { " (no mode written)" };
    cite("destination-rule.mode", format_args!("{}{missing}, decides", tls.mode));
    let (wire, sni) = match tls.mode {
        ClientTls::Disable => (application, None),
        ClientTls::Simple => (vec![Class::Tls], tls.sni.clone().or_else(|| request_host(pod, behind))),
        ClientTls::Mutual => (vec![Class::Mtls], tls.sni.clone().or_else(|| request_host(pod, behind))),
        ClientTls::IstioMutual => {
            (vec![Class::Mtls], tls.sni.clone().or_else(|| Some(mesh_sni(behind, subset))))
        }
    };
    Outbound { tls: Decided { value: Some(tls.mode), from }, wire, sni, kind: OutboundKind::Rule }
}

/// The host that a request names, which SIMPLE and MUTUAL send as the SNI where the rule has none: known where a
/// ServiceEntry has the whole name, and the port is HTTP. Gateways route requests to HTTPS ports as well.
///
/// Rule `client.request-host`. Istio: `cluster_tls.go`, `setAutoSniAndAutoSanValidation`.
fn request_host(pod: &Pod, behind: &Behind<'_>) -> Option<String> {
    let entry = matches!(behind.host.owner, Owner::Entry(_)) && !behind.host.host.starts_with('*');
    let protocol = behind.port.protocol;
    let requests = protocol.is_http() || (pod.proxy == PartyKind::Gateway && protocol == Protocol::Https);
    (entry && requests).then(|| behind.host.host.clone())
}

/// The SNI of Istio mTLS: names Service port, subset and host.
///
/// Rule `client.proxy-per-mode`. Istio: `BuildDNSSrvSubsetKey`.
fn mesh_sni(behind: &Behind<'_>, subset: Option<&str>) -> String {
    let port = behind.port.number.to_string();
    ["outbound_.", &port, "_.", subset.unwrap_or_default(), "_.", &behind.host.host].concat()
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
    let all_endpoints = |behind: &Behind<'_>| {
        !behind.host.endpoints.is_empty()
            && behind.host.endpoints.iter().all(|endpoint| mesh.pod_of(endpoint).is_some_and(Pod::hbone))
    };
    if target.is_some_and(Pod::hbone)
        || (target.is_none() && mesh.behind(ip, port).first().is_some_and(all_endpoints))
    {
        return hbone(target, trace);
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

fn hbone(target: Option<&Pod>, trace: &mut Trace) -> Outbound {
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
