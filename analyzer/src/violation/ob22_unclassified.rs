//! OB22: a connection of the mesh whose class the wire does not tell: it is neither a pass nor a breach.

use flow::{Class, ClientAuth, Reason, Security, Transport};

use crate::report::Severity;
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, restart};

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

/// What the capture missed, and the values of the chart (`deploy/chart/values.yaml`) with which the agent sees it: four times
/// its buffer, super-packets whole (the list takes the place of the one that is there), all that passes.
const MISSED: [(Reason, &str, &str); 3] = [
    (
        Reason::Gap,
        "Packets are missing: give the agent a larger buffer (--buffer-size), or fewer interfaces.",
        "agent:\n  bufferSize: 256\n",
    ),
    (
        Reason::SnapLength,
        "Frames were cut: have the agent keep them whole (--snaplen; tcpdump -s 0).",
        "agent:\n  extraArgs:\n  - --snaplen=262144\n",
    ),
    (
        Reason::OneSided,
        "One direction was captured: capture where both pass, on every interface and without a filter.",
        "agent:\n  filter: ''\n  interfaces:\n  - any\n",
    ),
];

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

/// Of what the capture missed a better one shows more, and of what was there before it a new connection does. What the wire itself
/// hides stays hidden, whatever is done: docs/limits.md says which is which.
fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    let reason = match &case.flow.security {
        Security::Unknown(reason) | Security::Tls(_, ClientAuth::Hidden(reason)) => *reason,
        Security::Tls(..) | Security::Plaintext(_) | Security::Opaque(_) => {
            return Advice::new("See limits.md.", None);
        }
    };
    if matches!(reason, Reason::MidStream | Reason::Resumed) {
        let restart = restart::client(case);
        let words = format!(
            "What tells came before the capture. While it runs, {}: a new connection shows it.",
            restart.words
        );
        return Advice::new(words, restart.change);
    }
    match MISSED.iter().find(|(missed, ..)| *missed == reason) {
        Some((_, words, values)) => Advice::new(*words, None).watching(values),
        None => Advice::new(
            "Nothing that is declared or captured otherwise tells it for certain; limits.md says of this reason why.",
            None,
        ),
    }
}
