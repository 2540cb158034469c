//! PA01 to PA10 and XC04: PeerAuthentications that do not act, or do not act as written.

use std::collections::{BTreeMap, BTreeSet};

use crate::lint::contradictions::workload;
use crate::lint::{Problem, Survey, names};
use crate::mesh::Mesh;
use crate::mesh::meta::selects;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::policy::interception::{self, NEVER_INTERCEPTED};
use crate::policy::peer_authentication::{at_namespace, effective};
use crate::policy::visibility::covers;
use crate::policy::{Decided, Trace};
use crate::report::{ClientTls, PartyKind, ServerMode};

/// PA01: `portLevelMtls` needs a selector; Istio rejects it without one.
pub(crate) fn ports_without_selector(survey: &Survey<'_>) -> Vec<Problem> {
    survey
        .mesh
        .peer_authentications
        .iter()
        .filter(|policy| policy.has_ports && !policy.is_for_workloads())
        .map(|policy| {
            let line = policy.ports.values().map(|(_, line)| *line).next().unwrap_or(policy.meta.line);
            let message =
                format!("{} sets portLevelMtls without a selector: Istio ignores it", policy.meta.id());
            Problem::at(&policy.meta, line, message, "Add a selector for the workloads that it is meant for.")
                .yaml("spec:\n  selector:\n    matchLabels:\n      app: NAME-OF-THE-WORKLOAD\n".to_owned())
        })
        .collect()
}

/// PA02: of several policies without a selector only the oldest acts.
pub(crate) fn several_for_namespace(survey: &Survey<'_>) -> Vec<Problem> {
    let mut oldest: BTreeMap<&str, &PeerAuthentication> = BTreeMap::new();
    let mut problems = Vec::new();
    for policy in survey.mesh.peer_authentications.iter().filter(|policy| !policy.is_for_workloads()) {
        match oldest.get(&*policy.meta.namespace) {
            Some(first) => {
                let message = format!(
                    "{} has no effect: {} is older and acts for the whole namespace",
                    policy.meta.id(),
                    first.meta.id()
                );
                problems.push(Problem::at(
                    &policy.meta,
                    policy.meta.line,
                    message,
                    "Keep one and delete the rest.",
                ));
            }
            None => {
                oldest.insert(&policy.meta.namespace, policy);
            }
        }
    }
    problems
}

/// PA03: of several policies that select one pod only the oldest acts; they are not merged.
pub(crate) fn several_for_workload(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut losers: BTreeMap<String, (&PeerAuthentication, &PeerAuthentication, BTreeSet<String>)> =
        BTreeMap::new();
    for pod in &mesh.pods {
        let mut matching = mesh.peer_authentications.iter().filter(|policy| chooses(mesh, policy, pod));
        let Some(first) = matching.next() else { continue };
        for loser in matching {
            losers
                .entry(loser.meta.id())
                .or_insert_with(|| (loser, first, BTreeSet::new()))
                .2
                .insert(workload(pod));
        }
    }
    losers
        .into_values()
        .map(|(loser, first, pods)| {
            let message = format!(
                "{} has no effect on {}: {} is older and acts alone, policies are not merged",
                loser.meta.id(),
                names(pods),
                first.meta.id()
            );
            Problem::at(&loser.meta, loser.meta.line, message, "Merge the two by hand into one policy.")
        })
        .collect()
}

/// PA04: labels in the root namespace make a policy that acts nowhere.
pub(crate) fn labels_in_root(survey: &Survey<'_>) -> Vec<Problem> {
    let root = &survey.mesh.config.root_namespace;
    survey
        .mesh
        .peer_authentications
        .iter()
        .filter(|policy| policy.is_for_workloads() && *policy.meta.namespace == **root)
        .map(|policy| {
            let message = format!(
                "{} selects workloads, but stands in the root namespace: it is ignored everywhere",
                policy.meta.id()
            );
            Problem::at(&policy.meta, policy.meta.line, message, "Move it to the namespace of the workload.")
        })
        .collect()
}

/// PA05: the selector finds nobody.
pub(crate) fn selects_nothing(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    mesh.peer_authentications
        .iter()
        .filter(|policy| policy.is_for_workloads() && *policy.meta.namespace != *mesh.config.root_namespace)
        .filter(|policy| !mesh.pods.iter().any(|pod| chooses(mesh, policy, pod)))
        .map(|policy| {
            let labels = names(policy.selector.iter().map(|(key, value)| format!("{key}={value}")));
            let message = format!("{} selects {labels}: no pod of its namespace has that", policy.meta.id());
            Problem::at(&policy.meta, policy.meta.line, message, "Correct the labels, or delete the policy.")
        })
        .collect()
}

