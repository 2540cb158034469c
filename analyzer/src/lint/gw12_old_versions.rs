//! GW12: Versions and suites that are no longer safe.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{at, each_tls, is_legacy, named, terminates};
use crate::lint::{Problem, Rule, names};
use crate::patch::Patch;
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
        if !terminates(server) {
            return None;
        }
        let is_old = |version: &&str| matches!(*version, "TLSV1_0" | "TLSV1_1");
        let old = tls.min_version.as_deref().filter(is_old);
        let legacy = names(tls.cipher_suites.iter().filter(|suite| is_legacy(suite)).cloned());
        let what = match (old, legacy.is_empty()) {
            (None, true) => return None,
            (Some(version), true) => format!("accepts {version}"),
            (None, false) => format!("offers {legacy}"),
            (Some(version), false) => format!("accepts {version} and offers {legacy}"),
        };
        let message = format!(
            "{} {what}: whoever can force them can read or change the traffic",
            named(gateway, server)
        );
        let mut patch = Patch::of(&gateway.meta);
        if old.is_some() {
            patch = patch.set(&at(server, "/tls/minProtocolVersion"), "TLSV1_2");
        }
        if tls.max_version.as_deref().is_some_and(|version| is_old(&version)) {
            patch = patch.remove(&at(server, "/tls/maxProtocolVersion"));
        }
        let safe: Vec<String> = tls.cipher_suites.iter().filter(|suite| !is_legacy(suite)).cloned().collect();
        if !legacy.is_empty() {
            let place = at(server, "/tls/cipherSuites");
            patch = if safe.is_empty() { patch.remove(&place) } else { patch.set(&place, safe) };
        }
        Some(
            Problem::at(&gateway.meta, tls.line, message, "Require TLS 1.2 with AEAD suites.")
                .yaml(patch.yaml()),
        )
    })
}
