//! DR09: The mesh's own certificates are offered to a server that is not in the mesh.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::destination_rules::{blocks, host_of, is_closest, narrower, outside_tls, written};
use crate::lint::{Problem, Rule, names};
use crate::mesh::HostService;
use crate::patch::{Patch, together};
use crate::report::{ClientTls, Severity};
use serde_json::json;

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
            let blocks: Vec<_> =
                blocks(rule).into_iter().filter(|block| block.tls.mode == ClientTls::IstioMutual).collect();
            let tls = blocks.first()?.tls;
            let covered = survey.hosts.covered(&host_of(mesh, rule));
            let outside: Vec<&HostService> = covered
                .into_iter()
                .filter(|known| known.external && is_closest(mesh, rule, &known.host))
                .collect();
            let first = *outside.first()?;
            let message = format!(
                "{} offers mesh certificates to {}, which is outside the mesh: the server does not know their CA",
                rule.meta.id(),
                names(outside.iter().map(|known| known.host.clone()))
            );
            let yaml = if rule.host.starts_with('*') {
                together(outside.iter().map(|known| {
                    let tls = outside_tls(known).unwrap_or_else(|| json!({"mode": "DISABLE"}));
                    narrower(mesh, rule, &known.host, tls).yaml()
                }))
            } else {
                let mended = blocks.iter().fold(Patch::of(&rule.meta), |patch, block| match outside_tls(first) {
                    Some(tls) => block.set(patch, tls),
                    None => block.to_automatic(mesh, patch),
                });
                mended.yaml()
            };
            let remedy = "Use SIMPLE, or MUTUAL with certificates of that server's CA; no tls block where the application brings its own TLS.";
            Some(Problem::at(&rule.meta, tls.line, message, remedy).yaml(yaml))
        })
        .collect()
}
