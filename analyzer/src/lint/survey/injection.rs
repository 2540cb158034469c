//! Which pods should have a proxy and have none.

use crate::mesh::Mesh;
use crate::mesh::meta::Labels;
use crate::mesh::pod::Pod;
use crate::report::PartyKind;

/// Tells whether a namespace's labels put new pods into the mesh.
pub(crate) fn labelled(labels: &Labels) -> bool {
    labels.get("istio-injection").is_some_and(|value| value == "enabled")
        || labels.contains_key("istio.io/rev")
        || labels.get("istio.io/dataplane-mode").is_some_and(|mode| mode == "ambient")
}

/// Pods that could have a proxy and have none: those of the host network cannot, some opt out, and the control plane
/// has none by design.
pub(crate) fn uninjected(mesh: &Mesh, pod: &Pod) -> bool {
    let opted_out = [&pod.meta.labels, &pod.meta.annotations]
        .iter()
        .any(|map| map.get("sidecar.istio.io/inject").is_some_and(|value| value == "false"));
    let system =
        *pod.meta.namespace == *mesh.config.root_namespace || pod.meta.namespace.starts_with("kube-");
    pod.proxy == PartyKind::NoProxy && !pod.ended && !pod.host_network && !opted_out && !system
}
