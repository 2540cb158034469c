//! GW12: Versions and suites that are no longer safe.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{each_tls, is_legacy, named};
use crate::lint::{Problem, Rule, names};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "GW12",
    severity: Severity::Medium,
    title: "Old TLS versions or suites",
    page: include_str!("../../../docs/findings/GW12.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[("mode: SIMPLE, ", "mode: SIMPLE, minProtocolVersion: TLSV1_0, ")],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_tls(survey, |gateway, server, tls| {
        let old = tls.min_version.as_deref().filter(|version| matches!(*version, "TLSV1_0" | "TLSV1_1"));
        let legacy = names(tls.cipher_suites.iter().filter(|suite| is_legacy(suite)).cloned());
        let what = match (old, legacy.is_empty()) {
            (None, true) => return None,
            (Some(version), true) => format!("accepts {version}"),
            (None, false) => format!("offers {legacy}"),
            (Some(version), false) => format!("accepts {version} and offers {legacy}"),
        };
        let message = format!("{} {what}", named(gateway, server));
        let problem = Problem::at(&gateway.meta, tls.line, message, "Require TLS 1.2 with AEAD suites.");
        Some(problem.yaml("tls:\n  minProtocolVersion: TLSV1_2\n".to_owned()))
    })
}
