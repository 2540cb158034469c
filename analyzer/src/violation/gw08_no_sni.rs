//! GW08 on the wire: a gateway refused a ClientHello without SNI, and tells its servers apart by nothing else.

use serde_json::json;

use crate::lint::gw08_needs_sni;
use crate::patch::Patch;
use crate::policy::gateway::needs_sni;
use crate::violation::termination::terminating_server;
use crate::violation::{Advice, Breach, Case, Change, RestsOn, Rule};

pub(crate) const RULE: Rule = Rule {
    id: gw08_needs_sni::RULE.id,
    severity: gw08_needs_sni::RULE.severity,
    title: gw08_needs_sni::RULE.title,
    source: "Istio: Gateway, Server.hosts: TLS servers of one port are chosen by SNI",
    page: gw08_needs_sni::RULE.page,
    rests_on: RestsOn::Tls,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    let tls = case.tls()?;
    let (pod, port) = case.server_pod()?;
    // Without the ClientHello nobody knows whether it named a host; after a ServerHello it failed for another reason.
    let without = tls.ja4.is_some() && tls.sni.is_none() && tls.version.is_none() && case.has_failed();
    (without && needs_sni(case.mesh, pod, port)).then(|| {
        let what = "a ClientHello without SNI was refused: every server of this port is chosen by it";
        Breach::new(case.gateway_cause(), what)
    })
}

/// A server that ends TLS and has its port for itself may serve every host.
fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    let alone = terminating_server(case).filter(|(gateway, _)| gateway.meta.version.contains("istio.io/"));
    let change = alone.map(|(gateway, server)| {
        let hosts = format!("/spec/servers/{}/hosts", server.place);
        Change::of(&gateway.meta, server.line, Patch::of(&gateway.meta).set(&hosts, json!(["*"])).yaml())
    });
    Advice::new(
        "Let the client, or the balancer before it, send the host's name; or serve every host.",
        change,
    )
}
