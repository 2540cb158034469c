//! NetworkPolicy (networking.k8s.io): which connections a pod's network lets through.

use ipnet::IpNet;

use crate::mesh::meta::{Labels, Meta, labels, port, texts};
use crate::mesh::node::Node;
use crate::mesh::pod::Pod;

/// A NetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Metadata.
    pub meta: Meta,
    /// The pods of its namespace that it is for.
    pub pods: Selector,
    /// What may come in; absent where it says nothing about that, empty where nothing may.
    pub ingress: Option<Vec<Allowed>>,
    /// What may go out; as `ingress`.
    pub egress: Option<Vec<Allowed>>,
}

/// One rule: connections with these peers to these ports are let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The other ends; none means all.
    pub peers: Vec<Peer>,
    /// The ports; none means all.
    pub ports: Vec<AllowedPort>,
    /// Line of the ports, else of the rule.
    pub line: u32,
}

/// A port, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedPort {
    /// Whether it is for TCP, as it is where nothing is said.
    pub tcp: bool,
    /// First and last number; absent for a port by its container's name, or for all when `all` is set.
    pub range: Option<(u16, u16)>,
    /// Whether it has no number at all: every port of the protocol.
    pub all: bool,
}

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Pods by their labels, in namespaces by theirs; without namespaces in the policy's own.
    Pods {
        /// Their namespaces.
        namespaces: Option<Selector>,
        /// The pods; absent for all of the namespaces.
        pods: Option<Selector>,
    },
    /// Addresses, with those left out of them.
    Addresses(IpNet, Vec<IpNet>),
}

/// A label selector of Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Labels,
    expressions: Vec<(String, Operator)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    /// None that Kubernetes knows: selects nothing.
    Unknown,
}

impl Selector {
    pub(crate) fn read(node: Option<&Node>) -> Self {
        let expressions =
            node.and_then(|node| node.get("matchExpressions")).map(Node::items).unwrap_or_default();
        Self {
            labels: labels(node.and_then(|node| node.get("matchLabels"))),
            expressions: expressions
                .iter()
                .filter_map(|entry| {
                    let values = texts(entry.get("values"));
                    let operator = match entry.get("operator").and_then(Node::text) {
                        Some("In") => Operator::In(values),
                        Some("NotIn") => Operator::NotIn(values),
                        Some("Exists") => Operator::Exists,
                        Some("DoesNotExist") => Operator::DoesNotExist,
                        Some(_) | None => Operator::Unknown,
                    };
                    Some((entry.get("key").and_then(Node::scalar)?, operator))
                })
                .collect(),
        }
    }

    /// Tells whether it selects these labels; an empty selector selects all.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        crate::mesh::meta::selects(&self.labels, labels)
            && self.expressions.iter().all(|(key, operator)| {
                let value = labels.get(key);
                match operator {
                    Operator::In(values) => value.is_some_and(|value| values.contains(value)),
                    Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                    Operator::Exists => value.is_some(),
                    Operator::DoesNotExist => value.is_none(),
                    Operator::Unknown => false,
                }
            })
    }
}

impl NetworkPolicy {
    /// Reads a NetworkPolicy.
    pub(crate) fn read(meta: Meta, document: &Node) -> Self {
        let spec = document.get("spec");
        let field = |name: &str| spec.and_then(|spec| spec.get(name));
        let types = texts(field("policyTypes"));
        let rules = |name: &str, peers: &str| -> Vec<Allowed> {
            field(name).map(Node::items).unwrap_or_default().iter().map(|rule| allowed(rule, peers)).collect()
        };
        // Without types a policy is about what comes in, and about what goes out if it has rules for that.
        let about = |kind: &str, default: bool| {
            if types.is_empty() { default } else { types.iter().any(|own| own == kind) }
        };
        Self {
            pods: Selector::read(field("podSelector")),
            ingress: about("Ingress", true).then(|| rules("ingress", "from")),
            egress: about("Egress", field("egress").is_some()).then(|| rules("egress", "to")),
            meta,
        }
    }

    /// Tells whether it is for a pod.
    #[must_use]
    pub fn is_for(&self, pod: &Pod) -> bool {
        self.meta.namespace == pod.meta.namespace && self.pods.selects(&pod.meta.labels)
    }
}

