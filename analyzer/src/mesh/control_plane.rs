//! istiod: its version, and the switches in its environment that change an answer.

use std::str::FromStr;

use crate::mesh::meta::Meta;
use crate::mesh::node::Node;

/// A minor version of Istio's control plane. Versions compare by age; each change of behaviour has a question here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IstioVersion {
    major: u16,
    minor: u16,
}

impl IstioVersion {
    /// The newest version whose rules are known: what a mesh is taken for that does not tell.
    pub const NEWEST: Self = Self::new(1, 32);

    /// Names a version.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Tells whether sidecars take every inbound port, not only the declared container ports (istio/istio issue 27995).
    #[must_use]
    pub fn intercepts_undeclared_ports(self) -> bool {
        self >= Self::new(1, 6)
    }

    /// Tells whether one endpoint without a proxy turns auto mTLS off for a headless service (note `auto-mtls-headless`).
    #[must_use]
    pub fn asks_headless_endpoints(self) -> bool {
        self >= Self::new(1, 8)
    }

    /// Tells whether ports outside every Service pass plain TLS on under PERMISSIVE (note `passthrough-tls`).
    #[must_use]
    pub fn passes_tls_to_undeclared_ports(self) -> bool {
        self >= Self::new(1, 10)
    }

    /// Tells whether auto mTLS takes workload and port policies into account (note `34118`).
    #[must_use]
    pub fn asks_workload_policies(self) -> bool {
        self >= Self::new(1, 12)
    }

    /// Tells whether gateways can be led through waypoints (istio/istio pull request 52985).
    #[must_use]
    pub fn knows_waypoints_of_gateways(self) -> bool {
        self >= Self::new(1, 24)
    }

    /// Tells whether a namespace can have gateways go through the waypoints of its Services (istio/istio pull request 54483).
    #[must_use]
    pub fn asks_namespaces_for_waypoints(self) -> bool {
        self >= Self::new(1, 25)
    }

    /// Tells whether HBONE takes the place of a rule's ISTIO_MUTUAL (istio/istio pull request 54914, issue 53526).
    #[must_use]
    pub fn replaces_istio_mutual_by_hbone(self) -> bool {
        self >= Self::new(1, 25)
    }

    /// Tells whether a Sidecar's egress hides the PeerAuthentications of other namespaces from its clients.
    #[must_use]
    pub fn hides_peer_authentications(self) -> bool {
        self >= Self::new(1, 30)
    }

    /// Tells whether the endpoints of a subset follow the tls block at the top of the rule.
    #[must_use]
    pub fn subsets_follow_the_top(self) -> bool {
        self >= Self::new(1, 31)
    }

    /// Tells whether a BackendTLSPolicy counts without `PILOT_ENABLE_ALPHA_GATEWAY_API` (upgrade notes of 1.28).
    #[must_use]
    pub fn reads_backend_policies(self) -> bool {
        self >= Self::new(1, 28)
    }

    /// Tells whether a Gateway of the Gateway API says which clients' certificates its listeners verify (release notes of 1.28).
    #[must_use]
    pub fn reads_frontend_validation(self) -> bool {
        self >= Self::new(1, 28)
    }

    /// Tells whether XBackends count (release notes of 1.32).
    #[must_use]
    pub fn reads_backends(self) -> bool {
        self >= Self::new(1, 32)
    }

    /// Tells whether sidecars pass by another network's gateway that takes HBONE alone (istio/istio issue 57878).
    #[must_use]
    pub fn spares_sidecars_hbone_gateways(self) -> bool {
        self >= Self::new(1, 29)
    }

    /// Tells whether sidecars resolve the names of ServiceEntries with DYNAMIC_DNS (istio/istio pull request 58688).
    #[must_use]
    pub fn resolves_in_sidecars(self) -> bool {
        self >= Self::new(1, 30)
    }

    /// Tells whether a client whose own network nobody tells reaches other networks by their gateways (istio/istio pull request
    /// 58613).
    #[must_use]
    pub fn takes_gateways_from_nowhere(self) -> bool {
        self >= Self::new(1, 30)
    }

    /// Tells whether listeners of protocol TLS do, and ListenerSets (release notes of 1.30; istio/istio pull request 59693).
    #[must_use]
    pub fn opens_tls_listeners(self) -> bool {
        self >= Self::new(1, 30)
    }

