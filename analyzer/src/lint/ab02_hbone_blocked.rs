//! AB02: A NetworkPolicy of ambient pods that does not let the port through that HBONE comes by.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::{Problem, Rule, names};
use crate::mesh::Mesh;
use crate::mesh::network_policy::{Allowed, NetworkPolicy, Peer};
use crate::mesh::pod::Pod;
use crate::patch::Patch;
use crate::policy::inbound::HBONE;
use crate::report::{PartyKind, Severity};
use serde_json::json;

pub(super) const RULE: Rule = Rule {
    id: "AB02",
    severity: Severity::High,
    title: "A NetworkPolicy that blocks HBONE",
    page: include_str!("../../../docs/findings/AB02.md"),
    check,
    #[cfg(test)]
    broken: Broken {
        replace: &[],
        add: "apiVersion: v1\nkind: Pod\nmetadata: {name: z-0, namespace: shop, labels: {app: z}, annotations: {ambient.istio.io/redirection: enabled}}\nspec: {containers: [{name: app, ports: [{containerPort: 7000}]}]}\nstatus: {podIP: 10.0.9.9}\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: broken, namespace: shop}\nspec: {podSelector: {matchLabels: {app: z}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 7000}]}]}",
        // The sidecars of this mesh take no HBONE, and the ambient pod is a client of theirs, also by a rule.
        also: &["AB03", "AB04"],
    },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    let mesh = survey.mesh;
    let mut by_namespace: BTreeMap<&str, Vec<&NetworkPolicy>> = BTreeMap::new();
    for policy in &mesh.network_policies {
        by_namespace.entry(&policy.meta.namespace).or_default().push(policy);
    }
    let mut found: BTreeMap<String, Blocked<'_>> = BTreeMap::new();
    for (namespace, pods) in &survey.ambient {
        let Some(policies) = by_namespace.get(namespace) else { continue };
        for (name, pod) in pods {
            let own: Vec<&NetworkPolicy> =
                policies.iter().copied().filter(|policy| policy.is_for(pod)).collect();
            for direction in [Direction::Ingress, Direction::Egress] {
                for policy in closed(&own, direction) {
                    let entry = found.entry(policy.meta.id()).or_insert_with(|| Blocked::of(policy));
                    entry.pods.insert(name.clone());
                    entry.closed.insert(direction);
                }
                for (policy, place, rule) in blocked(mesh, &own, direction) {
                    let entry = found.entry(policy.meta.id()).or_insert_with(|| Blocked::of(policy));
                    entry.pods.insert(name.clone());
                    entry.rules.entry((direction, place)).or_insert(rule.line);
                }
            }
        }
    }
    found.into_iter().map(|(id, blocked)| blocked.problem(&id)).collect()
}