impl Allowed {
    /// Tells whether it lets a TCP port through.
    #[must_use]
    pub fn covers(&self, port: u16) -> bool {
        self.ports.is_empty()
            || self.ports.iter().any(|own| {
                own.tcp && (own.all || own.range.is_some_and(|(first, last)| (first..=last).contains(&port)))
            })
    }
}

fn allowed(rule: &Node, peers: &str) -> Allowed {
    let ports = rule.get("ports");
    Allowed {
        peers: rule.get(peers).map(Node::items).unwrap_or_default().iter().filter_map(peer).collect(),
        ports: ports
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .map(|entry| {
                let number = port(entry.get("port"));
                AllowedPort {
                    tcp: entry.get("protocol").and_then(Node::text).is_none_or(|protocol| protocol == "TCP"),
                    range: number.map(|first| (first, port(entry.get("endPort")).unwrap_or(first))),
                    all: entry.get("port").is_none(),
                }
            })
            .collect(),
        line: ports.map_or(rule.line, |ports| ports.key_line),
    }
}

fn peer(node: &Node) -> Option<Peer> {
    if let Some(block) = node.get("ipBlock") {
        let except = texts(block.get("except"));
        let range = block.get("cidr").and_then(Node::text)?.parse().ok()?;
        return Some(Peer::Addresses(range, except.iter().filter_map(|text| text.parse().ok()).collect()));
    }
    let selector = |name: &str| {
        let entries = node.entries();
        entries.iter().find(|(key, _)| key == name).map(|(_, node)| Selector::read(Some(node)))
    };
    Some(Peer::Pods { namespaces: selector("namespaceSelector"), pods: selector("podSelector") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(spec: &str) -> NetworkPolicy {
        let text = format!("metadata: {{name: a, namespace: ns}}\nspec: {spec}\n");
        let node: Node = serde_saphyr::from_str(&text).unwrap();
        let meta = Meta::read("NetworkPolicy", &node, &"a.yaml".into()).unwrap();
        NetworkPolicy::read(meta, &node)
    }

    #[test]
    fn a_policy_is_about_what_its_types_say_else_what_its_rules_do() {
        let about = |spec: &str| {
            let policy = policy(spec);
            (policy.ingress.is_some(), policy.egress.is_some())
        };
        assert_eq!(about("{podSelector: {}}"), (true, false));
        assert_eq!(about("{egress: [{}]}"), (true, true));
        assert_eq!(about("{policyTypes: [Egress]}"), (false, true));
        assert_eq!(about("{policyTypes: [Ingress], egress: [{}]}"), (true, false));
    }

    #[test]
    fn a_rule_lets_its_ports_through() {
        let covers = |ports: &str, port: u16| {
            let policy = policy(&format!("{{ingress: [{{ports: {ports}}}]}}"));
            policy.ingress.unwrap().first().unwrap().covers(port)
        };
        assert!(covers("[]", 15008));
        assert!(covers("[{port: 15008}]", 15008));
        assert!(covers("[{port: 15000, endPort: 15010}]", 15008));
        assert!(covers("[{protocol: TCP}]", 15008));
        assert!(!covers("[{port: 8080}, {port: http}]", 15008));
        assert!(!covers("[{port: 15008, protocol: UDP}]", 15008));
    }

    #[test]
    fn a_selector_selects_by_labels_and_expressions() {
        let own = Labels::from([("app".to_owned(), "web".to_owned())]);
        let selects = |selector: &str| policy(&format!("{{podSelector: {selector}}}")).pods.selects(&own);
        assert!(selects("{}"));
        assert!(selects("{matchLabels: {app: web}}"));
        assert!(!selects("{matchLabels: {app: store}}"));
        assert!(selects("{matchExpressions: [{key: app, operator: In, values: [web, store]}]}"));
        assert!(!selects("{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}"));
        assert!(selects("{matchExpressions: [{key: app, operator: Exists}]}"));
        assert!(!selects("{matchExpressions: [{key: app, operator: DoesNotExist}]}"));
        assert!(!selects("{matchExpressions: [{key: app, operator: Resembles}]}"));
    }
}
