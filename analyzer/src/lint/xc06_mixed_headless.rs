//! XC06: One endpoint without tlsMode takes the whole headless service to plaintext.

use std::collections::BTreeSet;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::am02_label_denies_mtls;
use crate::lint::survey::Survey;
use crate::lint::survey::injection::inject;
use crate::lint::{Problem, Rule, agree, names};
use crate::mesh::{HostService, Mesh, Owner};
use crate::patch::together;
use crate::report::{PartyKind, Severity};

pub(super) const RULE: Rule = Rule {
    id: "XC06",
    severity: Severity::High,
    title: "A headless service with and without proxies",
    page: include_str!("../../../docs/findings/XC06.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: Service\nmetadata: {name: peers, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {clusterIP: None, selector: {group: peers}, ports: [{name: http, port: 7000, targetPort: 7000}]}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: peer-0, namespace: shop, labels: {app: peer, group: peers, security.istio.io/tlsMode: istio}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}, {name: istio-proxy, args: [proxy, sidecar]}]}\nstatus: {podIP: 10.0.9.8}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: peer-1, namespace: shop, labels: {app: peer, group: peers, sidecar.istio.io/inject: 'false'}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}",
        // The one pod refuses the plaintext; the other has no proxy in a mesh that is STRICT throughout.
        also: &["PA07", "XC01", "XC05"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let istiod = &mesh.control_plane;
    if istiod.headless_endpoints || !istiod.version.asks_headless_endpoints() {
        // Then each endpoint is looked at by itself, or none is.
        return Vec::new();
    }
    mesh.hosts
        .iter()
        .filter(|host| host.original_destination && matches!(host.owner, Owner::Service(_)))
        .filter_map(|host| {
            let (with, without): (Vec<_>, Vec<_>) =
                host.endpoints.iter().partition(|endpoint| endpoint.tls_mode_istio);
            if with.is_empty() || without.is_empty() {
                return None;
            }
            let meta = mesh.declaration(host)?;
            let bare = names(without.iter().map(|endpoint| {
                mesh.pod_of(endpoint).map_or_else(|| endpoint.ip.to_string(), |pod| pod.meta.id())
            }));
            let message = format!(
                "{} is headless and {bare} behind it {} no mTLS: clients send plaintext to all {} endpoints, and STRICT ones refuse it",
                host.host,
                agree(without.len(), "takes", "take"),
                host.endpoints.len()
            );
            let problem = Problem::at(meta, meta.line, message, "Inject every pod behind it, or none.");
            Some(match patch(mesh, host) {
                Some(yaml) => problem.yaml(yaml),
                None => problem,
            })
        })
        .collect()
}

/// Gives a proxy to every pod behind a host that has none, and its label back to every pod that has one; absent where
/// what takes no mTLS is no pod.
pub(super) fn patch(mesh: &Mesh, host: &HostService) -> Option<String> {
    let bare = host.endpoints.iter().filter(|endpoint| !endpoint.tls_mode_istio);
    let pods = bare.filter_map(|endpoint| mesh.pod_of(endpoint));
    let patches: BTreeSet<String> = pods
        .map(|pod| {
            if pod.proxy == PartyKind::Sidecar {
                am02_label_denies_mtls::patch(pod)
            } else {
                inject(mesh, pod).yaml()
            }
        })
        .collect();
    (!patches.is_empty()).then(|| together(patches))
}
