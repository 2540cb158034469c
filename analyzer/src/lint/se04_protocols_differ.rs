//! SE04: Two entries declare one port of one host differently.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SE04",
    severity: Severity::Medium,
    title: "One host and port, two protocols",
    page: include_str!("../../../docs/findings/SE04.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let entries = &survey.mesh.service_entries;
    let mut problems = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        for port in &entry.ports {
            let other = entries.iter().take(index).find_map(|first| {
                let host = first.hosts.iter().find(|host| entry.hosts.contains(host))?;
                let same = first
                    .ports
                    .iter()
                    .find(|same| same.number == port.number && same.protocol != port.protocol)?;
                Some((first, host, same))
            });
            if let Some((first, host, same)) = other {
                let message = format!(
                    "{} declares {host}:{} as {}, {} as {}",
                    entry.meta.id(),
                    port.number,
                    port.protocol,
                    first.meta.id(),
                    same.protocol
                );
                problems.push(Problem::at(
                    &entry.meta,
                    port.line,
                    message,
                    "Declare the same protocol in both, or merge them.",
                ));
            }
        }
    }
    problems
}
