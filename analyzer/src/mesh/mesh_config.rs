//! MeshConfig: the `istio` ConfigMap, or what an operator is told to make it of.

use crate::mesh::entry_visibility::EntryVisibility;
use crate::mesh::meta::{Meta, texts};
use crate::mesh::network_policy::Selector;
use crate::mesh::networks::Networks;
use crate::mesh::node::{Node, Value};

/// The settings that change an answer, with Istio's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshConfig {
    /// What it was read from; absent where the defaults count.
    pub meta: Option<Meta>,
    /// Its place there, `data.mesh` in a ConfigMap.
    pub path: &'static str,
    /// The namespace whose policies are mesh-wide.
    pub root_namespace: String,
    /// Whether clients choose mTLS by themselves.
    pub auto_mtls: bool,
    /// Line of that setting; absent where it is not written.
    pub auto_mtls_line: Option<u32>,
    /// The mesh's trust domain.
    pub trust_domain: String,
    /// Other trust domains whose identities are accepted.
    pub trust_domain_aliases: Vec<String>,
    /// Trust domains whose certificates are accepted by the CAs listed for them.
    pub ca_trust_domains: Vec<String>,
    /// Line of the trust domain; absent where it is not written.
    pub trust_domain_line: Option<u32>,
    /// Whether unknown destinations are dropped.
    pub registry_only: bool,
    /// Lowest version of the inbound mesh listener, as Istio writes it.
    pub mesh_min_version: Option<String>,
    /// Suites of the inbound mesh listener, by OpenSSL name; empty for Istio's own.
    pub mesh_cipher_suites: Vec<String>,
    /// Lowest version of gateways and of originated TLS other than the mesh's own, as Istio writes it.
    pub tls_min_version: Option<String>,
    /// Suites of gateways and of originated TLS other than the mesh's own, by OpenSSL name; empty for Istio's own.
    pub tls_cipher_suites: Vec<String>,
    /// Which namespaces istiod takes, by their labels: one of these selects them. Empty for all.
    pub discovery_selectors: Vec<Selector>,
    /// Networks: those of MeshNetworks, and the gateways of others.
    pub networks: Networks,
    /// Default visibility of Services.
    pub service_export_to: Vec<String>,
    /// How far ServiceEntries are seen at most; absent where only their `exportTo` says.
    pub entry_visibility: Option<EntryVisibility>,
    /// Default visibility of VirtualServices.
    pub virtual_service_export_to: Vec<String>,
    /// Default visibility of DestinationRules.
    pub destination_rule_export_to: Vec<String>,
    /// Whether sidecars answer DNS themselves (`ISTIO_META_DNS_CAPTURE`): then Istio assigns addresses to names that have none.
    pub dns_capture: bool,
    /// Whether connections are redirected to the sidecars of pods that do not say: not with the interception mode NONE.
    pub redirected: bool,
    /// The cluster's DNS domain.
    pub domain: String,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            meta: None,
            path: "data.mesh",
            root_namespace: "istio-system".to_owned(),
            auto_mtls: true,
            auto_mtls_line: None,
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            ca_trust_domains: Vec::new(),
            trust_domain_line: None,
            registry_only: false,
            mesh_min_version: None,
            mesh_cipher_suites: Vec::new(),
            tls_min_version: None,
            tls_cipher_suites: Vec::new(),
            discovery_selectors: Vec::new(),
            networks: Networks::default(),
            service_export_to: Vec::new(),
            entry_visibility: None,
            virtual_service_export_to: Vec::new(),
            destination_rule_export_to: Vec::new(),
            dns_capture: false,
            redirected: true,
            domain: "cluster.local".to_owned(),
        }
    }
}

impl MeshConfig {
    /// Reads what an IstioOperator, or Sail's Istio, declares of it. Its namespace is that of the whole mesh's policies, unless they
    /// are told another. Absent where it says nothing of either.
    ///
    /// Source: `IstioOperatorSpec`, `meshConfig`, `values`; the chart `istio-discovery`, `rootNamespace`.
    pub(crate) fn of_operator(meta: Meta, document: &Node) -> Option<Self> {
        let declared = [
            (&["spec", "meshConfig"][..], "spec.meshConfig"),
            (&["spec", "values", "meshConfig"], "spec.values.meshConfig"),
        ];
        let found = declared.into_iter().find_map(|(path, text)| Some((document.at(path)?, text)));
        let own = [&["spec", "namespace"][..], &["spec", "values", "global", "istioNamespace"]];
        let own = own.into_iter().find_map(|path| document.at(path).and_then(Node::scalar));
        if found.is_none() && own.is_none() {
            return None;
        }
        let mut config = found.map_or_else(Self::default, |(mesh, _)| Self::read(mesh, 1));
        if found.is_none_or(|(mesh, _)| mesh.get("rootNamespace").is_none())
            && let Some(own) = own
        {
            config.root_namespace = own;
        }
        config.path = found.map_or("spec", |(_, path)| path);
        config.meta = Some(meta);
        Some(config)
    }

