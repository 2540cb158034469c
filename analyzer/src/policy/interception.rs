//! Which connections pass the sidecar at all: the pod's annotations, as read when it started.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::mesh::control_plane::IstioVersion;
use crate::mesh::pod::Pod;

/// Ports of the proxy itself that are never redirected to it.
pub const NEVER_INTERCEPTED: [u16; 3] = [15020, 15021, 15090];

/// Ports that connections are redirected to, outbound and inbound.
pub const REDIRECT_TARGETS: [u16; 2] = [15001, 15006];

/// The interface that a pod's own address belongs to, in every network of Kubernetes.
const POD_INTERFACE: &str = "eth0";

/// Tells whether inbound connections to a container port reach the sidecar: redirected to it, or to a port that it opens itself.
///
/// Rule `interception.inbound`. Istio: annotations `traffic.sidecar.istio.io/includeInboundPorts`, `excludeInboundPorts`,
/// `excludeInterfaces`, and `sidecar.istio.io/interceptionMode`, else `interceptionMode` of `proxy.istio.io/config` or of
/// MeshConfig's `defaultConfig`.
pub fn inbound(pod: &Pod, port: u16) -> Result<(), String> {
    if pod.opened.contains(&port) {
        return Ok(());
    }
    if let Some(why) = no_redirection(pod) {
        return Err(why);
    }
    if NEVER_INTERCEPTED.contains(&port) {
        return Err(format!("port {port} is the proxy's own and never intercepted"));
    }
    // The exclusions are taken from `*` alone: an explicit list is redirected as it stands.
    match annotation(pod, "traffic.sidecar.istio.io/includeInboundPorts") {
        Some(list) if list.trim() != "*" => {
            if lists(list, port) {
                Ok(())
            } else {
                Err(format!("includeInboundPorts does not list {port}"))
            }
        }
        _ if annotation(pod, "traffic.sidecar.istio.io/excludeInboundPorts")
            .is_some_and(|list| lists(list, port)) =>
        {
            Err(format!("excludeInboundPorts lists {port}"))
        }
        _ => Ok(()),
    }
}

/// Tells whether an inbound port without an annotation reaches the sidecar: before Istio 1.6 only declared container ports.
///
/// Rule `interception.declared-ports`. istio/istio issue 27995.
pub fn inbound_by_default(pod: &Pod, port: u16, version: IstioVersion) -> Result<(), String> {
    let declared = || pod.ports.iter().any(|(_, number)| *number == port);
    if version.intercepts_undeclared_ports()
        || annotation(pod, "traffic.sidecar.istio.io/includeInboundPorts").is_some()
        || declared()
    {
        return Ok(());
    }
    Err(format!("before Istio 1.6 only declared container ports are redirected, and {port} is none"))
}

/// Tells whether a connection that the application opens passes the sidecar.
///
/// Rule `interception.outbound`. Istio: annotations `traffic.sidecar.istio.io/*Outbound*`. The numbers and addresses are
/// those that the application dials: `dialled` holds the Service's addresses with its port, and the destination on the
/// wire last. Where the Service has an address, the one on the wire is the proxy's choice and was never dialled.
pub fn outbound(pod: &Pod, dialled: &[(IpAddr, u16)]) -> Result<(), String> {
    if let Some(why) = no_redirection(pod) {
        return Err(why);
    }
    let wire = dialled.last().map(|(ip, _)| *ip);
    let family = |ip: IpAddr| wire.is_some_and(|wire| wire.is_ipv4() == ip.is_ipv4());
    let own: Vec<_> = dialled.iter().filter(|(ip, _)| Some(*ip) != wire && family(*ip)).copied().collect();
    let dialled = if own.is_empty() { dialled } else { &own };
    let included_port = |port| {
        annotation(pod, "traffic.sidecar.istio.io/includeOutboundPorts")
            .is_some_and(|list| list.trim() == "*" || lists(list, port))
    };
    for (ip, port) in dialled {
        if annotation(pod, "traffic.sidecar.istio.io/excludeOutboundPorts")
            .is_some_and(|list| lists(list, *port))
        {
            return Err(format!("excludeOutboundPorts lists {port}"));
        }
        if annotation(pod, "traffic.sidecar.istio.io/excludeOutboundIPRanges")
            .is_some_and(|list| holds(list, *ip))
        {
            return Err(format!("excludeOutboundIPRanges holds {ip}"));
        }
    }
    match annotation(pod, "traffic.sidecar.istio.io/includeOutboundIPRanges") {
        Some(list) if list.trim() != "*" => {
            if dialled.iter().any(|(ip, port)| holds(list, *ip) || included_port(*port)) || dialled.is_empty()
            {
                Ok(())
            } else {
                Err("includeOutboundIPRanges does not hold the destination".to_owned())
            }
        }
        _ => Ok(()),
    }
}

/// What takes the whole pod out: no redirection at all, or none on the interface that its address belongs to.
fn no_redirection(pod: &Pod) -> Option<String> {
    if pod.redirected == Some(false) {
        return Some("interceptionMode is NONE".to_owned());
    }
    annotation(pod, "traffic.sidecar.istio.io/excludeInterfaces")
        .is_some_and(|list| list.split(',').any(|name| name.trim() == POD_INTERFACE))
        .then(|| format!("excludeInterfaces lists {POD_INTERFACE}"))
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.meta.annotations.get(name).map(String::as_str)
}

fn lists(list: &str, port: u16) -> bool {
    list.split(',').any(|entry| entry.trim().parse() == Ok(port))
}

fn holds(list: &str, ip: IpAddr) -> bool {
    list.split(',').any(|entry| {
        let entry = entry.trim();
        entry == "*"
            || entry.parse::<IpNet>().is_ok_and(|range| range.contains(&ip))
            || entry.parse::<IpAddr>().is_ok_and(|own| own == ip)
    })
}
