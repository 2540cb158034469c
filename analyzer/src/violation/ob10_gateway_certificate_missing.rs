//! OB10: a gateway that requires client certificates completed a handshake without one.

use flow::Outcome;

use crate::report::{PartyKind, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, restart};

pub(crate) const RULE: Rule = Rule {
    id: "OB10",
    severity: Severity::Critical,
    title: "A gateway that requires certificates accepted none",
    source: "Istio: Gateway, ServerTLSSettings.TLSmode MUTUAL",
    page: include_str!("../../../docs/findings/OB10.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    let server = case.expectation.expected.gateway_server.as_ref()?;
    let established = case.tls().is_some_and(|tls| tls.outcome == Outcome::Established);
    if case.server.kind != PartyKind::Gateway
        || !case.is_refused()
        || server.client_cert != "required"
        || !established
    {
        return None;
    }
    let mode = server.tls_mode.as_deref().unwrap_or("no TLS");
    let what = format!("a handshake completed without a client certificate, though {mode} is declared");
    Some(Breach::new(case.gateway_cause(), what))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    let loaded = case.server_pod().map_or_else(String::new, |(pod, port)| {
        let (namespace, name) = (&pod.meta.namespace, &pod.meta.name);
        format!(" (istioctl -n {namespace} proxy-config listener {name} --port {port})")
    });
    let restart = restart::server(case);
    Advice::new(
        format!(
            "The declared server is not the one that answered: see what the gateway has loaded{loaded}, and {} if it is \
             not what is declared. Close the port until then.",
            restart.words
        ),
        restart.change,
    )
}
