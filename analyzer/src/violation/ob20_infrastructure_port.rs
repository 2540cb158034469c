//! OB20: a port of Istio's own infrastructure. Suppressed and counted: it is never among the findings.

use crate::mesh::Owner;
use crate::policy::interception::NEVER_INTERCEPTED;
use crate::report::Severity;
use crate::violation::{Advice, Breach, Case, RestsOn, Rule};

pub(crate) const RULE: Rule = Rule {
    id: "OB20",
    severity: Severity::Info,
    title: "A port of Istio's own",
    source: "Istio: Application Requirements, ports used by Istio",
    page: include_str!("../../../docs/findings/OB20.md"),
    rests_on: RestsOn::Reading,
    breach,
    advice,
};

/// Ports inside a proxied pod that are the proxy's own: redirect targets, administration, debugging, DNS and SOCKS of
/// ztunnel. Nothing of the application's listens there.
const INSIDE: [u16; 6] = [15000, 15001, 15004, 15006, 15053, 15080];

/// Ports of istiod: xDS in plaintext, xDS and CA over TLS, monitoring, webhooks.
const ISTIOD: [u16; 4] = [15010, 15012, 15014, 15017];

fn breach(case: &Case<'_>) -> Option<Breach> {
    let port = case.flow.server.port;
    let ztunnel = || case.server_pod().is_some_and(|(pod, _)| pod.ztunnel);
    let own = (case.server_is_proxied() || ztunnel())
        && (NEVER_INTERCEPTED.contains(&port) || INSIDE.contains(&port));
    if own {
        return Some(Breach::new(None, "a port of the proxy itself: metrics, readiness or statistics"));
    }
    (ISTIOD.contains(&port) && is_istiod(case)).then(|| Breach::new(None, "a port of istiod"))
}

/// Tells whether istiod stands at the destination: by its pod's label, or by a Service that selects that label.
fn is_istiod(case: &Case<'_>) -> bool {
    let to = case.flow.server;
    let named = |labels: &crate::mesh::meta::Labels| {
        labels.get("app").is_some_and(|app| app == "istiod")
            || labels.get("istio").is_some_and(|name| name == "pilot")
    };
    match case.server_pod() {
        Some((pod, _)) => named(&pod.meta.labels),
        None => case.mesh.behind(to.ip, to.port).iter().any(|behind| match behind.host.owner {
            Owner::Service(index) => {
                case.mesh.services.get(index).and_then(|service| service.selector.as_ref()).is_some_and(named)
            }
            Owner::Entry(_) => false,
        }),
    }
}

fn advice(_: &Case<'_>, _: &Breach) -> Advice {
    Advice::new("Nothing: Istio keeps these ports out of every policy.", None)
}
