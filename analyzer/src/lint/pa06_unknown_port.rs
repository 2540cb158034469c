//! PA06: A port-level mode for a port that the selected pods do not have.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::peer_authentications::{chosen, container_ports};
use crate::lint::{Problem, Rule, names};
use crate::mesh::Mesh;
use crate::mesh::meta::selects;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::mesh::service::TargetPort;
use crate::patch::{self, Patch};
use crate::report::Severity;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const RULE: Rule = Rule {
    id: "PA06",
    severity: Severity::High,
    title: "portLevelMtls for a port that no selected pod has",
    page: include_str!("../../../docs/findings/PA06.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: broken, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: web}}, portLevelMtls: {80: {mode: STRICT}}}",
        also: &[],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut problems = Vec::new();
    let with_ports = mesh
        .peer_authentications
        .iter()
        .filter(|policy| policy.is_for_workloads() && !policy.ports.is_empty());
    for policy in with_ports {
        let pods = chosen(mesh, policy);
        let known: BTreeSet<u16> = pods.iter().flat_map(|pod| container_ports(mesh, pod)).collect();
        let wrong: BTreeMap<u16, BTreeSet<u16>> = if mesh.pods.is_empty() {
            of_services(mesh, policy)
        } else if known.is_empty() {
            // Pods that declare nothing may listen on any port.
            continue;
        } else {
            let unknown = policy.ports.keys().filter(|port| !known.contains(port));
            unknown.map(|port| (*port, behind(mesh, &pods, *port))).collect()
        };
        let yaml = corrected(policy, &wrong);
        for (port, targets) in &wrong {
            let line = policy.ports.get(port).map_or(policy.ports_line, |(_, line)| *line);
            let listens = names(targets.iter().map(u16::to_string));
            let (hint, remedy) = if targets.is_empty() {
                let listens = names(known.iter().map(u16::to_string));
                (
                    String::new(),
                    format!(
                        "Remove it: the pods listen on {listens}. Or declare the container's port {port}."
                    ),
                )
            } else {
                (
                    format!("; it is the Service's port, behind it the container listens on {listens}"),
                    format!("Set the mode for the container port {listens}, never for the Service's."),
                )
            };
            let who = if mesh.pods.is_empty() {
                "to which no Service of the selected pods leads (none is declared)"
            } else {
                "which no selected pod has"
            };
            let message = format!(
                "{} sets a mode for port {port}, {who}, so it acts on nothing{hint}",
                policy.meta.id()
            );
            problems.push(Problem::at(&policy.meta, line, message, remedy).yaml(yaml.clone()));
        }
    }
    problems
}

/// Where no pod is declared: those ports of a policy that are ports of Services, with the container ports behind them. Left out
/// is one that a Service for such pods leads to, or may lead to because it names its target.
fn of_services(mesh: &Mesh, policy: &PeerAuthentication) -> BTreeMap<u16, BTreeSet<u16>> {
    let mut behind: BTreeMap<u16, BTreeSet<u16>> = BTreeMap::new();
    let mut known = BTreeSet::new();
    let acts = *policy.meta.namespace != *mesh.config.root_namespace;
    for service in
        mesh.services.iter().filter(|service| acts && service.meta.namespace == policy.meta.namespace)
    {
        let Some(labels) = service.selector.as_ref().filter(|labels| !labels.is_empty()) else { continue };
        let differs = |(key, value)| policy.selector.get(key).is_some_and(|other: &String| other != value);
        if labels.iter().any(differs) {
            continue;
        }
        let same = selects(labels, &policy.selector) || selects(&policy.selector, labels);
        for port in &service.ports {
            match &port.target {
                TargetPort::Name(_) => return BTreeMap::new(),
                TargetPort::Number(target) => {
                    known.insert(*target);
                    if same && policy.ports.contains_key(&port.port) {
                        behind.entry(port.port).or_default().insert(*target);
                    }
                }
            }
        }
    }
    behind.retain(|port, _| !known.contains(port));
    behind
}

/// The container ports behind a Service port of the pods.
fn behind(mesh: &Mesh, pods: &[&Pod], port: u16) -> BTreeSet<u16> {
    let mut targets = BTreeSet::new();
    for pod in pods {
        for ip in &pod.ips {
            let endpoints = mesh.hosts_at(*ip).flat_map(|host| &host.endpoints);
            let own = endpoints.filter(|endpoint| endpoint.ip == *ip);
            targets.extend(own.filter_map(|endpoint| endpoint.ports.get(&port)));
        }
    }
    targets
}

/// Puts each mode at the container ports, and takes it from the port that nobody has.
fn corrected(policy: &PeerAuthentication, wrong: &BTreeMap<u16, BTreeSet<u16>>) -> String {
    let mut patch = Patch::of(&policy.meta);
    let mut left: BTreeSet<u16> = policy.ports.keys().copied().collect();
    for (port, targets) in wrong {
        let old = format!("/spec/portLevelMtls/{port}");
        let mode = patch.get(&old).cloned().unwrap_or_default();
        for target in targets {
            let new = format!("/spec/portLevelMtls/{target}");
            if patch.get(&new).is_none() {
                patch = patch.set(&new, mode.clone());
            }
        }
        patch = patch.remove(&old);
        left.remove(port);
        left.extend(targets);
    }
    // An empty portLevelMtls is one that Istio rejects, and a policy that says nothing is none.
    match (left.is_empty(), policy.mode) {
        (false, _) => patch.yaml(),
        (true, Some(_)) => patch.remove("/spec/portLevelMtls").yaml(),
        (true, None) => patch::delete(&policy.meta),
    }
}
