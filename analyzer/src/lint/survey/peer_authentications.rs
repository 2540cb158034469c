//! Modes in force at workloads, and the policies that set them.

use crate::lint::{Problem, names};
use crate::mesh::joining::labelled;
use crate::mesh::meta::{Labels, selects};
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::mesh::{HostService, Mesh};
use crate::policy::destination_rule::full_host;
use crate::policy::interception::{self, NEVER_INTERCEPTED};
use crate::policy::peer_authentication::effective;
use crate::policy::visibility::covers;
use crate::policy::{Decided, Trace};
use crate::report::{ClientTls, PartyKind, ServerMode};
use std::collections::{BTreeMap, BTreeSet};

/// Tells whether a rule makes clients send Istio mTLS to a Service of the pod, whatever auto mTLS would do.
pub(crate) fn has_mutual_rule(mesh: &Mesh, pod: &Pod) -> bool {
    mutual_rule(mesh, pod.ips.iter().flat_map(|ip| mesh.hosts_at(*ip)))
}

/// The same for any Service of a namespace.
pub(crate) fn has_mutual_rule_in(mesh: &Mesh, namespace: &str) -> bool {
    mutual_rule(mesh, mesh.hosts.iter().filter(|host| *host.namespace == *namespace))
}

fn mutual_rule<'a>(mesh: &Mesh, hosts: impl Iterator<Item = &'a HostService>) -> bool {
    let hosts: Vec<_> = hosts.collect();
    mesh.destination_rules.iter().any(|rule| {
        let mutual = rule.policy.as_ref().and_then(|policy| policy.tls.as_ref());
        mutual.is_some_and(|tls| tls.mode == ClientTls::IstioMutual)
            && hosts.iter().any(|host| covers(&full_host(rule, &mesh.config.domain), &host.host))
    })
}

/// The modes in force at the ports of every pod whose sidecar enforces them.
pub(crate) fn sidecar_modes(mesh: &Mesh) -> impl Iterator<Item = (&Pod, Decided<ServerMode>)> {
    modes(mesh, &[PartyKind::Sidecar]).map(|(pod, _, mode)| (pod, mode))
}

/// The modes that the policies come to at the ports of every pod with such a proxy; ports that a sidecar does not intercept left
/// out. What ztunnel makes of them is another question.
pub(crate) fn modes<'a>(
    mesh: &'a Mesh,
    proxies: &'static [PartyKind],
) -> impl Iterator<Item = (&'a Pod, u16, Decided<ServerMode>)> {
    mesh.pods.iter().filter(|pod| proxies.contains(&pod.proxy) && !pod.ended).flat_map(move |pod| {
        let mut ports = container_ports(mesh, pod);
        ports.retain(|port| pod.proxy != PartyKind::Sidecar || interception::inbound(pod, *port).is_ok());
        if ports.is_empty() {
            ports.insert(0);
        }
        ports.into_iter().map(move |port| {
            (pod, port, effective(mesh, &pod.meta.namespace, &pod.meta.labels, port, &mut Trace::unheard()))
        })
    })
}

/// The ports that a pod declares, and those that Services lead to; the proxy's own left out.
pub(crate) fn container_ports(mesh: &Mesh, pod: &Pod) -> BTreeSet<u16> {
    let behind = pod.ips.iter().flat_map(|ip| {
        let endpoints = mesh.hosts_at(*ip).flat_map(|host| &host.endpoints);
        endpoints
            .filter(move |endpoint| endpoint.ip == *ip)
            .flat_map(|endpoint| endpoint.ports.values().copied())
    });
    pod.ports
        .iter()
        .map(|(_, port)| *port)
        .chain(behind)
        .filter(|port| !NEVER_INTERCEPTED.contains(port))
        .collect()
}

/// The namespaces that are meant for the mesh: labelled so, or with a pod that has a sidecar.
pub(crate) fn mesh_namespaces(mesh: &Mesh) -> BTreeSet<&str> {
    let labelled =
        mesh.namespaces.iter().filter(|(_, (_, labels))| labelled(labels)).map(|(name, _)| &**name);
    let sidecars = mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Sidecar);
    labelled.chain(sidecars.map(|pod| &*pod.meta.namespace)).collect()
}

pub(crate) fn policy_of<'a>(mesh: &'a Mesh, id: &str) -> Option<&'a PeerAuthentication> {
    mesh.peer_authentications.iter().find(|policy| policy.meta.id() == id)
}

/// One finding for each policy, with the workloads that it is about.
pub(crate) fn by_policy(
    mesh: &Mesh,
    found: BTreeMap<String, BTreeSet<String>>,
    say: impl Fn(&PeerAuthentication, &str) -> Problem,
) -> Vec<Problem> {
    found.into_iter().filter_map(|(from, pods)| Some(say(policy_of(mesh, &from)?, &names(pods)))).collect()
}

/// The pods that a policy's selector chooses, but for those that have ended; none where it has no effect.
pub(crate) fn chosen<'a>(mesh: &'a Mesh, policy: &'a PeerAuthentication) -> Vec<&'a Pod> {
    let acts = policy.is_for_workloads() && *policy.meta.namespace != *mesh.config.root_namespace;
    let pods = mesh.pods_with(&policy.meta.namespace, &policy.selector).filter(|_| acts);
    pods.map(|(_, pod)| pod).collect()
}

/// Pods by workload: namespace and name.
pub(crate) fn by_workload<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
) -> BTreeMap<(&'a str, &'a str), Vec<&'a Pod>> {
    let mut found: BTreeMap<(&str, &str), Vec<&Pod>> = BTreeMap::new();
    for pod in pods {
        found.entry((&pod.meta.namespace, &pod.workload)).or_default().push(pod);
    }
    found
}

/// Labels that choose these pods of one workload, and no others of their namespace where labels tell them apart; none
/// where the pods have no label of their own in common.
pub(crate) fn labels_of(mesh: &Mesh, pods: &[&Pod]) -> Labels {
    let Some(first) = pods.first() else { return Labels::new() };
    // Labels that controllers and the injector set change with every rollout.
    let own = |key: &str| {
        let set = ["istio.io/", "statefulset.kubernetes.io/", "apps.kubernetes.io/", "batch.kubernetes.io/"];
        !key.ends_with("-hash")
            && !set.iter().any(|prefix| key.contains(prefix))
            && !matches!(key, "job-name" | "controller-uid")
    };
    let mut shared = first.meta.labels.clone();
    shared.retain(|key, value| own(key) && pods.iter().all(|pod| pod.meta.labels.get(key) == Some(value)));
    let alone = |labels: &Labels| {
        mesh.pods.iter().all(|pod| {
            pod.meta.namespace != first.meta.namespace
                || pod.ended
                || pod.workload == first.workload
                || !selects(labels, &pod.meta.labels)
        })
    };
    let names = ["app.kubernetes.io/name", "app", "k8s-app"];
    let single = names.iter().filter_map(|key| shared.get_key_value(*key));
    single
        .map(|(key, value)| Labels::from([(key.clone(), value.clone())]))
        .find(alone)
        .unwrap_or_else(|| shared.clone())
}

/// Finds a name for a new policy of a namespace that no policy there has yet.
pub(crate) fn free_name(mesh: &Mesh, namespace: &str, name: &str) -> String {
    let taken = |name: &str| policy_of(mesh, &format!("PeerAuthentication/{namespace}/{name}")).is_some();
    if taken(name) { format!("{name}-workload") } else { name.to_owned() }
}

/// As many workloads get a patch of their own in one finding.
pub(crate) const PATCHED: usize = 50;
