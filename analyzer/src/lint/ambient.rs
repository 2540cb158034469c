//! AB01, AB04: what ztunnel makes of declarations that sidecars would read otherwise.

use std::collections::{BTreeMap, BTreeSet};

use crate::lint::contradictions::workload;
use crate::lint::peer_authentications::{by_policy, container_ports};
use crate::lint::{Problem, Survey};
use crate::mesh::Mesh;
use crate::mesh::pod::Pod;
use crate::policy::Trace;
use crate::policy::interception;
use crate::policy::peer_authentication::effective;
use crate::report::{PartyKind, ServerMode};

/// AB01: DISABLE over workloads of ztunnel, which takes it for PERMISSIVE.
pub(crate) fn disabled(survey: &Survey<'_>) -> Vec<Problem> {
    let found = under(survey.mesh, ServerMode::Disable, |pod, _| pod.proxy == PartyKind::Ambient);
    by_policy(survey.mesh, found, |policy, pods| {
        (
            format!(
                "{policy} sets DISABLE for {pods}, which are ambient: it counts as PERMISSIVE, and HBONE goes on"
            ),
            "Drop the policy, or say PERMISSIVE.".to_owned(),
        )
    })
}

/// AB04: sidecars that take nothing but the sidecars' mTLS, in a mesh with clients that never speak it.
pub(crate) fn sidecars_without_hbone(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    if !mesh.has_ambient() {
        return Vec::new();
    }
    let found = under(mesh, ServerMode::Strict, |pod, port| {
        pod.proxy == PartyKind::Sidecar && !pod.hbone() && interception::inbound(pod, port).is_ok()
    });
    by_policy(mesh, found, |policy, pods| {
        (
            format!(
                "{policy} sets STRICT for {pods}, whose sidecars take no HBONE: ambient clients are refused"
            ),
            "Set ISTIO_META_ENABLE_HBONE=true for the sidecars, or move the workloads to ambient.".to_owned(),
        )
    })
}

/// Workloads with a port under this mode, by the policy that sets it.
fn under(
    mesh: &Mesh,
    mode: ServerMode,
    asked: impl Fn(&Pod, u16) -> bool,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pod in mesh.pods.iter().filter(|pod| !pod.ended) {
        for port in container_ports(mesh, pod).into_iter().filter(|port| asked(pod, *port)) {
            let decided = effective(mesh, &pod.meta.namespace, &pod.meta.labels, port, &mut Trace::default());
            if decided.value == mode {
                found.entry(decided.from).or_default().insert(workload(pod));
            }
        }
    }
    found
}
