//! Istio's rules, one function a rule. Declarations in, modes with their citations out; no flow is judged here.

pub mod auto_mtls;
pub mod destination_rule;
pub mod gateway;
pub mod inbound;
pub mod outbound;
pub mod sidecar_scope;

use crate::mesh::meta::Meta;
use crate::report::Citation;

/// A rule of the catalogue: its id, what it says, and where Istio says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// `resource.rule`.
    pub id: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Istio's source.
    pub source: &'static str,
}

/// Every rule that a citation may name.
pub const RULES: &[Rule] = &[
    Rule {
        id: "peer-authentication.narrowest-wins",
        summary: "Workload, then namespace, then mesh; UNSET inherits; nothing declared is PERMISSIVE.",
        source: "pilot/pkg/security/authn/policy_applier.go, ComposePeerAuthentication",
    },
    Rule {
        id: "peer-authentication.oldest-wins",
        summary: "Of several policies at one level only the oldest acts; they are never merged.",
        source: "pilot/pkg/model/authentication.go",
    },
    Rule {
        id: "peer-authentication.port-level",
        summary: "portLevelMtls of the chosen workload policy, by container port, overrides its mode.",
        source: "pilot/pkg/security/authn/policy_applier.go, GetMutualTLSModeForPort",
    },
    Rule {
        id: "peer-authentication.ambient",
        summary: "ztunnel takes DISABLE for PERMISSIVE and never switches HBONE off.",
        source: "architecture/ambient/peer-authentication.md",
    },
    Rule {
        id: "inbound.mode-by-protocol",
        summary: "Mode and declared protocol decide which filter chains a sidecar's inbound listener has.",
        source: "pilot/pkg/networking/core/filterchain_options.go",
    },
    Rule {
        id: "inbound.no-proxy",
        summary: "Without a proxy, or on a port that is not intercepted, nothing enforces a mode.",
        source: "pkg/kube/inject",
    },
    Rule {
        id: "outbound.client-proxy",
        summary: "A client without an Istio proxy sends what its application sends.",
        source: "pilot/pkg/networking/core/cluster_tls.go",
    },
    Rule {
        id: "outbound.excluded",
        summary: "Ports and addresses excluded from interception bypass the client's proxy.",
        source: "Istio: Resource Annotations, traffic.sidecar.istio.io",
    },
    Rule {
        id: "outbound.passthrough",
        summary: "A destination that no visible service owns gets the application's bytes, or nothing under REGISTRY_ONLY.",
        source: "pilot/pkg/networking/core/cluster.go",
    },
    Rule {
        id: "outbound.hbone",
        summary: "HBONE carries the connection to port 15008, always with mutual TLS.",
        source: "ztunnel src/proxy/outbound.rs",
    },
    Rule {
        id: "destination-rule.lookup",
        summary: "Client's namespace, then the service's, then the root's: the first with a match ends the search.",
        source: "pilot/pkg/model/push_context.go, destinationRule",
    },
    Rule {
        id: "destination-rule.tls-mode",
        summary: "A tls block decides whatever the server is; without a mode it means DISABLE.",
        source: "pilot/pkg/networking/core/cluster_tls.go",
    },
    Rule {
        id: "destination-rule.port-level",
        summary: "portLevelSettings replace the whole policy for a Service port; tls is not inherited.",
        source: "pilot/pkg/networking/util/util.go",
    },
    Rule {
        id: "destination-rule.subset",
        summary: "A subset's policy acts where a VirtualService routes to the subset.",
        source: "pilot/pkg/networking/util/util.go, MergeSubsetTrafficPolicy",
    },
    Rule {
        id: "destination-rule.credential-name",
        summary: "credentialName on a sidecar's rule without workloadSelector is skipped: no TLS.",
        source: "pilot/pkg/networking/core/cluster_tls.go, buildUpstreamClusterTLSContext",
    },
    Rule {
        id: "destination-rule.backend-tls-policy",
        summary: "A BackendTLSPolicy stands as a SIMPLE rule below the user's.",
        source: "pilot/pkg/config/kube/gateway/backend_policies.go",
    },
    Rule {
        id: "auto-mtls.enabled",
        summary: "enableAutoMtls false leaves the application's bytes.",
        source: "pilot/pkg/networking/core/cluster_tls.go, buildUpstreamTLSSettings",
    },
    Rule {
        id: "auto-mtls.external",
        summary: "Services outside the mesh get no automatic mTLS.",
        source: "pilot/pkg/networking/core/cluster_tls.go, buildUpstreamTLSSettings",
    },
    Rule {
        id: "auto-mtls.namespace-mode",
        summary: "A namespace or mesh mode of DISABLE switches it off, whatever narrower policies say.",
        source: "pilot/pkg/model/push_context.go, BestEffortInferServiceMTLSMode",
    },
    Rule {
        id: "auto-mtls.headless",
        summary: "Headless services need every endpoint to be capable.",
        source: "pilot/pkg/model/push_context.go, BestEffortInferServiceMTLSMode",
    },
    Rule {
        id: "auto-mtls.endpoint",
        summary: "The endpoint must carry tlsMode istio.",
        source: "pilot/pkg/xds/endpoints/mtls_checker.go",
    },
    Rule {
        id: "auto-mtls.endpoint-mode",
        summary: "The endpoint's own mode at its port must not be DISABLE.",
        source: "pilot/pkg/xds/endpoints/mtls_checker.go",
    },
    Rule {
        id: "gateway.server",
        summary: "The server whose port and hosts fit takes the connection; oldest Gateway first.",
        source: "pilot/pkg/model/gateway.go, mergeGateways",
    },
    Rule {
        id: "gateway.no-server",
        summary: "Nothing listens where no server fits.",
        source: "pilot/pkg/model/gateway.go, mergeGateways",
    },
];

