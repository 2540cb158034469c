//! Pods: who has which proxy.

use std::net::IpAddr;

use crate::mesh::control_plane::environment;
use crate::mesh::document::parse;
use crate::mesh::gateway_api::is_class_of_waypoints;
use crate::mesh::meta::{Labels, Meta, port};
use crate::mesh::networks::network_in;
use crate::mesh::node::Node;
use crate::mesh::service_entry::WorkloadEntry;
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
    /// Whether it is a ztunnel: the proxy of its node's ambient pods, and no workload of the mesh itself.
    pub ztunnel: bool,
    /// Whether the proxy is its only container and does not say that it is a sidecar.
    pub lone_proxy: bool,
    /// Whether its proxy has client certificates of its own, besides the mesh's: `TLS_CLIENT_CERT_CHAIN` in its metadata.
    pub own_certificates: bool,
    /// Whether its connections are redirected to its proxy at all: not with the interception mode NONE. Absent where the pod
    /// does not say.
    pub redirected: Option<bool>,
    /// Ports that its proxy opens itself: those of its Sidecar's ingress list where nothing is redirected.
    pub opened: Vec<u16>,
    /// Whether its proxy says that it cannot bind to ports below 1024.
    pub unprivileged: bool,
    /// The node that it runs on.
    pub node: Option<String>,
    /// The network that its proxy says it is in: its label, else `ISTIO_META_NETWORK`.
    pub network: Option<String>,
    /// Declared container ports, with their names.
    pub ports: Vec<(Option<String>, u16)>,
    /// Ports of its node that lead to ports of its own: the node's address, the port there, and its own.
    pub host_ports: Vec<(IpAddr, u16, u16)>,
    /// Images of its containers, each with the ports that the container declares.
    pub images: Vec<(String, Vec<u16>)>,
    /// The workload's name.
    pub workload: String,
    /// What makes its pods and can be edited; absent for a pod that stands alone.
    pub controller: Option<Controller>,
}

/// The resource whose template a pod is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// `apiVersion`.
    pub version: String,
    /// Kind; a ReplicaSet stands for its Deployment, or its Rollout.
    pub kind: String,
    /// Name.
    pub name: String,
}

impl Controller {
    /// Tells whether it is a Rollout of Argo's.
    #[must_use]
    pub fn is_rollout(&self) -> bool {
        self.kind == "Rollout" && self.version.starts_with("argoproj.io/")
    }
}

impl Pod {
    /// Returns the label by which a policy selects its workload best; absent for a pod without labels.
    pub(crate) fn own_label(&self) -> Option<(&String, &String)> {
        ["app", "app.kubernetes.io/name", "service.istio.io/canonical-name"]
            .iter()
            .find_map(|key| self.meta.labels.get_key_value(*key))
            .or_else(|| self.meta.labels.iter().next())
    }

