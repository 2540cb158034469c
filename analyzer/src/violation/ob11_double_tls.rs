//! OB11: TLS of the application's own goes into a proxy that originates TLS once more.

use crate::mesh::HostService;
use crate::mesh::meta::Meta;
use crate::mesh::pod::Pod;
use crate::mesh::virtual_service::RouteKind;
use crate::policy::visibility::{covers, full_name};
use crate::policy::{Trace, destination_rule};
use crate::report::{Citation, ClientTls, PartyKind, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: "OB11",
    severity: Severity::Medium,
    title: "TLS inside TLS",
    source: "Istio: Traffic Management Problems: double TLS (TLS origination for a TLS request)",
    page: include_str!("../../../docs/findings/OB11.md"),
    rests_on: RestsOn::Tls,
    breach,
    advice,
};

/// The port to which a pod's own outbound connections are redirected.
const OUTBOUND: u16 = 15001;

fn breach(case: &Case<'_>) -> Option<Breach> {
    let sni = case.tls()?.sni.as_deref()?;
    let (host, wrapped) =
        if case.flow.is_local() { into_the_sidecar(case, sni)? } else { through_the_gateway(case, sni)? };
    // Neither leg shows the second layer: that is what the rule declares.
    let what = format!(
        "TLS of the application's own for {host}, which {} wraps in TLS once more ({})",
        wrapped.rule, wrapped.mode
    );
    Some(Breach::new(Some(wrapped.rule), what).citing(wrapped.because).doubtful(true))
}

struct Wrapped {
    rule: String,
    mode: ClientTls,
    because: Vec<Citation>,
}

/// The leg from the application to its sidecar, seen inside the pod. Where the redirection hides the port that was dialled,
/// every TLS port of the host must be wrapped.
fn into_the_sidecar(case: &Case<'_>, sni: &str) -> Option<(String, Wrapped)> {
    let pod = case.mesh.client_at(case.flow.client.ip)?;
    let to = case.flow.server;
    let redirected = to.ip.is_loopback() && to.port == OUTBOUND;
    if pod.proxy != PartyKind::Sidecar || (to.ip.is_loopback() && !redirected) {
        return None;
    }
    let host = case.mesh.hosts_covering(sni).next()?;
    let mut found = None;
    for port in
        host.ports.iter().filter(|port| port.protocol.is_tls() && (redirected || port.number == to.port))
    {
        found = Some(originated(case, pod, host, port.number, None)?);
    }
    Some((host.host.clone(), found?))
}

/// The leg to a gateway that passes TLS on to a destination.
fn through_the_gateway(case: &Case<'_>, sni: &str) -> Option<(String, Wrapped)> {
    let server = case.expectation.expected.gateway_server.as_ref()?;
    let (pod, _) = case.server_pod()?;
    if server.tls_mode.as_deref() != Some("PASSTHROUGH") {
        return None;
    }
    let gateway = case.mesh.gateway(&server.from)?;
    let bound = |meta: &Meta, name: &str| match name.split_once('/') {
        Some((namespace, name)) => *namespace == *gateway.meta.namespace && *name == *gateway.meta.name,
        None => *name == *gateway.meta.name && meta.namespace == gateway.meta.namespace,
    };
    for routes in &case.mesh.virtual_services {
        if !routes.gateways.iter().any(|name| bound(&routes.meta, name)) {
            continue;
        }
        let taken = routes.routes.iter().find(|route| {
            route.kind == RouteKind::Tls
                && route.matches.iter().any(|one| {
                    let named = one.sni_hosts.iter().any(|host| covers(host, sni));
                    named && one.is_at(|name| bound(&routes.meta, name))
                })
        });
        for to in taken.iter().flat_map(|route| &route.destinations) {
            let name = full_name(&to.host, &routes.meta.namespace, &case.mesh.config.domain);
            let Some(host) = case.mesh.hosts_named(&name).next() else { continue };
            let port = to.port.or_else(|| host.ports.first().map(|port| port.number))?;
            if let Some(wrapped) = originated(case, pod, host, port, to.subset.as_deref()) {
                return Some((host.host.clone(), wrapped));
            }
        }
    }
    None
}

/// What a proxy originates to a host by a rule, where that is TLS of another kind than Istio's: Istio mTLS around the
/// application's own TLS is as it should be.
fn originated(
    case: &Case<'_>,
    pod: &Pod,
    host: &HostService,
    port: u16,
    subset: Option<&str>,
) -> Option<Wrapped> {
    let mut trace = Trace::default();
    let acting = destination_rule::acting(case.mesh, Some(pod), &pod.meta.namespace, host, &mut trace)?;
    let block = destination_rule::tls_block(&acting, port, subset, &mut trace)?;
    if !matches!(block.tls.mode, ClientTls::Simple | ClientTls::Mutual) {
        return None;
    }
    let (meta, mode) = (&block.rule.meta, block.tls.mode);
    trace.cite_at("destination-rule.mode", meta, block.field, block.tls.line, format!("{mode}, decides"));
    Some(Wrapped { rule: meta.id(), mode, because: trace.into_citations() })
}

fn advice(case: &Case<'_>, breach: &Breach) -> Advice {
    let rule = breach.cause.as_deref().unwrap_or_default();
    Advice::new(
        format!(
            "Originate TLS once: let the application send plaintext, or let {rule} send none of its own."
        ),
        remedy::mode_in(case, rule, &breach.also, "DISABLE"),
    )
}
