//! What a client's proxy is declared to send for one destination.

use std::net::IpAddr;

use flow::{Class, Endpoint};

use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::{Behind, HostEndpoint, HostService, Mesh};
use crate::policy::destination_rule::{Asking, Chosen, lookup, settings};
use crate::policy::inbound::{ALL, lists};
use crate::policy::sidecar_scope::{host_fits, knows, sidecar_of};
use crate::policy::{auto_mtls, cite, cite_default};
use crate::report::{Citation, ClientTls, PartyKind};

/// The port that HBONE uses.
pub const HBONE_PORT: u16 = 15008;

/// What the client side declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sends {
    /// The TLS that the proxy originates; absent where nothing decides.
    pub tls: Option<ClientTls>,
    /// What decided.
    pub from: String,
    /// Wire classes.
    pub wire: Vec<Class>,
    /// The SNI to expect.
    pub sni: Option<String>,
    /// The protocol of the service that the client means.
    pub protocol: Option<Protocol>,
    /// The reasoning.
    pub because: Vec<Citation>,
}

/// Decides what a client sends.
///
/// Rules `outbound.*`. Istio: `cluster_tls.go`, Sidecar, traffic annotations.
#[must_use]
pub fn decide(
    mesh: &Mesh,
    client: Option<&Pod>,
    to: Endpoint,
    behind: &[Behind<'_>],
    server: Option<&Pod>,
    sni: Option<&str>,
) -> Sends {
    let nothing = |rule: &'static str, effect: &str, wire: Vec<Class>| Sends {
        tls: None,
        from: "default".to_owned(),
        wire,
        sni: None,
        protocol: None,
        because: vec![cite_default(rule, effect)],
    };
    let Some(client) = client else {
        return nothing("outbound.client-proxy", "no proxy known: the application decides", ALL.to_vec());
    };
    let hbone_server = server.is_some_and(Pod::hbone);
    match client.proxy {
        PartyKind::Ambient | PartyKind::Waypoint => {
            if hbone_server {
                return hbone();
            }
            return nothing("outbound.hbone", "no HBONE there: the application's bytes", ALL.to_vec());
        }
        PartyKind::Sidecar | PartyKind::Gateway => {}
        PartyKind::NoProxy
        | PartyKind::Node
        | PartyKind::ServiceAddress
        | PartyKind::Declared
        | PartyKind::Unknown => {
            return nothing("outbound.client-proxy", "no proxy: the application decides", ALL.to_vec());
        }
    }
    if to.port == HBONE_PORT && hbone_server {
        return hbone();
    }
    let by_gateway = client.proxy == PartyKind::Gateway;
    let sidecar =
        if by_gateway { None } else { sidecar_of(mesh, &client.meta.namespace, &client.meta.labels) };
    let visible: Vec<Behind<'_>> =
        behind.iter().copied().filter(|found| knows(sidecar, &client.meta.namespace, found.host)).collect();
    if !by_gateway && excluded(client, to, &visible) {
        return nothing("outbound.excluded", "bypasses the proxy: the application decides", ALL.to_vec());
    }
    let meant = sni
        .and_then(outbound_sni)
        .and_then(|named| {
            visible.iter().find(|found| found.host.host == named.host && found.port.number == named.port)
        })
        .or_else(|| {
            visible
                .iter()
                .find(|found| *found.host.namespace == *client.meta.namespace && found.host.external)
        })
        .or_else(|| visible.first());
    let Some(meant) = meant else {
        let drops = sidecar.and_then(|sidecar| sidecar.registry_only).unwrap_or(mesh.config.registry_only);
        return if drops {
            nothing("outbound.passthrough", "unknown to the client, REGISTRY_ONLY drops it", Vec::new())
        } else {
            nothing("outbound.passthrough", "unknown to the client: the application's bytes", ALL.to_vec())
        };
    };
    to_service(mesh, client, meant, server, sni, by_gateway)
}

fn hbone() -> Sends {
    Sends {
        tls: Some(ClientTls::IstioMutual),
        from: "hbone".to_owned(),
        wire: vec![Class::Mtls],
        sni: None,
        protocol: None,
        because: vec![cite_default("outbound.hbone", "HBONE, decides")],
    }
}