    /// Tells whether it takes the place of another one: the ConfigMap of the default revision comes before any other, and every
    /// ConfigMap before what an operator was told.
    pub(crate) fn counts_before(&self, other: &Self) -> bool {
        let rank = |config: &Self| {
            config
                .meta
                .as_ref()
                .map_or((false, false), |meta| (&*meta.kind == "ConfigMap", &*meta.name == "istio"))
        };
        let (own, other) = (rank(self), rank(other));
        own > other || own == (true, true)
    }

    /// Reads the YAML of `data.mesh`, whose first line stands at `first_line` of its file.
    pub(crate) fn read(mesh: &Node, first_line: u32) -> Self {
        // Kubernetes' own form, whose labels are names of the user's.
        let selectors = mesh.get("discoverySelectors").or_else(|| mesh.get("discovery_selectors"));
        let discovery_selectors = selectors
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .map(|one| Selector::read(Some(one)))
            .collect();
        let entry_visibility = EntryVisibility::read(mesh);
        let mut mesh = mesh.clone();
        json_names(&mut mesh);
        let line = |field: &str| {
            mesh.get(field).map(|node| node.key_line.saturating_add(first_line).saturating_sub(1))
        };
        let text = |path: &[&str]| mesh.at(path).and_then(Node::scalar).filter(|text| !text.is_empty());
        // TLS_AUTO is the zero value, as good as none.
        let version = |path: &[&str]| {
            word(mesh.at(path), &["TLS_AUTO", "TLSV1_2", "TLSV1_3"]).filter(|version| version != "TLS_AUTO")
        };
        let default = Self::default();
        Self {
            meta: None,
            path: default.path,
            root_namespace: text(&["rootNamespace"]).unwrap_or(default.root_namespace),
            auto_mtls: mesh.get("enableAutoMtls").and_then(Node::bool).unwrap_or(true),
            auto_mtls_line: line("enableAutoMtls"),
            trust_domain: text(&["trustDomain"]).unwrap_or(default.trust_domain),
            trust_domain_aliases: texts(mesh.get("trustDomainAliases")),
            ca_trust_domains: mesh
                .get("caCertificates")
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .flat_map(|ca| texts(ca.get("trustDomains")))
                .collect(),
            trust_domain_line: line("trustDomain"),
            // A block without a mode has the zero value: it takes the default's place whole.
            registry_only: mesh.get("outboundTrafficPolicy").is_some_and(|policy| {
                word(policy.get("mode"), &["REGISTRY_ONLY", "ALLOW_ANY"])
                    .is_none_or(|mode| mode == "REGISTRY_ONLY")
            }),
            mesh_min_version: version(&["meshMTLS", "minProtocolVersion"]),
            mesh_cipher_suites: texts(mesh.at(&["meshMTLS", "cipherSuites"])),
            tls_min_version: version(&["tlsDefaults", "minProtocolVersion"]),
            tls_cipher_suites: texts(mesh.at(&["tlsDefaults", "cipherSuites"])),
            discovery_selectors,
            networks: Networks::default(),
            service_export_to: texts(mesh.get("defaultServiceExportTo")),
            entry_visibility,
            virtual_service_export_to: texts(mesh.get("defaultVirtualServiceExportTo")),
            destination_rule_export_to: texts(mesh.get("defaultDestinationRuleExportTo")),
            dns_capture: text(&["defaultConfig", "proxyMetadata", "ISTIO_META_DNS_CAPTURE"]).as_deref()
                == Some("true"),
            redirected: word(
                mesh.at(&["defaultConfig", "interceptionMode"]),
                &["REDIRECT", "TPROXY", "NONE"],
            )
            .as_deref()
                != Some("NONE"),
            domain: default.domain,
        }
    }
}

/// Returns the name of an enumeration's value, which may also be written as its number: its place among the names.
///
/// Source: Protocol Buffers, ProtoJSON format, "enum".
fn word(node: Option<&Node>, names: &[&str]) -> Option<String> {
    let text = node?.scalar().filter(|text| !text.is_empty())?;
    let named = text.parse().ok().and_then(|number: usize| names.get(number));
    Some(named.map_or(text, |name| (*name).to_owned()))
}

/// Returns the name in JSON of a field that is written as the protocol buffer has it; other keys as they are.
pub(crate) fn json_name(key: &str) -> String {
    if !key.starts_with(|first: char| first.is_ascii_lowercase()) {
        return key.to_owned();
    }
    let mut words = key.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.extend(letters);
    }
    name
}

/// Gives fields that are written as the protocol buffer has them (`enable_auto_mtls`) the names that they have in JSON
/// (`enableAutoMtls`): istiod takes both. Keys of the user's own, as in `proxyMetadata`, begin with a capital.
///
/// Source: Protocol Buffers, ProtoJSON format, "Field names".
fn json_names(node: &mut Node) {
    match &mut node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                *key = json_name(key);
                json_names(value);
            }
        }
        Value::List(items) => items.iter_mut().for_each(json_names),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Float(_) | Value::Text(_) => {}
    }
}
