//! DR03: One rule alone acts for a host, so a nearer or more specific one without tls hides one with it.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{blocks, host_of, top, written};
use crate::lint::survey::meetings::destination_rule_yaml;
use crate::lint::{Problem, Rule};
use crate::policy::visibility::covers;
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "DR03",
    severity: Severity::Low,
    title: "A rule without tls hides one with tls",
    page: include_str!("../../../docs/findings/DR03.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let root = mesh.config.root_namespace.as_str();
    let mut problems = Vec::new();
    for rule in written(mesh).filter(|rule| blocks(rule).next().is_none()) {
        let own = host_of(mesh, rule);
        let hidden = written(mesh).find(|other| {
            let wide = host_of(mesh, other);
            let same_place = other.meta.namespace == rule.meta.namespace;
            let more_specific = same_place && wide != own && covers(&wide, &own);
            let service_here = mesh.hosts.iter().any(|host| {
                covers(&own, &host.host)
                    && covers(&wide, &host.host)
                    && host.namespace == other.meta.namespace
            });
            let both = mesh.hosts.iter().any(|host| covers(&own, &host.host) && covers(&wide, &host.host));
            let nearer = !same_place && both && (&*other.meta.namespace == root || service_here);
            top(other).is_some() && !other.is_private() && nearer || top(other).is_some() && more_specific
        });
        if let Some((other, tls)) = hidden.and_then(|other| Some((other, top(other)?))) {
            let as_auto = mesh.config.auto_mtls && tls.mode == ClientTls::IstioMutual;
            let message = format!(
                "{} sets no tls for {own} and hides {}, which sets {}",
                rule.meta.id(),
                other.meta.id(),
                tls.mode
            );
            let yaml =
                destination_rule_yaml(&rule.meta.namespace, &rule.meta.name, &rule.host, tls.mode.name());
            let severity = if as_auto { Severity::Low } else { Severity::High };
            problems.push(
                Problem::at(&rule.meta, rule.host_line, message, "Repeat the tls block in this rule.")
                    .yaml(yaml)
                    .rated(severity),
            );
        }
    }
    problems
}