/// Cites a resource.
pub(crate) fn cite(
    rule: &'static str,
    meta: &Meta,
    field: Option<&str>,
    line: u32,
    effect: &str,
) -> Citation {
    Citation {
        rule: rule.to_owned(),
        resource: meta.id(),
        field: field.map(str::to_owned),
        effect: effect.to_owned(),
        file: Some(meta.file.to_string()),
        line: Some(line),
    }
}

/// Cites what is built in, or a thing that no file declares.
pub(crate) fn cite_default(rule: &'static str, effect: &str) -> Citation {
    Citation {
        rule: rule.to_owned(),
        resource: "default".to_owned(),
        field: None,
        effect: effect.to_owned(),
        file: None,
        line: None,
    }
}

/// Tells whether an exportTo list lets a namespace see a resource of `own` namespace. An empty list is for all.
pub(crate) fn exported(list: &[String], own: &str, to: &str) -> bool {
    list.is_empty()
        || list.iter().any(|entry| match entry.as_str() {
            "*" => true,
            "." => own == to,
            "~" => false,
            name => name == to,
        })
}

#[cfg(test)]
mod tests {
    use super::{RULES, exported};

    #[test]
    fn every_rule_is_on_the_page() {
        let page = include_str!("../../../docs/rules.md");
        for rule in RULES {
            assert!(page.contains(&format!("`{}`", rule.id)), "{} is missing in docs/rules.md", rule.id);
        }
        let named = page.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(named, RULES.len(), "docs/rules.md and RULES differ in number");
    }

    #[test]
    fn export_lists() {
        let list = |entries: &[&str]| entries.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(exported(&[], "a", "b"));
        assert!(exported(&list(&["*"]), "a", "b"));
        assert!(!exported(&list(&["."]), "a", "b"));
        assert!(exported(&list(&["."]), "a", "a"));
        assert!(exported(&list(&["b"]), "a", "b"));
        assert!(!exported(&list(&["~"]), "a", "a"));
    }
}