    /// Tells whether the pods that istiod makes for a Gateway of the Gateway API take no Gateway of Istio's own from another
    /// namespace (release notes of 1.31).
    #[must_use]
    pub fn merges_gateways_strictly(self) -> bool {
        self >= Self::new(1, 31)
    }

    /// Tells whether a Sidecar's egress leaves out the hosts that it lists with `~` (istio/istio pull request 60581).
    #[must_use]
    pub fn leaves_hosts_out(self) -> bool {
        self >= Self::new(1, 31)
    }

    /// Tells whether a BackendTLSPolicy lies under the user's rules; before, it was the oldest rule of all.
    #[must_use]
    pub fn merges_backend_policies(self) -> bool {
        self >= Self::new(1, 31)
    }
}

impl Default for IstioVersion {
    fn default() -> Self {
        Self::NEWEST
    }
}

/// A text that names no version of Istio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no version of Istio, such as 1.30 or 1.30.3")]
pub struct UnknownVersion(String);

impl FromStr for IstioVersion {
    type Err = UnknownVersion;

    /// Reads `1.30`, `1.30.3`, `1.30-alpha.0`, or a revision's name such as `1-30-3`.
    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let mut parts = text.trim_start_matches('v').split(['.', '-']);
        let mut number = || parts.next().and_then(|part| part.parse::<u16>().ok());
        match (number(), number()) {
            // Every version so far begins with a one: other tags count something else.
            (Some(1), Some(minor)) => Ok(Self::new(1, minor)),
            _ => Err(UnknownVersion(text.to_owned())),
        }
    }
}

/// The label that names a revision of istiod: its own, or the one that an object is for.
pub(crate) const REVISION: &str = "istio.io/rev";

/// What is declared of istiod: by its pods, or by the workload that makes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlPlane {
    /// Its version: its image's tag, else its revision where that is named after one. The proxies' own images do not
    /// count: they may be older or newer than the istiod that configures them.
    pub version: IstioVersion,
    /// `ENABLE_TLS_ON_SIDECAR_INGRESS`: a Sidecar's `ingress.tls` acts.
    pub tls_on_sidecar_ingress: bool,
    /// `PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE`: a Sidecar's ingress list leaves the Services' other ports as they are.
    pub merges_ingress: bool,
    /// `PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES`: headless services have endpoints like any other.
    pub headless_endpoints: bool,
    /// `PILOT_SCOPE_GATEWAY_TO_NAMESPACE`: a Gateway configures pods of its own namespace only.
    pub gateways_in_namespace: bool,
    /// `PILOT_ENABLE_STRICT_GATEWAY_MERGING` is set to false: a Gateway of Istio's own configures pods of any namespace that it selects.
    pub merges_gateways: bool,
    /// `PILOT_ENABLE_GATEWAY_API` is set to false: nothing of the Gateway API is read.
    pub without_gateway_api: bool,
    /// `PILOT_ENABLE_ALPHA_GATEWAY_API`: what is experimental in the Gateway API is read too. So it is taken to be where the value
    /// is not in the input.
    pub alpha_gateway_api: bool,
    /// `PILOT_PREFER_SENDING_HBONE`: HBONE comes before the sidecars' mTLS where a destination offers both.
    pub prefers_hbone: bool,
    /// `PILOT_ENABLE_AMBIENT` is set to false: sidecars and gateways do not know HBONE.
    pub without_ambient: bool,
    /// `ENABLE_INGRESS_WAYPOINT_ROUTING` is set to false: gateways go through no waypoint.
    pub without_ingress_waypoints: bool,
    /// `ENABLE_SIDECAR_WAYPOINT_ROUTING`: sidecars go through the waypoints of Services.
    pub leads_sidecars_to_waypoints: bool,
    /// `CLUSTER_ID`: the name of its own cluster, where it is set.
    pub cluster_id: Option<String>,
}

