//! SE03: Plaintext HTTP goes to a TLS port.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::service_entries::TLS_PORTS;
use crate::lint::survey::service_entries::{each_port, originates};
use crate::lint::{Problem, Rule};
use crate::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SE03",
    severity: Severity::High,
    title: "Plaintext to a TLS target port",
    page: include_str!("../../../docs/findings/SE03.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_port(survey, |entry, port| {
        let target = port.target.filter(|target| TLS_PORTS.contains(target))?;
        if !port.protocol.is_http() || originates(survey.mesh, entry, port) {
            return None;
        }
        let message = format!(
            "{} sends port {} to targetPort {target} as {} and nothing originates TLS: plaintext to a TLS port",
            entry.meta.id(),
            port.number,
            port.protocol
        );
        let host = entry.hosts.first().map_or("HOST", String::as_str);
        let yaml = crate::lint::survey::meetings::destination_rule_yaml(
            &entry.meta.namespace,
            &entry.meta.name,
            host,
            "SIMPLE",
        );
        Some(Problem::at(&entry.meta, port.line, message, "Originate TLS with a DestinationRule.").yaml(yaml))
    })
}