/// PA06: a port-level mode for a port that the selected pods do not have.
pub(crate) fn unknown_port(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    for policy in mesh.peer_authentications.iter().filter(|policy| policy.is_for_workloads()) {
        let pods: Vec<&Pod> = mesh.pods.iter().filter(|pod| chooses(mesh, policy, pod)).collect();
        let known: BTreeSet<u16> = pods.iter().flat_map(|pod| container_ports(mesh, pod)).collect();
        if known.is_empty() {
            continue;
        }
        for (port, (_, line)) in policy.ports.iter().filter(|(port, _)| !known.contains(port)) {
            let target = mesh
                .hosts
                .iter()
                .flat_map(|host| &host.endpoints)
                .filter(|endpoint| {
                    mesh.pod_of(endpoint).is_some_and(|pod| pods.iter().any(|own| std::ptr::eq(*own, pod)))
                })
                .find_map(|endpoint| endpoint.ports.get(port));
            let hint = target.map_or(String::new(), |target| {
                format!("; it is the Service's port, behind it the container listens on {target}")
            });
            let message =
                format!("{} sets a mode for port {port}, which no selected pod has{hint}", policy.meta.id());
            let problem =
                Problem::at(&policy.meta, *line, message, "Use the container port, never the Service's.");
            let mode = policy.ports.get(port).and_then(|(mode, _)| *mode);
            problems.push(match (target, mode) {
                (Some(target), Some(mode)) => {
                    problem.yaml(format!("spec:\n  portLevelMtls:\n    {target}:\n      mode: {mode}\n"))
                }
                (_, _) => problem,
            });
        }
    }
    problems
}

/// PA07: STRICT where no proxy enforces it.
pub(crate) fn strict_without_proxy(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut bare: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pod in &mesh.pods {
        let mode = effective(mesh, &pod.meta.namespace, &pod.meta.labels, 0, &mut Trace::default());
        match pod.proxy {
            PartyKind::NoProxy => {
                let root = *pod.meta.namespace == *mesh.config.root_namespace;
                let own = mode.from.starts_with(&format!("PeerAuthentication/{}/", pod.meta.namespace));
                let meant = own || in_mesh_namespace(mesh, &pod.meta.namespace);
                if mode.value == ServerMode::Strict && !root && meant {
                    bare.entry(mode.from).or_default().insert(workload(pod));
                }
            }
            PartyKind::Sidecar => {
                for port in container_ports(mesh, pod)
                    .into_iter()
                    .filter(|port| interception::inbound(pod, *port).is_err())
                {
                    let mode =
                        effective(mesh, &pod.meta.namespace, &pod.meta.labels, port, &mut Trace::default());
                    if mode.value == ServerMode::Strict {
                        bare.entry(mode.from).or_default().insert(format!("{} port {port}", workload(pod)));
                    }
                }
            }
            PartyKind::Gateway
            | PartyKind::Waypoint
            | PartyKind::Ambient
            | PartyKind::Node
            | PartyKind::ServiceAddress
            | PartyKind::Declared
            | PartyKind::Unknown => {}
        }
    }
    by_policy(mesh, bare, |policy, pods| {
        (
            format!("{policy} sets STRICT for {pods}, where no proxy enforces it"),
            "Inject the workloads, or stop excluding the ports from interception.".to_owned(),
        )
    })
}

/// PA08: workloads that still take plaintext.
pub(crate) fn permissive(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut found: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for (pod, mode) in sidecar_modes(mesh).filter(|(_, mode)| mode.value == ServerMode::Permissive) {
        found.entry((mode.from, pod.meta.namespace.to_string())).or_default().insert(workload(pod));
    }
    found
        .into_iter()
        .map(|((from, namespace), pods)| {
            let pods = names(pods);
            let message = format!("{pods} take plaintext as well as mTLS: PERMISSIVE by {from}");
            let remedy = "Set STRICT once no client without a proxy is left.";
            let yaml = namespace_yaml(&namespace, "STRICT");
            match policy_of(mesh, &from) {
                Some(policy) => Problem::at(&policy.meta, policy.mode_line, message, remedy),
                None => Problem::of(format!("Namespace/{namespace}"), message, remedy),
            }
            .yaml(yaml)
        })
        .collect()
}

/// PA09: plaintext by declaration.
pub(crate) fn disabled(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (pod, mode) in sidecar_modes(mesh).filter(|(_, mode)| mode.value == ServerMode::Disable) {
        found.entry(mode.from).or_default().insert(workload(pod));
    }
    by_policy(mesh, found, |policy, pods| {
        (
            format!("{policy} switches mTLS off for {pods}: plaintext by declaration"),
            "Confirm that it is meant; else set PERMISSIVE or STRICT.".to_owned(),
        )
    })
}

/// PA10: an empty policy stands before a newer one that sets a mode.
pub(crate) fn empty_hides_set(survey: &Survey<'_>) -> Vec<Problem> {
    let mut oldest: BTreeMap<&str, &PeerAuthentication> = BTreeMap::new();
    let mut problems = Vec::new();
    for policy in survey.mesh.peer_authentications.iter().filter(|policy| !policy.is_for_workloads()) {
        let first = *oldest.entry(&policy.meta.namespace).or_insert(policy);
        if first.mode.is_none() && policy.mode.is_some() {
            let message =
                format!("{} sets no mode, yet hides the younger {}", first.meta.id(), policy.meta.id());
            problems.push(Problem::at(&first.meta, first.meta.line, message, "Delete the empty policy."));
        }
    }
    problems
}

