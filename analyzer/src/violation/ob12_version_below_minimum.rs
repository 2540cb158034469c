//! OB12: a version was negotiated that is lower than the declared minimum.

use crate::report::Severity;
use crate::violation::termination::{self, rank};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule};

pub(crate) const RULE: Rule = Rule {
    id: "OB12",
    severity: Severity::High,
    title: "A TLS version below the declared minimum",
    source: "Istio: MeshConfig, meshMTLS and tlsDefaults, minProtocolVersion; Gateway, ServerTLSSettings",
    page: include_str!("../../../docs/findings/OB12.md"),
    rests_on: RestsOn::Reading,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    let seen = case.tls()?.version?;
    let low = termination::bounds(case)
        .into_iter()
        .find(|bounds| rank(seen).zip(rank(bounds.minimum)).is_some_and(|(seen, least)| seen < least))?;
    let what = format!("TLS {seen} was negotiated where {} is the lowest: {}", low.minimum, low.minimum_from);
    Some(Breach::new(low.cause, what).citing(low.because))
}

fn advice(case: &Case<'_>, breach: &Breach) -> Advice {
    let declared = breach.cause.as_deref().unwrap_or("Istio's default");
    let restart = termination::restart(case);
    Advice::new(
        format!(
            "One end does not apply {declared}: {}, and check that nothing else answers there. If the old version is meant, lower the declared minimum.",
            restart.words
        ),
        restart.change,
    )
}
