//! OB07: TLS that is not Istio's meets a port that is declared HTTP: no filter chain takes it.

use crate::mesh::service::Protocol;
use crate::report::Severity;
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: "OB07",
    severity: Severity::Medium,
    title: "TLS to a port declared HTTP",
    source: "Istio: Protocol Selection; Traffic Management Problems: sending HTTPS to an HTTP port",
    page: include_str!("../../../docs/findings/OB07.md"),
    rests_on: RestsOn::Tls,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    if case.tls().is_none() || !case.is_refused() {
        return None;
    }
    let what = if case.expectation.protocol.is_some_and(Protocol::is_http) {
        "TLS that is not Istio's to a port declared HTTP"
    } else {
        "TLS to a port where the destination's proxy takes none but its own"
    };
    Some(Breach::new(None, what))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    Advice::new(
        "Send plaintext and let the client's sidecar encrypt it. Where the application behind the port speaks TLS \
         itself, declare that instead.",
        remedy::port_protocol(case, "https"),
    )
}