fn to_service(
    mesh: &Mesh,
    client: &Pod,
    meant: &Behind<'_>,
    server: Option<&Pod>,
    sni: Option<&str>,
    by_gateway: bool,
) -> Sends {
    let mut because = Vec::new();
    let host = meant.host;
    let asking = Asking { namespace: &client.meta.namespace, labels: &client.meta.labels };
    let merged = lookup(mesh, asking, &host.host, &host.namespace, &mut because);
    let endpoint = meant
        .endpoint
        .or_else(|| host.endpoints.iter().find(|each| each.ports.contains_key(&meant.port.number)));
    let subset = match sni.and_then(outbound_sni) {
        Some(named) => named.subset,
        None => merged
            .as_ref()
            .and_then(|merged| routed_subset(mesh, client, host, endpoint, merged.rules.as_slice())),
    };
    let chosen = merged
        .as_ref()
        .and_then(|merged| settings(merged, meant.port.number, subset.as_deref(), &mut because));
    let (tls, from) = match chosen.and_then(|chosen| Some((chosen, chosen.tls?))) {
        Some((chosen, _)) => {
            let (mode, effect) = in_force(chosen, by_gateway);
            if let Some(tls) = chosen.tls {
                let rule = match &*chosen.rule.meta.kind {
                    "BackendTLSPolicy" => "destination-rule.backend-tls-policy",
                    _ if effect.is_some() => "destination-rule.credential-name",
                    _ => "destination-rule.tls-mode",
                };
                let text = effect.map_or_else(|| format!("{mode}, decides"), str::to_owned);
                because.push(cite(
                    rule,
                    &chosen.rule.meta,
                    Some("spec.trafficPolicy.tls.mode"),
                    tls.line,
                    &text,
                ));
            }
            (Some(mode), chosen.rule.meta.id())
        }
        None => {
            if let Some(chosen) = chosen {
                let meta = &chosen.rule.meta;
                because.push(cite("destination-rule.lookup", meta, None, meta.line, "applies, sets no tls"));
            }
            let ambient = server.is_some_and(|pod| pod.proxy == PartyKind::Ambient);
            if ambient && mesh.config.auto_mtls && !host.external {
                let protocol = Some(meant.port.protocol);
                return Sends { protocol, ..hbone() };
            }
            let endpoint = meant.endpoint;
            match auto_mtls::decide(mesh, host, meant.port, endpoint, chosen, by_gateway, &mut because) {
                Some(tls) => (Some(tls), "auto-mtls".to_owned()),
                None => (None, "default".to_owned()),
            }
        }
    };
    let protocol = meant.port.protocol;
    let own_sni = chosen.and_then(|chosen| chosen.tls).and_then(|tls| tls.sni.clone());
    let sni = match tls {
        Some(ClientTls::IstioMutual) => own_sni.or_else(|| {
            let subset = subset.as_deref().unwrap_or_default();
            Some(format!("outbound_.{}_.{subset}_.{}", meant.port.number, host.host))
        }),
        Some(ClientTls::Simple | ClientTls::Mutual) => {
            own_sni.or_else(|| (protocol.is_http() && !host.host.contains('*')).then(|| host.host.clone()))
        }
        Some(ClientTls::Disable) | None => None,
    };
    Sends { tls, from, wire: wire(tls, protocol), sni, protocol: Some(protocol), because }
}

/// Tells the mode that a tls block really has: a sidecar skips `credentialName` without a selector, and MUTUAL without
/// a certificate is no TLS.
///
/// Rule `destination-rule.credential-name`. Istio: `buildUpstreamClusterTLSContext`.
fn in_force(chosen: Chosen<'_>, by_gateway: bool) -> (ClientTls, Option<&'static str>) {
    let Some(tls) = chosen.tls else { return (ClientTls::Disable, None) };
    let credential = tls.credential_name.as_deref().filter(|name| !name.starts_with("configmap://"));
    match tls.mode {
        ClientTls::Simple | ClientTls::Mutual
            if !by_gateway && credential.is_some() && chosen.rule.workload_selector.is_none() =>
        {
            (ClientTls::Disable, Some("credentialName without workloadSelector: TLS is skipped, decides"))
        }
        ClientTls::Mutual if tls.credential_name.is_none() && !tls.client_certificate => {
            (ClientTls::Disable, Some("MUTUAL without a client certificate: no TLS, decides"))
        }
        mode @ (ClientTls::Disable | ClientTls::Simple | ClientTls::Mutual | ClientTls::IstioMutual) => {
            (mode, None)
        }
    }
}

/// Tells what a mode puts on the wire. Without the proxy's TLS it is the application's bytes, as the port declares them.
///
/// Rule `destination-rule.tls-mode`. Istio: Understanding TLS Configuration.
#[must_use]
pub fn wire(tls: Option<ClientTls>, protocol: Protocol) -> Vec<Class> {
    match tls {
        Some(ClientTls::IstioMutual | ClientTls::Mutual) => vec![Class::Mtls],
        Some(ClientTls::Simple) => vec![Class::Tls],
        Some(ClientTls::Disable) | None => {
            if protocol.is_http() {
                vec![Class::Plaintext]
            } else if protocol.is_tls() {
                vec![Class::Tls, Class::Mtls]
            } else {
                ALL.to_vec()
            }
        }
    }
}

