//! OB22: a connection of the mesh whose class the wire does not tell: it is neither a pass nor a breach.

use flow::{Class, ClientAuth, Security, Transport};

use crate::report::Severity;
use crate::violation::{Advice, Breach, Case, RestsOn, Rule};

pub(crate) const RULE: Rule = Rule {
    id: "OB22",
    severity: Severity::Info,
    title: "Cannot be classified",
    source: "docs/limits.md: what the wire cannot tell",
    page: include_str!("../../../docs/findings/OB22.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    if !case.client_is_proxied() && !case.server_is_proxied() {
        return None;
    }
    let what = match &case.flow.security {
        Security::Unknown(reason) => format!("the wire does not tell the class: {reason}"),
        Security::Tls(_, ClientAuth::Hidden(reason)) if depends(case) => {
            format!("TLS whose client certificate is hidden ({reason}), and the declaration depends on it")
        }
        Security::Tls(..) | Security::Plaintext(_) | Security::Opaque(_) => return None,
    };
    Some(Breach::new(None, what))
}

/// Tells whether it matters which of the two classes it is. Istio carries no UDP, but where QUIC replaces what it carries
/// nobody knows what was agreed.
fn depends(case: &Case<'_>) -> bool {
    let allowed = &case.expectation.expected.allowed;
    case.flow.transport == Transport::Udp
        || (case.expectation.known_destination
            && allowed.contains(&Class::Tls) != allowed.contains(&Class::Mtls))
}

fn advice(_: &Case<'_>, _: &Breach) -> Advice {
    Advice::new(
        "Capture from before the connection begins, both directions and whole packets, and see what limits.md says of \
         this reason.",
        None,
    )
}