impl ControlPlane {
    /// Reads istiod's Pod, or the Deployment that makes it; absent for anything else.
    pub(crate) fn read(meta: &Meta, document: &Node) -> Option<Self> {
        let container = discovery(meta, document)?;
        // An image may be pinned by its digest behind the tag.
        let image = container.get("image").and_then(Node::text).and_then(|image| image.split('@').next());
        let tag = image.and_then(|image| image.rsplit_once(':'));
        let revision = meta.labels.get(REVISION).map(String::as_str);
        let version = tag
            .map(|(_, tag)| tag)
            .into_iter()
            .chain(revision)
            .find_map(|text| text.parse().ok())
            .unwrap_or_default();
        let set = |name: &str, value: bool| {
            environment(container, name).and_then(|text| text.parse().ok()) == Some(value)
        };
        Some(Self {
            version,
            tls_on_sidecar_ingress: set("ENABLE_TLS_ON_SIDECAR_INGRESS", true),
            merges_ingress: set("PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE", true),
            headless_endpoints: set("PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES", true),
            gateways_in_namespace: set("PILOT_SCOPE_GATEWAY_TO_NAMESPACE", true),
            merges_gateways: set("PILOT_ENABLE_STRICT_GATEWAY_MERGING", false),
            without_gateway_api: set("PILOT_ENABLE_GATEWAY_API", false),
            alpha_gateway_api: set("PILOT_ENABLE_ALPHA_GATEWAY_API", true)
                || is_taken_from_elsewhere(container, "PILOT_ENABLE_ALPHA_GATEWAY_API"),
            prefers_hbone: set("PILOT_PREFER_SENDING_HBONE", true),
            without_ambient: set("PILOT_ENABLE_AMBIENT", false),
            without_ingress_waypoints: set("ENABLE_INGRESS_WAYPOINT_ROUTING", false),
            leads_sidecars_to_waypoints: set("ENABLE_SIDECAR_WAYPOINT_ROUTING", true),
            cluster_id: environment(container, "CLUSTER_ID"),
        })
    }

    /// Tells whether gateways are led through the waypoints of hosts that ask for it.
    #[must_use]
    pub fn leads_gateways_to_waypoints(&self) -> bool {
        self.version.knows_waypoints_of_gateways() && !self.without_ambient && !self.without_ingress_waypoints
    }

    /// Returns the name of its own cluster.
    #[must_use]
    pub fn cluster(&self) -> &str {
        self.cluster_id.as_deref().unwrap_or("Kubernetes")
    }
}

/// Returns the revision of istiod by its Pod, or the Deployment that makes it: its setting `REVISION`, else its label; empty
/// where it has none. Absent for anything else.
pub(crate) fn revision(meta: &Meta, document: &Node) -> Option<String> {
    let set = environment(discovery(meta, document)?, "REVISION");
    Some(set.or_else(|| meta.labels.get(REVISION).cloned()).unwrap_or_default())
}

/// Finds istiod's container.
fn discovery<'a>(meta: &Meta, document: &'a Node) -> Option<&'a Node> {
    let pod = match &*meta.kind {
        "Pod" => document,
        _ => document.at(&["spec", "template"])?,
    };
    let containers = pod.at(&["spec", "containers"]).map(Node::items).unwrap_or_default();
    containers.iter().find(|container| {
        let text = |field: &str| container.get(field).and_then(Node::text);
        text("name") == Some("discovery") && text("image").is_some_and(|image| image.contains("pilot"))
    })
}

/// Returns the value of a container's environment variable, as written; absent for one that is taken from elsewhere.
pub(crate) fn environment(container: &Node, name: &str) -> Option<String> {
    container
        .get("env")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .find(|entry| entry.get("name").and_then(Node::text) == Some(name))
        .and_then(|entry| entry.get("value"))
        .and_then(Node::scalar)
        .filter(|value| !value.is_empty())
}

/// Tells whether an environment variable has a value that the container's declaration does not tell.
fn is_taken_from_elsewhere(container: &Node, name: &str) -> bool {
    let entries = container.get("env").map(Node::items).unwrap_or_default();
    let own = entries.iter().find(|entry| entry.get("name").and_then(Node::text) == Some(name));
    own.is_some_and(|entry| entry.get("valueFrom").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_tags_and_revisions() {
        for (text, version) in [
            ("1.30", Some((1, 30))),
            ("1.30.3", Some((1, 30))),
            ("v1.9.0", Some((1, 9))),
            ("1.32-alpha.0abc", Some((1, 32))),
            ("1-22-3", Some((1, 22))),
            ("latest", None),
            ("2024-06-07", None),
            ("1", None),
            ("", None),
        ] {
            let expected = version.map(|(major, minor)| IstioVersion::new(major, minor));
            assert_eq!(text.parse::<IstioVersion>().ok(), expected, "{text}");
        }
        assert!(IstioVersion::new(1, 9) < IstioVersion::new(1, 30));
    }
}