/// Finds the subset that the mesh's routes lead to for a host and whose labels the endpoint has.
fn routed_subset(
    mesh: &Mesh,
    client: &Pod,
    host: &HostService,
    endpoint: Option<&HostEndpoint>,
    rules: &[&crate::mesh::destination_rule::DestinationRule],
) -> Option<String> {
    let names = |text: &str, namespace: &str| {
        let full = if text.contains('.') || text.contains('*') {
            text.to_owned()
        } else {
            format!("{text}.{namespace}.svc.{}", mesh.config.domain)
        };
        host_fits(&full, &host.host)
    };
    mesh.virtual_services
        .iter()
        .filter(|routes| {
            if client.proxy == PartyKind::Gateway {
                !routes.gateways.is_empty()
            } else {
                routes.is_for_mesh()
            }
        })
        .flat_map(|routes| routes.routes.iter().map(move |route| (routes, route)))
        .flat_map(|(routes, route)| route.destinations.iter().map(move |to| (routes, to)))
        .filter(|(routes, to)| names(&to.host, &routes.meta.namespace))
        .filter_map(|(_, to)| to.subset.clone())
        .find(|name| {
            rules.iter().flat_map(|rule| &rule.subsets).filter(|subset| subset.name == *name).any(|subset| {
                endpoint.is_none_or(|endpoint| crate::mesh::meta::selects(&subset.labels, &endpoint.labels))
            })
        })
}

/// What an SNI of Istio's own form names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundSni {
    /// The Service port.
    pub port: u16,
    /// The subset.
    pub subset: Option<String>,
    /// The host.
    pub host: String,
}

/// Decodes `outbound_.<port>_.<subset>_.<host>`; absent for any other name.
#[must_use]
pub fn outbound_sni(sni: &str) -> Option<OutboundSni> {
    let mut parts = sni.strip_prefix("outbound_.")?.splitn(3, "_.");
    let port = parts.next()?.parse().ok()?;
    let subset = Some(parts.next()?.to_owned()).filter(|subset| !subset.is_empty());
    Some(OutboundSni { port, subset, host: parts.next()?.to_owned() })
}

/// Tells whether the client's annotations keep the connection from its proxy. The application dials Service addresses
/// and ports, so those count beside the destination on the wire.
///
/// Rule `outbound.excluded`. Istio: Resource Annotations.
fn excluded(client: &Pod, to: Endpoint, visible: &[Behind<'_>]) -> bool {
    let note = |name: &str| client.meta.annotations.get(&format!("traffic.sidecar.istio.io/{name}"));
    if client.meta.annotations.get("sidecar.istio.io/interceptionMode").is_some_and(|mode| mode == "NONE") {
        return true;
    }
    let mut ports: Vec<u16> = visible.iter().map(|found| found.port.number).collect();
    let mut addresses: Vec<IpAddr> = visible
        .iter()
        .flat_map(|found| &found.host.addresses)
        .filter(|range| range.prefix_len() == range.max_prefix_len())
        .map(ipnet::IpNet::addr)
        .collect();
    if ports.is_empty() {
        ports.push(to.port);
    }
    if addresses.is_empty() {
        addresses.push(to.ip);
    }
    let in_ranges = |list: &String| {
        list.split(',').map(str::trim).any(|part| {
            part == "*"
                || part
                    .parse::<ipnet::IpNet>()
                    .is_ok_and(|range| addresses.iter().any(|ip| range.contains(ip)))
        })
    };
    let has_port = |list: &String| ports.iter().any(|port| lists(list, *port));
    note("excludeOutboundPorts").is_some_and(has_port)
        || note("excludeOutboundIPRanges").is_some_and(in_ranges)
        || (note("includeOutboundIPRanges").is_some_and(|list| !in_ranges(list))
            && !note("includeOutboundPorts").is_some_and(has_port))
}

#[cfg(test)]
mod tests {
    use flow::Class::{Mtls, Plaintext, Tls};

    use super::{OutboundSni, outbound_sni, wire};
    use crate::mesh::service::Protocol;
    use crate::report::ClientTls;

    #[test]
    fn every_mode_with_every_protocol() {
        for &protocol in Protocol::ALL {
            let own = match (protocol.is_http(), protocol.is_tls()) {
                (true, _) => vec![Plaintext],
                (_, true) => vec![Tls, Mtls],
                (false, false) => vec![Plaintext, Tls, Mtls],
            };
            assert_eq!(wire(None, protocol), own);
            for &mode in ClientTls::ALL {
                let expected = match mode {
                    ClientTls::Disable => own.clone(),
                    ClientTls::Simple => vec![Tls],
                    ClientTls::Mutual | ClientTls::IstioMutual => vec![Mtls],
                };
                assert_eq!(wire(Some(mode), protocol), expected, "{mode} {protocol}");
            }
        }
    }

    #[test]
    fn istios_own_names() {
        let named = |port, subset: Option<&str>, host: &str| {
            Some(OutboundSni { port, subset: subset.map(str::to_owned), host: host.to_owned() })
        };
        assert_eq!(
            outbound_sni("outbound_.9080_._.a.b.svc.cluster.local"),
            named(9080, None, "a.b.svc.cluster.local")
        );
        assert_eq!(outbound_sni("outbound_.80_.v1_.a.b"), named(80, Some("v1"), "a.b"));
        assert_eq!(outbound_sni("a.b"), None);
        assert_eq!(outbound_sni("outbound_.x_._.a"), None);
    }
}
