//! DR09: The mesh's own certificates are offered to a server that is not in the mesh.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{blocks, host_of, written};
use crate::lint::survey::meetings::destination_rule_yaml;
use crate::lint::{Problem, Rule, names};
use crate::policy::visibility::covers;
use crate::report::{ClientTls, Severity};

pub(super) const RULE: Rule = Rule {
    id: "DR09",
    severity: Severity::High,
    title: "ISTIO_MUTUAL to a host outside the mesh",
    page: include_str!("../../../docs/findings/DR09.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {host: api.bank.example, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
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
