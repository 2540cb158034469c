//! SE01: HTTP declared on a port that speaks HTTPS.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::service_entries::{TLS_PORTS, each_port, originates};
use crate::lint::{Problem, Rule, names};
use crate::patch::Patch;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SE01",
    severity: Severity::Medium,
    title: "An external TLS port declared HTTP",
    page: include_str!("../../../docs/findings/SE01.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[(
            "  - {number: 443, name: https, protocol: HTTPS}",
            "  - {number: 443, name: http, protocol: HTTP}",
        )],
        add: "",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_port(survey, |entry, port| {
        let applies = !entry.internal
            && port.protocol.is_http()
            && TLS_PORTS.contains(&port.number)
            && port.target.is_none()
            && !originates(survey, entry, port);
        applies.then(|| {
            let message = format!(
                "{} declares port {} of {} as {}: applications that send HTTPS there fail",
                entry.meta.id(),
                port.number,
                names(entry.hosts.clone()),
                port.protocol
            );
            let remedy = "Declare HTTPS; or, where applications send plain HTTP, originate TLS with a DestinationRule.";
            let pointer = format!("/spec/ports/{}/protocol", port.place);
            let patch = Patch::of(&entry.meta).set(&pointer, "HTTPS");
            Problem::at(&entry.meta, port.line, message, remedy).yaml(patch.yaml())
        })
    })
}
