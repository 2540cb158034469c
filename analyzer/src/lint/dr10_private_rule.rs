//! DR10: A rule that stays in its namespace, or with some workloads, for a host that others use too.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{blocks, by_itself, client_namespaces, host_of, written};
use crate::lint::{Problem, Rule, names};
use crate::mesh::pod::Pod;
use crate::patch::Patch;
use crate::policy::Trace;
use crate::policy::destination_rule::{Acting, tls_block};
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "DR10",
    severity: Severity::Info,
    title: "A private rule for a host that others use",
    page: include_str!("../../../docs/findings/DR10.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: web, exportTo: ['.'], trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let root = mesh.config.root_namespace.as_str();
    let mut problems = Vec::new();
    for rule in written(mesh).filter(|rule| rule.is_private()) {
        let blocks = blocks(rule);
        let Some(tls) = blocks.first().map(|block| block.tls) else { continue };
        let covered = survey.hosts.covered(&host_of(mesh, rule));
        let found = covered.into_iter().find_map(|host| {
            // Elsewhere a rule is looked for in the service's namespace and in the root namespace alone.
            if rule.meta.namespace != host.namespace && &*rule.meta.namespace != root {
                return None;
            }
            let without_tls = |_: &Pod, acting: Option<&Acting<'_>>| {
                let port = host.ports.first().map_or(0, |port| port.number);
                acting.is_none_or(|acting| tls_block(acting, port, None, &mut Trace::unheard()).is_none())
            };
            let elsewhere: Vec<String> = client_namespaces(survey, &survey.sidecars, host, without_tls)
                .into_iter()
                .filter(|namespace| *namespace != &*rule.meta.namespace)
                .map(str::to_owned)
                .collect();
            (!elsewhere.is_empty()).then_some((host, elsewhere))
        });
        let Some((host, elsewhere)) = found else { continue };
        let instead = if by_itself(survey, host) == ClientTls::IstioMutual {
            "auto mTLS"
        } else {
            "no TLS of their proxies"
        };
        let message = format!(
            "{} sets {} for {} only in its own place: clients in {} use {instead}",
            rule.meta.id(),
            tls.mode,
            host.host,
            names(elsewhere)
        );
        let patch = Patch::of(&rule.meta).remove("/spec/exportTo").remove("/spec/workloadSelector");
        let remedy = "Export the rule if it is meant for them too; else leave it.";
        problems.push(Problem::at(&rule.meta, rule.host_line, message, remedy).yaml(patch.yaml()));
    }
    problems
}