    /// Tells whether it is ztunnels' gateway to other networks.
    #[must_use]
    pub fn is_east_west(&self) -> bool {
        east_west(&self.meta.labels)
    }

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
        let host_network =
            spec.and_then(|spec| spec.get("hostNetwork")).and_then(Node::bool).unwrap_or(false);
        let host_ports = if host_network { Vec::new() } else { host_ports(status, containers) };
        let images = containers
            .iter()
            .filter(|container| container.get("name").and_then(Node::text) != Some("istio-proxy"))
            .filter_map(|container| {
                let ports = container.get("ports").map(Node::items).unwrap_or_default().iter();
                let declared = ports.filter_map(|entry| port(entry.get("containerPort"))).collect();
                Some((container.get("image").and_then(Node::scalar)?, declared))
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
        let ambient = is_redirected(&meta);
        let ztunnel = has_argument("ztunnel");
        let proxy = if ztunnel {
            PartyKind::NoProxy
        } else if has_argument("waypoint") {
            PartyKind::Waypoint
        } else {
            kind(&meta.labels, istio_proxy.is_some(), has_argument("router"), ambient)
        };
        let controller = controller(&meta.labels, document);
        let workload = workload(&meta, controller.as_ref());
        let metadata = |name: &str| proxy_metadata(&meta, istio_proxy, &format!("ISTIO_META_{name}"));
        Self {
            own_certificates: metadata("TLS_CLIENT_CERT_CHAIN").is_some(),
            redirected: interception_mode(&meta, istio_proxy).map(|mode| mode != "NONE"),
            opened: Vec::new(),
            unprivileged: metadata("UNPRIVILEGED_POD").is_some_and(|value| value == "true"),
            ips,
            host_network,
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
            ztunnel,
            lone_proxy: containers.len() == 1
                && containers.first().and_then(|own| own.get("name")).and_then(Node::text)
                    == Some("istio-proxy")
                && !has_argument("sidecar"),
            node: spec.and_then(|spec| spec.get("nodeName")).and_then(Node::scalar),
            network: network_in(&meta.labels).map(str::to_owned).or_else(|| metadata("NETWORK")),
            ports,
            host_ports,
            images,
            workload,
            controller,
            meta,
        }
    }

    /// Returns a workload outside Kubernetes that has a proxy, as the pod that it stands in for; absent without a proxy. What
    /// says so of a pod says so of a WorkloadEntry: the annotation that ztunnel takes its traffic, the label of a tunnel.
    ///
    /// Istio: `pilot/pkg/serviceregistry/ambient/workloads.go`, `setTunnelProtocol`.
    pub(crate) fn of_workload(entry: &WorkloadEntry) -> Option<Self> {
        let mut meta = entry.meta.clone();
        meta.labels.clone_from(&entry.endpoint.labels);
        let proxy = if is_redirected(&meta) { PartyKind::Ambient } else { PartyKind::Sidecar };
        let has_proxy =
            proxy == PartyKind::Ambient || has_tunnel(&meta.labels) || entry.endpoint.tls_mode_istio();
        let ip = entry.endpoint.ip.filter(|_| has_proxy)?;
        Some(Self {
            ips: vec![ip],
            host_network: false,
            service_account: entry.endpoint.service_account.clone().unwrap_or_else(|| "default".to_owned()),
            ended: false,
            proxy,
            both_proxies: false,
            ztunnel: false,
            lone_proxy: false,
            own_certificates: false,
            redirected: None,
            opened: Vec::new(),
            unprivileged: false,
            node: None,
            network: entry.endpoint.network.clone(),
            ports: Vec::new(),
            host_ports: Vec::new(),
            images: Vec::new(),
            controller: None,
            workload: meta.name.to_string(),
            meta,
        })
    }

    /// Tells whether clients may send Istio mTLS to this pod: the label that the injector sets.
    #[must_use]
    pub fn tls_mode_istio(&self) -> bool {
        self.meta.labels.get("security.istio.io/tlsMode").is_some_and(|mode| mode == "istio")
    }

    /// Tells whether the pod listens for HBONE on 15008.
    #[must_use]
    pub fn hbone(&self) -> bool {
        self.proxy == PartyKind::Ambient || self.proxy == PartyKind::Waypoint || has_tunnel(&self.meta.labels)
    }

    /// Tells whether ztunnel takes its outbound connections only.
    #[must_use]
    pub fn bypasses_inbound(&self) -> bool {
        self.proxy == PartyKind::Ambient
            && self
                .meta
                .annotations
                .get("ambient.istio.io/bypass-inbound-capture")
                .is_some_and(|value| value == "true")
    }

    /// Returns the number of a named container port.
    #[must_use]
    pub fn named_port(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|(named, _)| named.as_deref() == Some(name)).map(|(_, number)| *number)
    }
}

/// Lists the ports of the node that the containers' `hostPort`s take: on all its addresses, or on the one that `hostIP` says.
fn host_ports(status: Option<&Node>, containers: &[Node]) -> Vec<(IpAddr, u16, u16)> {
    let field = |name: &str| status.and_then(|status| status.get(name));
    let listed = field("hostIPs").map(Node::items).unwrap_or_default().iter();
    let address = |node: &Node| node.text().and_then(|text| text.parse::<IpAddr>().ok());
    let mut node: Vec<IpAddr> = listed.filter_map(|entry| entry.get("ip").and_then(address)).collect();
    node.extend(field("hostIP").and_then(address).filter(|ip| !node.contains(ip)));
    let entries = containers
        .iter()
        .flat_map(|own| own.get("ports").map(Node::items).unwrap_or_default())
        .filter(|entry| entry.get("protocol").and_then(Node::text).is_none_or(|protocol| protocol == "TCP"));
    let mut found = Vec::new();
    for entry in entries {
        let (Some(there), Some(own)) = (port(entry.get("hostPort")), port(entry.get("containerPort"))) else {
            continue;
        };
        match entry.get("hostIP").and_then(address).filter(|ip| !ip.is_unspecified()) {
            Some(ip) => found.push((ip, there, own)),
            None => found.extend(node.iter().map(|ip| (*ip, there, own))),
        }
    }
    found
}

/// Tells whether ztunnel takes the traffic of a workload.
fn is_redirected(meta: &Meta) -> bool {
    meta.annotations.get("ambient.istio.io/redirection").is_some_and(|value| value == "enabled")
}

/// Tells whether a workload says that it listens for HBONE itself.
fn has_tunnel(labels: &Labels) -> bool {
    labels.get("networking.istio.io/tunnel").is_some_and(|tunnel| tunnel == "http")
}

