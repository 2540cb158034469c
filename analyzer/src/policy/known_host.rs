//! What a client sends to a host that it knows: by the subsets that routes lead to, a rule's tls block, or auto mTLS.

use flow::Class;

use crate::mesh::pod::Pod;
use crate::mesh::service::Protocol;
use crate::mesh::{Behind, Mesh, Owner};
use crate::policy::auto_mtls::{self, AutoMtls, Circumstances};
use crate::policy::inbound::ALL;
use crate::policy::outbound::{Outbound, OutboundKind, application_wire, hbone, istio_sni, undecided};
use crate::policy::{Decided, Trace, destination_rule, routing};
use crate::report::{ClientTls, PartyKind};

pub(super) fn to_host(
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
        [first, others @ ..] => (first, others),
    };
    let mut found = to(first.as_deref(), &mut Trace::unheard());
    let (mut weakest, mut wire, mut differ) = (first, found.wire.clone(), false);
    for subset in others {
        let other = to(subset.as_deref(), &mut Trace::unheard());
        if other.sni != found.sni {
            found.sni = None;
        }
        if (&other.tls.value, &other.wire) != (&found.tls.value, &found.wire) {
            differ = true;
            if other.wire.contains(&Class::Plaintext) && !wire.contains(&Class::Plaintext) {
                weakest = subset;
            }
            wire.extend(other.wire);
        }
    }
    // Its reasons are what matters: it is the one that leaks, or fails.
    let of_weakest = to(weakest.as_deref(), trace);
    if !differ {
        return Outbound { sni: found.sni, ..of_weakest };
    }
    if let Some(acting) = &acting {
        let meta = &acting.rule.meta;
        let names: Vec<&str> =
            subsets.iter().map(|name| name.as_deref().unwrap_or("the host as a whole")).collect();
        let effect = format_args!("routes lead to what differs in TLS ({}): each may come", names.join(", "));
        trace.cite("destination-rule.routed-subsets", meta, Some("spec.subsets"), meta.line, effect);
    }
    let wire = ALL.into_iter().filter(|class| wire.contains(class)).collect();
    let tls = Decided { value: None, from: of_weakest.tls.from };
    Outbound { tls, wire, sni: None, kind: OutboundKind::Rule }
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
    let takes_mtls =
        behind.endpoint.map_or_else(|| target.tls_mode_istio(), |endpoint| endpoint.tls_mode_istio);
    let alone = client.proxy == PartyKind::Waypoint || !takes_mtls;
    target.hbone() && (istiod.prefers_hbone || alone)
}
