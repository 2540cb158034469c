//! IN01, IN02, AM02, XC05, XC06: pods without a proxy, or with one that nobody reaches by mTLS.

use std::collections::{BTreeMap, BTreeSet};

use crate::lint::contradictions::workload;
use crate::lint::peer_authentications::container_ports;
use crate::lint::{Problem, Survey, names};
use crate::mesh::meta::Labels;
use crate::mesh::pod::Pod;
use crate::mesh::{Mesh, Owner};
use crate::policy::Trace;
use crate::policy::peer_authentication::effective;
use crate::report::{PartyKind, ServerMode};

/// Tells whether a namespace's labels put new pods into the mesh.
pub(crate) fn labelled(labels: &Labels) -> bool {
    labels.get("istio-injection").is_some_and(|value| value == "enabled")
        || labels.contains_key("istio.io/rev")
        || labels.get("istio.io/dataplane-mode").is_some_and(|mode| mode == "ambient")
}

/// IN01: pods without a proxy where new pods would get one, or in a namespace that says nothing.
pub(crate) fn without_proxy(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut bare: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for pod in mesh.pods.iter().filter(|pod| uninjected(mesh, pod)) {
        bare.entry(&pod.meta.namespace).or_default().insert(workload(pod));
    }
    bare.into_iter()
        .filter_map(|(namespace, pods)| {
            let (meta, labels) = mesh.namespaces.get(namespace)?;
            let decided = labels.contains_key("istio-injection") && !labelled(labels);
            if decided {
                return None;
            }
            let pods = names(pods);
            let (message, remedy) = if labelled(labels) {
                (
                    format!("{pods} have no proxy, though namespace {namespace} is labelled for the mesh"),
                    "Restart the pods; if that does not help, look for why injection skips them.",
                )
            } else {
                (
                    format!("{pods} have no proxy, and namespace {namespace} does not say whether it is in the mesh"),
                    "Label the namespace istio-injection enabled or disabled.",
                )
            };
            let yaml = format!(
                "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n  labels:\n    istio-injection: enabled\n"
            );
            Some(Problem::at(meta, meta.line, message, remedy).yaml(yaml))
        })
        .collect()
}

/// Pods that could have a proxy and have none: those of the host network cannot, some opt out, and the control plane
/// has none by design.
fn uninjected(mesh: &Mesh, pod: &Pod) -> bool {
    let opted_out = [&pod.meta.labels, &pod.meta.annotations]
        .iter()
        .any(|map| map.get("sidecar.istio.io/inject").is_some_and(|value| value == "false"));
    let system =
        *pod.meta.namespace == *mesh.config.root_namespace || pod.meta.namespace.starts_with("kube-");
    pod.proxy == PartyKind::NoProxy && !pod.ended && !pod.host_network && !opted_out && !system
}

/// IN02: a sidecar and ztunnel both claim the pod's traffic.
pub(crate) fn two_proxies(survey: &Survey<'_>) -> Vec<Problem> {
    survey
        .mesh
        .pods
        .iter()
        .filter(|pod| pod.both_proxies)
        .map(|pod| {
            let message = format!("{} has a sidecar and is redirected to ztunnel as well", pod.meta.id());
            Problem::at(
                &pod.meta,
                pod.meta.line,
                message,
                "Choose one: drop the injection or the ambient label.",
            )
        })
        .collect()
}

/// AM02: the label tells clients that the sidecar takes no mTLS.
pub(crate) fn label_denies_mtls(survey: &Survey<'_>) -> Vec<Problem> {
    survey
        .mesh
        .pods
        .iter()
        .filter(|pod| pod.proxy == PartyKind::Sidecar)
        .filter_map(|pod| {
            let mode = pod.meta.labels.get("security.istio.io/tlsMode").filter(|mode| *mode != "istio")?;
            let message = format!(
                "{} has a sidecar but the label security.istio.io/tlsMode={mode}: clients send it plaintext",
                pod.meta.id()
            );
            Some(Problem::at(&pod.meta, pod.meta.line, message, "Remove the label from the pod template."))
        })
        .collect()
}

/// XC05: pods without a proxy, where every service of the mesh is STRICT.
pub(crate) fn never_connect(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut modes = mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Sidecar).flat_map(|pod| {
        container_ports(mesh, pod).into_iter().map(|port| {
            effective(mesh, &pod.meta.namespace, &pod.meta.labels, port, &mut Trace::default()).value
        })
    });
    let Some(first) = modes.next() else { return Vec::new() };
    if first != ServerMode::Strict || modes.any(|mode| mode != ServerMode::Strict) {
        return Vec::new();
    }
    let mut bare: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in mesh.pods.iter().filter(|pod| uninjected(mesh, pod)) {
        bare.entry(&pod.meta.namespace).or_default().push(pod);
    }
    bare.into_values()
        .filter_map(|pods| {
            let first = *pods.first()?;
            let message = format!(
                "{} have no proxy and every service of the mesh is STRICT: they can never connect",
                names(pods.iter().map(|pod| workload(pod)))
            );
            Some(Problem::at(
                &first.meta,
                first.meta.line,
                message,
                "Inject them, or leave a PERMISSIVE port for them.",
            ))
        })
        .collect()
}

/// XC06: one endpoint without tlsMode takes the whole headless service to plaintext.
pub(crate) fn mixed_headless(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
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
            let message = format!(
                "{} is headless and {} of its {} endpoints take no mTLS: clients send plaintext to all of them",
                host.host,
                without.len(),
                host.endpoints.len()
            );
            Some(Problem::at(meta, meta.line, message, "Inject every pod behind it, or none."))
        })
        .collect()
}
