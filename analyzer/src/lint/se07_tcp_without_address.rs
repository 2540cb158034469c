//! SE07: A TCP port without addresses takes every connection to that port.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::service_entries::each_port;
use crate::lint::{Problem, Rule};
use crate::mesh::service::Protocol;
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SE07",
    severity: Severity::Medium,
    title: "A TCP entry without addresses",
    page: include_str!("../../../docs/findings/SE07.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_port(survey, |entry, port| {
        (port.protocol == Protocol::Tcp && entry.addresses.is_empty()).then(|| {
            let message = format!(
                "{} declares TCP port {} without addresses: it captures the whole port",
                entry.meta.id(),
                port.number
            );
            Problem::at(&entry.meta, port.line, message, "Give the host its addresses.")
        })
    })
}
