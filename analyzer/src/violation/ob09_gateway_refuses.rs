//! OB09: a class that the gateway's server is not declared to accept.

use flow::Class;

use crate::mesh::gateway::ServerTlsMode;
use crate::policy::{Trace, gateway};
use crate::report::{PartyKind, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: "OB09",
    severity: Severity::High,
    title: "A class that the gateway does not accept",
    source: "Istio: Gateway, ServerTLSSettings.TLSmode",
    page: include_str!("../../../docs/findings/OB09.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    if case.server.kind != PartyKind::Gateway {
        return None;
    }
    let Some(server) = case.expectation.expected.gateway_server.as_ref() else {
        return refused_by_every_server(case);
    };
    if !case.is_refused() {
        return None;
    }
    let seen = case.flow.security.class();
    let mode = server.tls_mode.as_deref().unwrap_or("no TLS");
    let what =
        format!("{seen} to a server that is declared {} with {mode}; {}", server.protocol, case.ending());
    Some(Breach::new(case.gateway_cause(), what))
}

/// No server was chosen, because the connection carries no SNI to choose by; where all servers of the port refuse it, it
/// does not matter which it would have been.
fn refused_by_every_server(case: &Case<'_>) -> Option<Breach> {
    let (pod, port) = case.server_pod()?;
    let servers: Vec<_> = gateway::servers_on(case.mesh, pod, port)
        .into_iter()
        .filter(|(_, server)| gateway::rejected(server).is_none())
        .collect();
    let (first, _) = servers.first()?;
    let possible = case.possible();
    let accepted = |class| servers.iter().any(|(_, server)| gateway::accepts(server).0.contains(class));
    if possible.is_empty() || possible.iter().any(accepted) {
        return None;
    }
    let mut trace = Trace::default();
    for (gateway, server) in &servers {
        let mode = server.tls_in_force().map_or("without TLS", ServerTlsMode::name);
        let effect = format!("{} {mode} refuses it", server.protocol_text);
        trace.cite("gateway.server-tls", &gateway.meta, Some("spec.servers"), server.line, effect);
    }
    let seen = case.flow.security.class();
    let what = format!("{seen} to a port where no server accepts it; {}", case.ending());
    Some(Breach::new(Some(first.meta.id()), what).citing(trace.into_citations()))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    let declared = "Let the client send what the server declares.";
    match remedy::optional_certificate(case).filter(|_| case.possible() == [Class::Tls]) {
        Some(change) => Advice::new(
            format!("{declared} If clients without a certificate are meant to get in, make it optional."),
            Some(change),
        ),
        None => Advice::new(
            format!("{declared} If the traffic is what is meant, open a server for it beside the others."),
            None,
        ),
    }
}
