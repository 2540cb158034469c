//! PA07: STRICT where no proxy enforces it.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::injection::{inject, intercept, of_kubernetes};
use crate::lint::survey::meetings::workload;
use crate::lint::survey::peer_authentications::{
    PATCHED, chosen, container_ports, free_name, labels_of, mesh_namespaces, policy_of,
};
use crate::lint::{Problem, Rule, names};
use crate::mesh::Mesh;
use crate::mesh::joining::mesh_label;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::patch::{self, Patch, part};
use crate::policy::Trace;
use crate::policy::interception;
use crate::policy::peer_authentication::{chosen_for_workload, effective};
use crate::report::{PartyKind, ServerMode, Severity};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const RULE: Rule = Rule {
    id: "PA07",
    severity: Severity::High,
    title: "STRICT where no proxy enforces it",
    page: include_str!("../../../docs/findings/PA07.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[
            (
                "    app: web\n    security.istio.io/tlsMode: istio\n",
                "    app: web\n    sidecar.istio.io/inject: 'false'\n",
            ),
            (
                "  - name: istio-proxy\n    args: [proxy, sidecar]\nstatus:\n  podIP: 10.0.1.11",
                "status:\n  podIP: 10.0.1.11",
            ),
        ],
        add: "",
        // The pod, a client as well, finds no server that takes plaintext.
        also: &["XC05"],
    },
};

/// The workloads that one policy cannot protect, each with one of its pods and the ports; no ports for all of them.
type Bare<'a> = BTreeMap<String, (&'a Pod, BTreeSet<u16>)>;

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let strict_from = |pod: &Pod, port| {
        let mode = effective(mesh, &pod.meta.namespace, &pod.meta.labels, port, &mut Trace::unheard());
        (mode.value == ServerMode::Strict).then_some(mode.from)
    };
    let in_mesh = mesh_namespaces(mesh);
    let mut found: BTreeMap<(String, &str), Bare<'_>> = BTreeMap::new();
    let mut beyond: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pod in mesh.pods.iter().filter(|pod| !pod.ended && !pod.ztunnel) {
        let ports = container_ports(mesh, pod);
        if pod.proxy == PartyKind::NoProxy && *pod.meta.namespace != *mesh.config.root_namespace {
            let Some(from) = [0].into_iter().chain(ports).find_map(|port| strict_from(pod, port)) else {
                continue;
            };
            // A mode for the whole mesh is not meant for namespaces that are no part of it.
            let own = from.starts_with(&format!("PeerAuthentication/{}/", pod.meta.namespace));
            if own || in_mesh.contains(&*pod.meta.namespace) {
                let bare = found.entry((from, &pod.meta.namespace)).or_default();
                bare.entry(workload(pod)).or_insert((pod, BTreeSet::new()));
            } else if !of_kubernetes(&pod.meta.namespace) {
                beyond.entry(from).or_default().insert(pod.meta.namespace.to_string());
            }
        } else if pod.proxy == PartyKind::Sidecar {
            for port in ports.into_iter().filter(|port| interception::inbound(pod, *port).is_err()) {
                if let Some(from) = strict_from(pod, port) {
                    let bare = found.entry((from, &pod.meta.namespace)).or_default();
                    bare.entry(workload(pod)).or_insert_with(|| (pod, BTreeSet::new())).1.insert(port);
                }
            }
        }
    }
    found
        .into_iter()
        .filter_map(|((from, _), bare)| {
            let policy = policy_of(mesh, &from)?;
            let who = names(bare.iter().map(|(name, (_, ports))| match ports.len() {
                0 => name.clone(),
                _ => format!("{name} port {}", names(ports.iter().map(u16::to_string))),
            }));
            let message = format!(
                "{} sets STRICT for {who}, where no proxy enforces it: plaintext is served",
                policy.meta.id()
            );
            let problem = Problem::at(&policy.meta, policy.mode_line, message, remedy(&bare));
            let patches: Vec<String> = bare
                .values()
                .filter_map(|(pod, ports)| match (ports.is_empty(), pod.host_network) {
                    (true, false) => Some(inject(mesh, pod).yaml()),
                    (true, true) => open(mesh, policy, pod),
                    (false, _) => Some(intercept(pod, ports).yaml()),
                })
                .take(PATCHED)
                .collect();
            Some(if patches.is_empty() { problem } else { problem.yaml(patch::together(patches)) })
        })
        .chain(beyond.into_iter().filter_map(|(from, namespaces)| {
            let policy = policy_of(mesh, &from)?;
            let message = format!(
                "{from} sets STRICT for the whole mesh, and in {} nothing enforces it: these namespaces have pods, and none with a proxy",
                names(namespaces.iter().cloned())
            );
            let remedy = "Label the namespaces that are meant to be in the mesh, and create their pods anew; leave out of the patch what is to stay as it is.";
            let (label, value) = mesh_label(mesh);
            let join = |namespace: &String| {
                let patch = match mesh.namespaces.get(namespace.as_str()) {
                    Some((meta, _)) => Patch::of(meta),
                    None => Patch::create("v1", "Namespace", "", namespace),
                };
                patch.set(&format!("/metadata/labels/{}", part(label)), value).yaml()
            };
            let yaml = patch::together(namespaces.iter().map(join));
            Some(Problem::at(&policy.meta, policy.mode_line, message, remedy).rated(Severity::Info).yaml(yaml))
        }))
        .collect()
}

/// Declares what is in force at a pod of the host network: in the policy itself where it is for this workload alone, in one
/// below it where that is for all; nothing where a policy is for others as well.
fn open(mesh: &Mesh, policy: &PeerAuthentication, pod: &Pod) -> Option<String> {
    let own = chosen_for_workload(mesh, &pod.meta.namespace, &pod.meta.labels);
    let mode = ServerMode::Permissive.name();
    if let Some(own) = own {
        let alone = || chosen(mesh, own).iter().all(|other| workload(other) == workload(pod));
        let whole = std::ptr::eq(own, policy) && own.ports.is_empty() && alone();
        return whole.then(|| Patch::of(&own.meta).set("/spec/mtls/mode", mode).yaml());
    }
    let labels = labels_of(mesh, &[pod]);
    let name = free_name(mesh, &pod.meta.namespace, &pod.workload);
    let patch = Patch::create("security.istio.io/v1", "PeerAuthentication", &pod.meta.namespace, &name)
        .set("/spec/selector/matchLabels", json!(labels))
        .set("/spec/mtls/mode", mode);
    (!labels.is_empty()).then(|| patch.yaml())
}

fn remedy(bare: &Bare<'_>) -> String {
    let any = |asked: fn(&Pod, bool) -> bool| bare.values().any(|(pod, ports)| asked(pod, ports.is_empty()));
    let mut parts = Vec::new();
    if any(|pod, whole| whole && !pod.host_network) {
        parts.push("Have a sidecar injected and create the pods anew.");
    }
    if any(|_, whole| !whole) {
        parts.push("Stop excluding the ports from interception.");
    }
    if any(|pod, whole| whole && pod.host_network) {
        parts.push(
            "Pods of the host network cannot have a sidecar: declare what is in force there, PERMISSIVE, and guard them by other means.",
        );
    }
    parts.join(" ")
}
