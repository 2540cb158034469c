//! How namespaces and pods join the mesh: the labels that ask for a proxy.

use std::collections::BTreeMap;

use crate::mesh::Mesh;
use crate::mesh::control_plane::REVISION;
use crate::mesh::meta::Labels;

const INJECTION: &str = "istio-injection";
pub(crate) const DATAPLANE: &str = "istio.io/dataplane-mode";
/// The label (once an annotation) by which a pod asks for a sidecar, or for none.
pub(crate) const INJECT: &str = "sidecar.istio.io/inject";

/// Tells whether a namespace's labels put new pods into the mesh.
pub(crate) fn labelled(labels: &Labels) -> bool {
    labels.get(INJECTION).is_some_and(|value| value == "enabled")
        || labels.contains_key(REVISION)
        || ambient(labels)
}

/// Tells whether a namespace's labels give its pods ztunnel.
pub(crate) fn ambient(labels: &Labels) -> bool {
    labels.get(DATAPLANE).is_some_and(|mode| mode == "ambient")
}

/// Tells whether a namespace says that it is not in the mesh.
pub(crate) fn decided(labels: &Labels) -> bool {
    labels.contains_key(INJECTION) || labels.contains_key(DATAPLANE)
}

/// Returns the label by which most namespaces of this mesh join it.
pub(crate) fn mesh_label(mesh: &Mesh) -> (&'static str, &str) {
    let mut used: BTreeMap<(&'static str, &str), usize> = BTreeMap::new();
    for (_, labels) in mesh.namespaces.values() {
        let joins = [(INJECTION, Some("enabled")), (DATAPLANE, Some("ambient")), (REVISION, None)];
        for (label, wanted) in joins {
            if let Some(value) =
                labels.get(label).filter(|value| wanted.is_none_or(|wanted| wanted == *value))
            {
                let count = used.entry((label, value)).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
    used.into_iter().max_by_key(|(_, count)| *count).map_or((INJECTION, "enabled"), |(label, _)| label)
}