/// The rules of a policy that keep HBONE out or in, and whose.
struct Blocked<'a> {
    policy: &'a NetworkPolicy,
    pods: BTreeSet<String>,
    rules: BTreeMap<(Direction, usize), u32>,
    /// The directions that nothing passes in at all.
    closed: BTreeSet<Direction>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    /// What a policy lets through; absent where it says nothing of the direction.
    fn list(self, policy: &NetworkPolicy) -> Option<&[Allowed]> {
        match self {
            Self::Ingress => policy.ingress.as_deref(),
            Self::Egress => policy.egress.as_deref(),
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    fn rules(self, policy: &NetworkPolicy) -> &[Allowed] {
        self.list(policy).unwrap_or_default()
    }
}

impl<'a> Blocked<'a> {
    fn of(policy: &'a NetworkPolicy) -> Self {
        Self { policy, pods: BTreeSet::new(), rules: BTreeMap::new(), closed: BTreeSet::new() }
    }

    fn problem(&self, id: &str) -> Problem {
        let joined = |directions: BTreeSet<&str>| directions.into_iter().collect::<Vec<_>>().join(" and ");
        let mut why = Vec::new();
        if !self.rules.is_empty() {
            let rules = joined(self.rules.keys().map(|(direction, _)| direction.field()).collect());
            why.push(format!(
                "its {rules} rules leave out port {HBONE}: HBONE is blocked, and with it the traffic that the rules let through"
            ));
        }
        if !self.closed.is_empty() {
            let closed = joined(self.closed.iter().map(|direction| direction.field()).collect());
            why.push(format!("it lets no {closed} through, port {HBONE} included: HBONE is blocked"));
        }
        let message = format!(
            "{id} selects {} in ambient mode, and {}",
            names(self.pods.iter().cloned()),
            why.join("; ")
        );
        let port = json!({"port": HBONE, "protocol": "TCP"});
        let patch = self.rules.keys().fold(Patch::of(&self.policy.meta), |patch, (direction, place)| {
            patch.set(&format!("/spec/{}/{place}/ports/-", direction.field()), port.clone())
        });
        let patch = self.closed.iter().fold(patch, |patch, direction| {
            patch.set(&format!("/spec/{}", direction.field()), json!([{"ports": [port]}]))
        });
        let line = self.rules.values().next().copied().unwrap_or(self.policy.meta.line);
        let remedy = if self.rules.is_empty() {
            "Let port 15008 through, and say in an AuthorizationPolicy who may call; where nobody is to, it is as it should be."
        } else {
            "Let port 15008 through beside the application's ports."
        };
        Problem::at(&self.policy.meta, line, message, remedy).yaml(patch.yaml())
    }
}

/// The policies of a pod that let nothing through in a direction, where none of its policies does.
fn closed<'a>(policies: &[&'a NetworkPolicy], direction: Direction) -> Vec<&'a NetworkPolicy> {
    if policies.iter().any(|policy| !direction.rules(policy).is_empty()) {
        return Vec::new();
    }
    policies.iter().copied().filter(|policy| direction.list(policy).is_some()).collect()
}

/// The rules that let TCP through with peers that speak HBONE, but not by its port, and beside which no other rule does.
fn blocked<'a>(
    mesh: &Mesh,
    policies: &[&'a NetworkPolicy],
    direction: Direction,
) -> Vec<(&'a NetworkPolicy, usize, &'a Allowed)> {
    let open: Vec<&Allowed> = policies
        .iter()
        .flat_map(|policy| direction.rules(policy))
        .filter(|rule| rule.covers(HBONE))
        .collect();
    let mended = |rule: &Allowed| {
        open.iter().any(|open| {
            open.peers.is_empty()
                || (!rule.peers.is_empty() && rule.peers.iter().all(|peer| open.peers.contains(peer)))
        })
    };
    let mut found = Vec::new();
    for policy in policies {
        for (place, rule) in direction.rules(policy).iter().enumerate() {
            // DNS goes to the cluster's own servers, by UDP or TCP.
            let application = rule.ports.iter().any(|port| port.tcp && port.range != Some((53, 53)));
            if application
                && !rule.covers(HBONE)
                && !mended(rule)
                && meets_hbone(mesh, policy, rule, direction)
            {
                found.push((*policy, place, rule));
            }
        }
    }
    found
}

/// Tells whether some peer of a rule speaks HBONE with ambient pods. Of pods that are not declared it is taken that they do.
fn meets_hbone(mesh: &Mesh, policy: &NetworkPolicy, rule: &Allowed, direction: Direction) -> bool {
    let speaks = |pod: &Pod| match direction {
        Direction::Ingress => pod.proxy != PartyKind::NoProxy,
        Direction::Egress => pod.hbone(),
    };
    let is_peer = |pod: &Pod, peer: &Peer| match peer {
        Peer::Pods { namespaces, pods } => {
            let namespace = match namespaces {
                Some(selector) => mesh
                    .namespaces
                    .get(&*pod.meta.namespace)
                    .is_some_and(|(_, labels)| selector.selects(labels)),
                None => pod.meta.namespace == policy.meta.namespace,
            };
            namespace && pods.as_ref().is_none_or(|selector| selector.selects(&pod.meta.labels))
        }
        Peer::Addresses(range, except) => {
            pod.ips.iter().any(|ip| range.contains(ip) && !except.iter().any(|except| except.contains(ip)))
        }
    };
    let met = |peer: &Peer| {
        let mut pods = mesh.pods.iter().filter(|pod| !pod.ended && is_peer(pod, peer)).peekable();
        let unknown = matches!(peer, Peer::Pods { .. }) && pods.peek().is_none();
        unknown || pods.any(speaks)
    };
    rule.peers.is_empty() || rule.peers.iter().any(met)
}
