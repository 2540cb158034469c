//! AB04: Sidecars that take nothing but the sidecars' mTLS, in a mesh with clients that never speak it.

use std::collections::BTreeMap;

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::{policy_of, sidecar_modes};
use crate::lint::{Problem, Rule, names};
use crate::mesh::pod::Pod;
use crate::patch::{Patch, mesh_config, part, together};
use crate::report::{PartyKind, ServerMode, Severity};

pub(super) const RULE: Rule = Rule {
    id: "AB04",
    severity: Severity::High,
    title: "Sidecars that ambient clients cannot reach",
    page: include_str!("../../../docs/findings/AB04.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: Pod\nmetadata: {name: z-0, namespace: shop, labels: {app: z}, annotations: {ambient.istio.io/redirection: enabled}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}",
        // The rule of the clean mesh asks for what such a client cannot send.
        also: &["AB03"],
    },
};

/// Up to here each workload is mended by itself; above, all are by MeshConfig.
const EACH: usize = 10;

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    if !mesh.has_ambient() {
        return Vec::new();
    }
    let mut found: BTreeMap<String, BTreeMap<String, &Pod>> = BTreeMap::new();
    let refuses = |pod: &Pod| pod.proxy == PartyKind::Sidecar && !pod.hbone() && !pod.ended;
    for (pod, mode) in sidecar_modes(mesh) {
        if mode.value == ServerMode::Strict && refuses(pod) {
            found.entry(mode.from).or_default().entry(workload(pod)).or_insert(pod);
        }
    }
    found
        .into_iter()
        .filter_map(|(from, pods)| {
            let policy = policy_of(mesh, &from)?;
            let message = format!(
                "{from} sets STRICT for {}, whose sidecars take no HBONE: ambient clients are refused",
                names(pods.keys().cloned())
            );
            let remedy = "Set ISTIO_META_ENABLE_HBONE=true for the sidecars and restart them, or move the workloads to ambient.";
            let setting = "/defaultConfig/proxyMetadata/ISTIO_META_ENABLE_HBONE";
            let everywhere = mesh_config(&mesh.config, setting, "true");
            let yaml = match everywhere.filter(|_| pods.len() > EACH) {
                Some(yaml) => yaml,
                None => together(pods.values().map(|pod| patch(pod))),
            };
            Some(Problem::at(&policy.meta, policy.mode_line, message, remedy).yaml(yaml))
        })
        .collect()
}

/// Makes a workload's sidecars listen for HBONE, and clients know it.
fn patch(pod: &Pod) -> String {
    let config = "proxyMetadata:\n  ISTIO_META_ENABLE_HBONE: \"true\"\n";
    let own = pod.meta.annotations.get("proxy.istio.io/config").filter(|own| !own.contains("proxyMetadata"));
    let config = own.map_or_else(|| config.to_owned(), |own| format!("{}\n{config}", own.trim_end()));
    Patch::of_pod(pod)
        .set(&format!("/metadata/annotations/{}", part("proxy.istio.io/config")), config)
        .set(&format!("/metadata/labels/{}", part("networking.istio.io/tunnel")), "http")
        .yaml()
}
