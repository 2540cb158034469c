//! Which pods should have a proxy and have none, and what gives them one.

use std::collections::BTreeSet;

use crate::lint::survey::interception::{MODE, REDIRECT};
use crate::mesh::Mesh;
use crate::mesh::joining::{DATAPLANE, INJECT, ambient};
use crate::mesh::pod::Pod;
use crate::patch::{Patch, PodPatch, part};
use crate::report::PartyKind;

/// Tells whether a namespace is Kubernetes' own, which Istio never puts into the mesh.
///
/// Istio: `pkg/kube/inject`, `IgnoredNamespaces`.
pub(crate) fn of_kubernetes(namespace: &str) -> bool {
    namespace.starts_with("kube-") || namespace == "local-path-storage"
}

/// Pods that should have a proxy and have none: those that could, except the ones that opt out.
pub(crate) fn uninjected(mesh: &Mesh, pod: &Pod) -> bool {
    let opted_out = [&pod.meta.labels, &pod.meta.annotations]
        .iter()
        .any(|map| map.get(INJECT).is_some_and(|value| value == "false"));
    could_have_proxy(mesh, pod) && !opted_out
}

/// Pods that could have a proxy and have none: those of the host network cannot, and the control plane has none by design.
pub(crate) fn could_have_proxy(mesh: &Mesh, pod: &Pod) -> bool {
    let system = *pod.meta.namespace == *mesh.config.root_namespace || of_kubernetes(&pod.meta.namespace);
    pod.proxy == PartyKind::NoProxy && !pod.ztunnel && !pod.ended && !pod.host_network && !system
}

/// Changes a pod's annotations so that its sidecar intercepts these container ports.
pub(crate) fn intercept(pod: &Pod, ports: &BTreeSet<u16>) -> PodPatch {
    let place = |name: &str| format!("/metadata/annotations/{}", part(name));
    let list = |text: &str| -> Vec<String> {
        text.split(',').map(|port| port.trim().to_owned()).filter(|port| !port.is_empty()).collect()
    };
    let mut patch = Patch::of_pod(pod);
    for (name, text) in &pod.meta.annotations {
        match name.strip_prefix("traffic.sidecar.istio.io/") {
            Some("excludeInboundPorts") => {
                let mut left = list(text);
                left.retain(|port| !port.parse().is_ok_and(|port| ports.contains(&port)));
                patch = if left.is_empty() {
                    patch.remove(&place(name))
                } else {
                    patch.set(&place(name), left.join(","))
                };
            }
            Some("includeInboundPorts") if text.trim() != "*" => {
                let mut all = list(text);
                all.extend(ports.iter().map(u16::to_string).filter(|port| !list(text).contains(port)));
                patch = patch.set(&place(name), all.join(","));
            }
            Some("excludeInterfaces") => patch = patch.remove(&place(name)),
            Some(_) | None => {}
        }
    }
    if pod.redirected == Some(false) { patch.set(&place(MODE), REDIRECT) } else { patch }
}

/// Asks for a proxy in a pod's template, which also makes its pods anew: for a sidecar, or for ztunnel where the namespace
/// is ambient.
pub(crate) fn inject(mesh: &Mesh, pod: &Pod) -> PodPatch {
    let namespace = mesh.namespaces.get(&*pod.meta.namespace);
    let in_ambient = namespace.is_some_and(|(_, labels)| ambient(labels));
    let (label, value) = if in_ambient { (DATAPLANE, "ambient") } else { (INJECT, "true") };
    let patch = Patch::of_pod(pod).set(&format!("/metadata/labels/{}", part(label)), value);
    if pod.meta.annotations.contains_key(INJECT) {
        patch.remove(&format!("/metadata/annotations/{}", part(INJECT)))
    } else {
        patch
    }
}
