//! DR02: A tls block without a mode is DISABLE, the zero value.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::each_block;
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "DR02",
    severity: Severity::High,
    title: "A tls block without mode",
    page: include_str!("../../../docs/findings/DR02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: web, trafficPolicy: {tls: {}}}",
        also: &["DR12", "XC01"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_block(survey, |rule, tls| {
        (!tls.mode_written).then(|| {
            let message = format!(
                "{} has a tls block without mode: that means DISABLE, and switches auto mTLS off",
                rule.meta.id()
            );
            Problem::at(&rule.meta, tls.line, message, "State the mode.")
                .yaml("spec:\n  trafficPolicy:\n    tls:\n      mode: ISTIO_MUTUAL\n".to_owned())
        })
    })
}
