//! Which objects are watched, and where the API server serves them.

use kube::api::{ApiResource, GroupVersionKind};

/// A kind of object that decides answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// The versions to ask for, best first: a server that is older than the first serves one of the others.
    pub versions: &'static [&'static str],
    /// Kind.
    pub kind: &'static str,
    /// The resource's name in addresses and in RBAC rules.
    pub plural: &'static str,
    /// Whether a custom resource definition serves it, which a cluster may lack.
    pub custom: bool,
    /// Whether it says what was declared, rather than what happens to run.
    pub declares: bool,
}

const fn built_in(group: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group, versions: &["v1"], kind, plural, custom: false, declares: false }
}

const fn istio(group: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group, versions: &["v1", "v1beta1"], kind, plural, custom: true, declares: true }
}

const fn experiment(kind: &'static str, plural: &'static str) -> Kind {
    Kind { versions: &["v1alpha1"], ..istio("gateway.networking.x-k8s.io", kind, plural) }
}

/// The kinds that are watched in every namespace.
pub const KINDS: &[Kind] = &[
    Kind { declares: true, ..built_in("", "Namespace", "namespaces") },
    built_in("", "Node", "nodes"),
    built_in("", "Pod", "pods"),
    Kind { declares: true, ..built_in("", "Service", "services") },
    built_in("discovery.k8s.io", "EndpointSlice", "endpointslices"),
    Kind { declares: true, ..built_in("networking.k8s.io", "NetworkPolicy", "networkpolicies") },
    istio("security.istio.io", "PeerAuthentication", "peerauthentications"),
    istio("security.istio.io", "AuthorizationPolicy", "authorizationpolicies"),
    istio("networking.istio.io", "DestinationRule", "destinationrules"),
    istio("networking.istio.io", "Gateway", "gateways"),
    istio("networking.istio.io", "VirtualService", "virtualservices"),
    istio("networking.istio.io", "ServiceEntry", "serviceentries"),
    istio("networking.istio.io", "WorkloadEntry", "workloadentries"),
    istio("networking.istio.io", "Sidecar", "sidecars"),
    istio("gateway.networking.k8s.io", "Gateway", "gateways"),
    Kind {
        versions: &["v1", "v1beta1"],
        ..istio("gateway.networking.k8s.io", "GatewayClass", "gatewayclasses")
    },
    // v1 came with Gateway API 1.4.
    Kind {
        versions: &["v1", "v1alpha3"],
        ..istio("gateway.networking.k8s.io", "BackendTLSPolicy", "backendtlspolicies")
    },
    // Came with Gateway API 1.5; before, it was an experiment by another name.
    Kind { versions: &["v1"], ..istio("gateway.networking.k8s.io", "ListenerSet", "listenersets") },
    Kind {
        versions: &["v1", "v1beta1"],
        ..istio("gateway.networking.k8s.io", "ReferenceGrant", "referencegrants")
    },
    experiment("XListenerSet", "xlistenersets"),
    experiment("XBackend", "xbackends"),
];

/// What holds MeshConfig. Only ConfigMaps named in [`MeshConfigs`] are watched, each by its name.
pub const CONFIG_MAP: Kind = Kind { declares: true, ..built_in("", "ConfigMap", "configmaps") };

/// Kinds that the analyzer reads from files and that nobody needs to watch: slices say what Endpoints say, istiod's pods what
/// its Deployment says, and the ConfigMap what an operator made of its own resource.
pub const NOT_WATCHED: &[(&str, &str)] = &[
    ("", "Endpoints"),
    ("apps", "Deployment"),
    ("install.istio.io", "IstioOperator"),
    ("sailoperator.io", "Istio"),
];

/// Which ConfigMaps hold MeshConfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshConfigs {
    /// The namespace of the control plane.
    pub namespace: String,
    /// Revisions of the control plane that are installed beside the default one: `NAME` stands for the ConfigMap
    /// `istio-NAME`.
    pub revisions: Vec<String>,
}

impl Default for MeshConfigs {
    fn default() -> Self {
        Self { namespace: "istio-system".to_owned(), revisions: Vec::new() }
    }
}

impl Kind {
    /// Names the resource as RBAC rules and `kubectl` do: `pods`, `sidecars.networking.istio.io`.
    #[must_use]
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Returns the resource in one of its versions; the count goes round.
    pub(crate) fn served(&self, version: usize) -> ApiResource {
        let version = self.versions.iter().cycle().nth(version % self.versions.len().max(1));
        let kind = GroupVersionKind::gvk(self.group, version.unwrap_or(&"v1"), self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }
}

/// One watch: a kind everywhere, or one object by its name.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) kind: &'static Kind,
    /// Namespace and name.
    pub(crate) only: Option<(String, String)>,
}

impl Target {
    /// Lists the watches. The place of one in the list names it.
    pub(crate) fn all(configs: &MeshConfigs) -> Vec<Self> {
        let names = std::iter::once("istio".to_owned())
            .chain(configs.revisions.iter().map(|revision| format!("istio-{revision}")));
        let named =
            names.map(|name| Self { kind: &CONFIG_MAP, only: Some((configs.namespace.clone(), name)) });
        KINDS.iter().map(|kind| Self { kind, only: None }).chain(named).collect()
    }

    /// Names the watch in messages and metrics.
    pub(crate) fn name(&self) -> String {
        match &self.only {
            Some((_, name)) => format!("{}/{name}", self.kind.resource()),
            None => self.kind.resource(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_that_the_analyzer_reads_is_watched() {
        let watched = KINDS.iter().chain([&CONFIG_MAP]).map(|kind| (kind.group, kind.kind));
        let mut known: Vec<_> = watched.chain(NOT_WATCHED.iter().copied()).collect();
        known.sort_unstable();
        let mut read = analyzer::mesh::KINDS.to_vec();
        read.sort_unstable();
        assert_eq!(known, read);
    }

    #[test]
    fn an_older_version_is_asked_for_next() {
        let policy = KINDS.iter().find(|kind| kind.kind == "PeerAuthentication").unwrap();
        let versions: Vec<_> = (0..3).map(|turn| policy.served(turn).api_version).collect();
        assert_eq!(versions, ["security.istio.io/v1", "security.istio.io/v1beta1", "security.istio.io/v1"]);
    }
}
