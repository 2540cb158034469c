//! OB16: an SNI of Istio's own form names another Service than the destination's.

use crate::mesh::meta::selects;
use crate::mesh::{Behind, Mesh};
use crate::policy::outbound::istio_sni;
use crate::policy::visibility::full_name;
use crate::report::{PartyKind, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy, restart};

pub(crate) const RULE: Rule = Rule {
    id: "OB16",
    severity: Severity::Medium,
    title: "The client meant another Service",
    source: "Istio: the SNI of mesh mTLS, outbound_.port_.subset_.host (BuildDNSSrvSubsetKey)",
    page: include_str!("../../../docs/findings/OB16.md"),
    rests_on: RestsOn::Tls,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    let (port, subset, host) = istio_sni(case.tls()?.sni.as_deref()?)?;
    // A gateway passes on what others are meant to get.
    if case.server.kind != PartyKind::Sidecar {
        return None;
    }
    let behind = case.mesh.behind(case.flow.server.ip, case.flow.server.port);
    let elsewhere =
        || case.mesh.hosts.iter().any(|known| is_same(&known.host, host) && !known.endpoints.is_empty());
    if behind.is_empty() && !elsewhere() {
        return None;
    }
    let meant = behind.iter().find(|found| is_same(&found.host.host, host) && found.port.number == port);
    let Some(meant) = meant else {
        let what = format!("the client meant {host} port {port}, which this destination does not belong to");
        return Some(Breach::new(None, what));
    };
    let subset = subset?;
    is_outside(case.mesh, meant, subset).then(|| {
        Breach::new(
            None,
            format!("the client meant the subset {subset} of {host}, whose labels this pod lacks"),
        )
    })
}

/// Compares two hosts. A Service has one name in its cluster's domain and another in the clusterset's.
fn is_same(known: &str, named: &str) -> bool {
    let service = |host: &str| host.split_once(".svc.").map(|(service, _)| service.to_owned());
    known == named || service(known).is_some_and(|known| service(named) == Some(known))
}

/// Tells whether every subset of this name that a rule declares for the host leaves the endpoint out.
fn is_outside(mesh: &Mesh, meant: &Behind<'_>, subset: &str) -> bool {
    let Some(endpoint) = meant.endpoint else { return false };
    let mut declared = mesh
        .destination_rules
        .iter()
        .filter(|rule| full_name(&rule.host, &rule.meta.namespace, &mesh.config.domain) == meant.host.host)
        .flat_map(|rule| &rule.subsets)
        .filter(|declared| declared.name == subset)
        .peekable();
    declared.peek().is_some() && declared.all(|declared| !selects(&declared.labels, &endpoint.labels))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    if let Some(change) = remedy::own_sni(case) {
        let summary =
            format!("{} sets this SNI: leave it to Istio, which names the Service.", change.resource);
        return Advice::new(summary, Some(change));
    }
    let restart = restart::client(case);
    Advice::new(
        format!("The client's proxy holds an endpoint that is another's by now: {}.", restart.words),
        restart.change,
    )
}
