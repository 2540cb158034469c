//! DR01, DR03, DR04, DR08, DR09, DR13: which hosts DestinationRules are for, and which of them act.

use crate::lint::contradictions::destination_rule_yaml;
use crate::lint::rule_tls::{blocks, policies, written};
use crate::lint::{Problem, Survey, names};
use crate::mesh::Mesh;
use crate::mesh::destination_rule::{DestinationRule, TlsSettings};
use crate::policy::Trace;
use crate::policy::destination_rule::full_host;
use crate::policy::peer_authentication::at_namespace;
use crate::policy::visibility::{covers, full_name};
use crate::report::{ClientTls, ServerMode, Severity};

fn host_of(mesh: &Mesh, rule: &DestinationRule) -> String {
    full_host(rule, &mesh.config.domain)
}

fn top(rule: &DestinationRule) -> Option<&TlsSettings> {
    rule.policy.as_ref()?.tls.as_ref()
}

/// DR01: no Service and no ServiceEntry has the host.
pub(crate) fn unknown_host(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    written(mesh)
        .filter(|rule| {
            let host = host_of(mesh, rule);
            !mesh.hosts.iter().any(|known| covers(&host, &known.host) || covers(&known.host, &host))
        })
        .map(|rule| {
            let host = host_of(mesh, rule);
            let message =
                format!("{} is for {host}: no Service or ServiceEntry has that name", rule.meta.id());
            Problem::at(
                &rule.meta,
                rule.host_line,
                message,
                "Write the full name: service.namespace.svc.cluster.local.",
            )
        })
        .collect()
}

/// DR03: one rule alone acts for a host, so a nearer or more specific one without tls hides one with it.
pub(crate) fn hides_tls(survey: &Survey<'_>) -> Vec<Problem> {
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

/// DR04: of two rules for one host in one namespace, the older one's traffic policy stays whole.
pub(crate) fn ignored_policy(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let acting: Vec<&DestinationRule> =
        written(mesh).filter(|rule| rule.policy.is_some() && rule.workload_selector.is_none()).collect();
    let mut problems = Vec::new();
    for (index, rule) in acting.iter().enumerate() {
        let older = acting.iter().take(index).find(|older| {
            older.meta.namespace == rule.meta.namespace
                && host_of(mesh, older) == host_of(mesh, rule)
                && older.is_private() == rule.is_private()
        });
        if let Some(older) = older {
            let line = rule.policy.as_ref().map_or(rule.meta.line, |policy| policy.line);
            let message = format!(
                "the trafficPolicy of {} is ignored: {} is older and for the same host",
                rule.meta.id(),
                older.meta.id()
            );
            problems.push(Problem::at(&rule.meta, line, message, "Merge the two rules by hand into one."));
        }
    }
    problems
}

/// DR08: a subset's policy acts only where a VirtualService routes to the subset.
pub(crate) fn unused_subset(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for rule in written(mesh) {
        let host = host_of(mesh, rule);
        for subset in &rule.subsets {
            let Some(policy) = &subset.policy else { continue };
            let tls =
                policy.tls.as_ref().or_else(|| policy.ports.iter().find_map(|entry| entry.tls.as_ref()));
            let Some(tls) = tls else { continue };
            let routed = mesh.virtual_services.iter().any(|routes| {
                routes.routes.iter().flat_map(|route| &route.destinations).any(|to| {
                    to.subset.as_deref() == Some(&subset.name)
                        && covers(&host, &full_name(&to.host, &routes.meta.namespace, &mesh.config.domain))
                })
            });
            if !routed {
                let message = format!(
                    "subset {} of {} sets tls, but no VirtualService routes to it",
                    subset.name,
                    rule.meta.id()
                );
                problems.push(Problem::at(
                    &rule.meta,
                    tls.line,
                    message,
                    "Route to the subset, or move its tls block to the top.",
                ));
            }
        }
    }
    problems
}

/// DR09: the mesh's own certificates are offered to a server that is not in the mesh.
pub(crate) fn mesh_certificate_outside(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    written(mesh)
        .filter_map(|rule| {
            let tls = blocks(rule).find(|tls| tls.mode == ClientTls::IstioMutual)?;
            let host = host_of(mesh, rule);
            let outside = names(
                mesh.hosts
                    .iter()
                    .filter(|known| known.external && covers(&host, &known.host))
                    .map(|known| known.host.clone()),
            );
            (!outside.is_empty()).then(|| {
                let message = format!(
                    "{} sends mesh certificates to {outside}, which is outside the mesh",
                    rule.meta.id()
                );
                let yaml = destination_rule_yaml(&rule.meta.namespace, &rule.meta.name, &rule.host, "SIMPLE");
                Problem::at(
                    &rule.meta,
                    tls.line,
                    message,
                    "Use SIMPLE, or MUTUAL with certificates of that server's CA.",
                )
                .yaml(yaml)
            })
        })
        .collect()
}

/// DR13: the rule asks for Istio mTLS where the whole namespace has switched it off.
pub(crate) fn mutual_to_disabled(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    written(mesh)
        .filter_map(|rule| {
            let tls = policies(rule).find_map(|policy| policy.tls.as_ref())?;
            let host = host_of(mesh, rule);
            let disabled =
                mesh.hosts.iter().filter(|known| !known.external && covers(&host, &known.host)).find_map(
                    |known| {
                        let level = at_namespace(mesh, &known.namespace, &mut Trace::default());
                        (level.value == ServerMode::Disable).then_some((known, level.from))
                    },
                );
            let (known, from) = disabled.filter(|_| tls.mode == ClientTls::IstioMutual)?;
            let message =
                format!("{} sets ISTIO_MUTUAL for {}, where {from} is DISABLE", rule.meta.id(), known.host);
            Some(Problem::at(
                &rule.meta,
                tls.line,
                message,
                "Make both sides agree: PERMISSIVE there, or no rule here.",
            ))
        })
        .collect()
}
