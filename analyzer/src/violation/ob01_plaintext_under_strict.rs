//! OB01: STRICT is declared, and plaintext was accepted all the same.

use crate::policy::{Trace, peer_authentication};
use crate::report::{PartyKind, ServerMode, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy, restart};

pub(crate) const RULE: Rule = Rule {
    id: "OB01",
    severity: Severity::Critical,
    title: "Plaintext accepted under STRICT",
    source: "Istio: PeerAuthentication, mtls.mode STRICT: connections must be mTLS",
    page: include_str!("../../../docs/findings/OB01.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    if !case.is_plaintext() || !case.flow.answered() {
        return None;
    }
    if case.is_strict() && case.is_refused() {
        let what = "plaintext was accepted although STRICT is declared: the proxy is stale or was bypassed";
        return Some(Breach::new(case.server_cause(), what));
    }
    unenforced(case)
}

/// STRICT is declared for the workload, but no proxy is there to enforce it.
fn unenforced(case: &Case<'_>) -> Option<Breach> {
    if case.expectation.expected.server_mode.is_some() {
        return None;
    }
    let (pod, port) = case.server_pod()?;
    // Gateways and waypoints consult no PeerAuthentication: none is broken there.
    if matches!(pod.proxy, PartyKind::Gateway | PartyKind::Waypoint) {
        return None;
    }
    let mut trace = Trace::default();
    let declared =
        peer_authentication::effective(case.mesh, &pod.meta.namespace, &pod.meta.labels, port, &mut trace);
    if declared.value != ServerMode::Strict {
        return None;
    }
    let what = if pod.proxy == PartyKind::NoProxy {
        "plaintext was accepted although STRICT is declared: the pod has no proxy to enforce it"
    } else {
        "plaintext was accepted although STRICT is declared: the port is excluded from interception"
    };
    Some(Breach::new(Some(declared.from), what).citing(trace.into_citations()))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    if remedy::without_asked_proxy(case, case.server).is_some() {
        let joining = remedy::joining(case, case.server);
        return Advice::new(
            format!("STRICT is declared but nobody enforces it. {joining}."),
            remedy::inject(case, case.server),
        );
    }
    if case.server.kind == PartyKind::Sidecar && case.is_strict() {
        let restart = restart::server_proxy(case);
        let words = format!(
            "STRICT is declared, and the sidecar of {} does not enforce it: {}. If that does not help, something goes around \
             the sidecar.",
            case.server.name(),
            restart.words
        );
        return Advice::new(words, restart.change);
    }
    Advice::new(
        format!(
            "STRICT is declared but nobody enforces it at {}: give the pod a sidecar, end the exclusion of the port, \
             or restart a pod whose proxy is stale.",
            case.server.name()
        ),
        remedy::inject(case, case.server),
    )
}