/// XC04: auto mTLS looks at the namespace alone, so STRICT below its DISABLE gets plaintext.
pub(crate) fn strict_below_disable(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut found: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for (pod, mode) in sidecar_modes(mesh).filter(|(_, mode)| mode.value == ServerMode::Strict) {
        let level = at_namespace(mesh, &pod.meta.namespace, &mut Trace::default());
        if level.value == ServerMode::Disable && !has_mutual_rule(mesh, pod) {
            found.entry((mode.from, level.from)).or_default().insert(workload(pod));
        }
    }
    found
        .into_iter()
        .filter_map(|((strict, disable), pods)| {
            let policy = policy_of(mesh, &strict)?;
            let message = format!(
                "{strict} sets STRICT for {} below {disable}, which is DISABLE: auto mTLS looks at the namespace only and sends plaintext",
                names(pods)
            );
            let remedy = "Set the namespace to PERMISSIVE, or add a DestinationRule with ISTIO_MUTUAL.";
            let yaml = namespace_yaml(&policy.meta.namespace, "PERMISSIVE");
            Some(Problem::at(&policy.meta, policy.mode_line, message, remedy).yaml(yaml))
        })
        .collect()
}

/// Tells whether a rule makes clients send Istio mTLS to a Service of the pod, whatever auto mTLS would do.
fn has_mutual_rule(mesh: &Mesh, pod: &Pod) -> bool {
    mesh.hosts.iter().filter(|host| host.endpoints.iter().any(|endpoint| pod.ips.contains(&endpoint.ip))).any(
        |host| {
            mesh.destination_rules.iter().any(|rule| {
                covers(&crate::policy::destination_rule::full_host(rule, &mesh.config.domain), &host.host)
                    && rule
                        .policy
                        .as_ref()
                        .and_then(|policy| policy.tls.as_ref())
                        .is_some_and(|tls| tls.mode == ClientTls::IstioMutual)
            })
        },
    )
}

/// The modes in force at the ports of every pod whose sidecar enforces them.
fn sidecar_modes(mesh: &Mesh) -> impl Iterator<Item = (&Pod, Decided<ServerMode>)> {
    mesh.pods.iter().filter(|pod| pod.proxy == PartyKind::Sidecar).flat_map(move |pod| {
        let mut ports = container_ports(mesh, pod);
        ports.retain(|port| interception::inbound(pod, *port).is_ok());
        if ports.is_empty() {
            ports.insert(0);
        }
        ports.into_iter().map(move |port| {
            (pod, effective(mesh, &pod.meta.namespace, &pod.meta.labels, port, &mut Trace::default()))
        })
    })
}

/// The ports that a pod declares, and those that Services lead to; the proxy's own left out.
pub(crate) fn container_ports(mesh: &Mesh, pod: &Pod) -> BTreeSet<u16> {
    let behind = mesh
        .hosts
        .iter()
        .flat_map(|host| &host.endpoints)
        .filter(|endpoint| pod.ips.contains(&endpoint.ip))
        .flat_map(|endpoint| endpoint.ports.values().copied());
    pod.ports
        .iter()
        .map(|(_, port)| *port)
        .chain(behind)
        .filter(|port| !NEVER_INTERCEPTED.contains(port))
        .collect()
}

/// Tells whether a namespace is meant for the mesh: labelled so, or with a pod that has a proxy.
fn in_mesh_namespace(mesh: &Mesh, namespace: &str) -> bool {
    mesh.namespaces.get(namespace).is_some_and(|(_, labels)| crate::lint::injection::labelled(labels))
        || mesh.pods.iter().any(|pod| &*pod.meta.namespace == namespace && pod.proxy == PartyKind::Sidecar)
}

fn chooses(mesh: &Mesh, policy: &PeerAuthentication, pod: &Pod) -> bool {
    policy.is_for_workloads()
        && policy.meta.namespace == pod.meta.namespace
        && *policy.meta.namespace != *mesh.config.root_namespace
        && selects(&policy.selector, &pod.meta.labels)
}

fn policy_of<'a>(mesh: &'a Mesh, id: &str) -> Option<&'a PeerAuthentication> {
    mesh.peer_authentications.iter().find(|policy| policy.meta.id() == id)
}

/// One finding for each policy, with the workloads that it is about.
pub(crate) fn by_policy(
    mesh: &Mesh,
    found: BTreeMap<String, BTreeSet<String>>,
    say: impl Fn(&str, &str) -> (String, String),
) -> Vec<Problem> {
    found
        .into_iter()
        .filter_map(|(from, pods)| {
            let policy = policy_of(mesh, &from)?;
            let (message, remedy) = say(&from, &names(pods));
            Some(Problem::at(&policy.meta, policy.mode_line, message, remedy))
        })
        .collect()
}

fn namespace_yaml(namespace: &str, mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: default\n  namespace: {namespace}\nspec:\n  mtls:\n    mode: {mode}\n"
    )
}
