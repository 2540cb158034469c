//! Which pods should have a proxy and have none.

use crate::mesh::Mesh;
use crate::mesh::meta::Labels;
use crate::mesh::pod::Pod;
use crate::patch::{Patch, PodPatch, part};
use crate::report::PartyKind;
use std::collections::BTreeSet;

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
            Some(_) => {}
            None if name == "sidecar.istio.io/interceptionMode" => patch = patch.remove(&place(name)),
            None => {}
        }
    }
    patch
}

/// Asks the injector for a sidecar.
pub(crate) fn inject(pod: &Pod) -> PodPatch {
    let name = part("sidecar.istio.io/inject");
    let patch = Patch::of_pod(pod).set(&format!("/metadata/labels/{name}"), "true");
    if pod.meta.annotations.contains_key("sidecar.istio.io/inject") {
        patch.remove(&format!("/metadata/annotations/{name}"))
    } else {
        patch
    }
}
