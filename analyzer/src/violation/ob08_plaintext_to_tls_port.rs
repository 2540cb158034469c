//! OB08: plaintext to a port that is declared HTTPS or TLS: a wrong declaration, or a leak.

use flow::Protocol as Seen;

use crate::mesh::service::Protocol;
use crate::report::Severity;
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: "OB08",
    severity: Severity::Medium,
    title: "Plaintext to a port declared HTTPS or TLS",
    source: "Istio: Protocol Selection: https and tls ports carry TLS of the application's own",
    page: include_str!("../../../docs/findings/OB08.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    let declared = case.expectation.protocol.is_some_and(Protocol::is_tls);
    (case.is_plaintext() && declared).then(|| Breach::new(None, "plaintext to a port declared HTTPS or TLS"))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    let seen = match case.flow.protocol {
        Some(Seen::Http1) => "http",
        Some(Seen::Http2) => "http2",
        Some(Seen::Grpc) => "grpc",
        Some(_) | None => "tcp",
    };
    Advice::new(
        "Let the client speak TLS there. Where the port really carries plaintext, declare its real protocol.",
        remedy::port_protocol(case, seen),
    )
}