/// The label that names the class of a pod's Gateway.
const GATEWAY_CLASS: &str = "gateway.networking.k8s.io/gateway-class-name";

fn east_west(labels: &Labels) -> bool {
    let managed = labels.get("gateway.istio.io/managed");
    managed.is_some_and(|value| value.contains("eastwest-controller"))
        || labels.get(GATEWAY_CLASS).is_some_and(|class| class == "istio-east-west")
}

/// Tells whether an object is one that istiod made for a waypoint or an east-west gateway.
pub(crate) fn is_managed_for_ambient(labels: &Labels) -> bool {
    let managed = labels.get("gateway.istio.io/managed").map(String::as_str);
    matches!(managed, Some("istio.io-mesh-controller" | "istio.io-eastwest-controller"))
}

fn kind(labels: &Labels, istio_proxy: bool, router: bool, ambient: bool) -> PartyKind {
    let managed = labels.get("gateway.istio.io/managed");
    let gateway = managed.is_some() || labels.contains_key("gateway.networking.k8s.io/gateway-name");
    // ztunnels' east-west gateways are waypoints as well: they take HBONE.
    let waypoint = managed.is_some_and(|value| value.contains("mesh-controller"))
        || labels.get(GATEWAY_CLASS).is_some_and(|class| is_class_of_waypoints(class))
        || east_west(labels);
    match (istio_proxy, router || gateway, ambient) {
        (true, true, _) | (false, true, false) if waypoint => PartyKind::Waypoint,
        (true, true, _) | (false, true, false) => PartyKind::Gateway,
        (true, false, _) => PartyKind::Sidecar,
        (false, _, true) => PartyKind::Ambient,
        (false, _, false) => PartyKind::NoProxy,
    }
}

/// Returns a value of the proxy's metadata: from its environment, else from the pod's annotation `proxy.istio.io/config`.
fn proxy_metadata(meta: &Meta, istio_proxy: Option<&Node>, name: &str) -> Option<String> {
    istio_proxy.and_then(|container| environment(container, name)).or_else(|| {
        let text = meta.annotations.get("proxy.istio.io/config")?;
        parse(text).ok()?.at(&["proxyMetadata", name])?.scalar().filter(|value| !value.is_empty())
    })
}

/// Returns how connections come to the proxy: by the pod's annotation, else by what the injector wrote into the proxy's
/// environment.
///
/// Rule `interception.inbound`. Istio: `injection-template.yaml`, `ISTIO_META_INTERCEPTION_MODE`.
fn interception_mode(meta: &Meta, istio_proxy: Option<&Node>) -> Option<String> {
    let own = |name: &str| meta.annotations.get(name).filter(|value| !value.is_empty());
    own("sidecar.istio.io/interceptionMode")
        .cloned()
        .or_else(|| environment(istio_proxy?, "ISTIO_META_INTERCEPTION_MODE"))
        .or_else(|| parse(own("proxy.istio.io/config")?).ok()?.get("interceptionMode")?.scalar())
}

/// Finds the controller: a ReplicaSet whose name ends in a hash is a Deployment's, or a Rollout's by the label of its pods.
///
/// Argo Rollouts: `utils/defaults`, the label of a Rollout's ReplicaSets.
fn controller(labels: &Labels, document: &Node) -> Option<Controller> {
    let owners = document.at(&["metadata", "ownerReferences"]).map(Node::items).unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.get("controller").and_then(Node::bool) != Some(false))?;
    let text = |field: &str| owner.get(field).and_then(Node::text);
    let name = text("name")?;
    let version = text("apiVersion").unwrap_or("apps/v1");
    let (version, kind, name) = match (text("kind").unwrap_or_default(), name.rsplit_once('-')) {
        ("ReplicaSet", Some((rollout, _))) if labels.contains_key("rollouts-pod-template-hash") => {
            ("argoproj.io/v1alpha1", "Rollout", rollout)
        }
        ("ReplicaSet", Some((deployment, _))) => (version, "Deployment", deployment),
        (kind, _) => (version, kind, name),
    };
    Some(Controller { version: version.to_owned(), kind: kind.to_owned(), name: name.to_owned() })
}

/// Names the workload: the canonical name, else the controller, else the pod.
fn workload(meta: &Meta, controller: Option<&Controller>) -> String {
    ["service.istio.io/canonical-name", "app.kubernetes.io/name"]
        .iter()
        .find_map(|label| meta.labels.get(*label).cloned())
        .or_else(|| controller.map(|controller| controller.name.clone()))
        .or_else(|| meta.labels.get("app").cloned())
        .unwrap_or_else(|| meta.name.to_string())
}
