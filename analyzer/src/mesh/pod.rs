//! Pods: who has which proxy.

use std::net::IpAddr;

use crate::mesh::meta::{Labels, Meta, port};
use crate::mesh::node::Node;
use crate::report::PartyKind;

/// A Pod, as far as its traffic is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Metadata.
    pub meta: Meta,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Whether it shares its node's network.
    pub host_network: bool,
    /// Service account.
    pub service_account: String,
    /// Whether all its containers have ended for good: it has no address any more.
    pub ended: bool,
    /// What carries its traffic.
    pub proxy: PartyKind,
    /// Whether it is both a sidecar's and ztunnel's pod.
    pub both_proxies: bool,
    /// Declared container ports, with their names.
    pub ports: Vec<(Option<String>, u16)>,
    /// The workload's name.
    pub workload: String,
}

impl Pod {
    /// Reads a Pod.
    pub(crate) fn read(meta: Meta, document: &Node) -> Self {
        let spec = document.get("spec");
        let status = document.get("status");
        let mut ips: Vec<IpAddr> = Vec::new();
        let listed = status.and_then(|status| status.get("podIPs")).map(Node::items).unwrap_or_default();
        let texts = status
            .and_then(|status| status.get("podIP"))
            .into_iter()
            .chain(listed.iter().filter_map(|entry| entry.get("ip")));
        for ip in texts.filter_map(Node::scalar).filter_map(|text| text.parse().ok()) {
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
        let containers = spec.and_then(|spec| spec.get("containers")).map(Node::items).unwrap_or_default();
        let native = spec
            .and_then(|spec| spec.get("initContainers"))
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .filter(|container| container.get("restartPolicy").and_then(Node::text) == Some("Always"));
        let ports = containers
            .iter()
            .chain(native.clone())
            .flat_map(|container| container.get("ports").map(Node::items).unwrap_or_default())
            .filter_map(|entry| {
                port(entry.get("containerPort"))
                    .map(|number| (entry.get("name").and_then(Node::scalar), number))
            })
            .collect();
        let istio_proxy = containers
            .iter()
            .chain(native)
            .find(|container| container.get("name").and_then(Node::text) == Some("istio-proxy"));
        let has_argument = |word| {
            istio_proxy.is_some_and(|container| {
                container
                    .get("args")
                    .map(Node::items)
                    .unwrap_or_default()
                    .iter()
                    .any(|arg| arg.text() == Some(word))
            })
        };
        let ambient =
            meta.annotations.get("ambient.istio.io/redirection").is_some_and(|value| value == "enabled");
        let proxy = if has_argument("waypoint") {
            PartyKind::Waypoint
        } else {
            kind(&meta.labels, istio_proxy.is_some(), has_argument("router"), ambient)
        };
        let workload = workload(&meta, document);
        Self {
            ips,
            host_network: spec.and_then(|spec| spec.get("hostNetwork")).and_then(Node::bool).unwrap_or(false),
            service_account: spec
                .and_then(|spec| spec.get("serviceAccountName"))
                .and_then(Node::scalar)
                .unwrap_or_else(|| "default".to_owned()),
            ended: status
                .and_then(|status| status.get("phase"))
                .and_then(Node::text)
                .is_some_and(|phase| matches!(phase, "Succeeded" | "Failed")),
            proxy,
            both_proxies: proxy == PartyKind::Sidecar && ambient,
            ports,
            workload,
            meta,
        }
    }

    /// Tells whether clients may send Istio mTLS to this pod: the label that the injector sets.
    #[must_use]
    pub fn tls_mode_istio(&self) -> bool {
        self.meta.labels.get("security.istio.io/tlsMode").is_some_and(|mode| mode == "istio")
    }

    /// Tells whether the pod listens for HBONE on 15008.
    #[must_use]
    pub fn hbone(&self) -> bool {
        self.proxy == PartyKind::Ambient
            || self.proxy == PartyKind::Waypoint
            || self.meta.labels.get("networking.istio.io/tunnel").is_some_and(|tunnel| tunnel == "http")
    }

    /// Returns the number of a named container port.
    #[must_use]
    pub fn named_port(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|(named, _)| named.as_deref() == Some(name)).map(|(_, number)| *number)
    }
}

fn kind(labels: &Labels, istio_proxy: bool, router: bool, ambient: bool) -> PartyKind {
    let managed = labels.get("gateway.istio.io/managed");
    let gateway = managed.is_some() || labels.contains_key("gateway.networking.k8s.io/gateway-name");
    let waypoint = managed.is_some_and(|value| value.contains("mesh-controller"))
        || labels
            .get("gateway.networking.k8s.io/gateway-class-name")
            .is_some_and(|class| class == "istio-waypoint");
    match (istio_proxy, router || gateway, ambient) {
        (true, true, _) | (false, true, false) if waypoint => PartyKind::Waypoint,
        (true, true, _) | (false, true, false) => PartyKind::Gateway,
        (true, false, _) => PartyKind::Sidecar,
        (false, _, true) => PartyKind::Ambient,
        (false, _, false) => PartyKind::NoProxy,
    }
}

/// Names the workload: the canonical name, else the controller (a ReplicaSet stands for its Deployment), else the pod.
fn workload(meta: &Meta, document: &Node) -> String {
    for label in ["service.istio.io/canonical-name", "app.kubernetes.io/name"] {
        if let Some(name) = meta.labels.get(label) {
            return name.clone();
        }
    }
    let owner = document
        .at(&["metadata", "ownerReferences"])
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .find(|owner| owner.get("controller").and_then(Node::bool) != Some(false));
    if let Some(owner) = owner {
        let kind = owner.get("kind").and_then(Node::text).unwrap_or_default();
        if let Some(name) = owner.get("name").and_then(Node::text) {
            return match (kind, name.rsplit_once('-')) {
                ("ReplicaSet", Some((deployment, _))) => deployment.to_owned(),
                _ => name.to_owned(),
            };
        }
    }
    meta.labels.get("app").cloned().unwrap_or_else(|| meta.name.to_string())
}
