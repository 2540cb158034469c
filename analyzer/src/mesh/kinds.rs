//! The kinds that are read, and what each becomes.

use std::sync::Arc;

use crate::mesh::authorization_policy::AuthorizationPolicy;
use crate::mesh::control_plane::{self, ControlPlane};
use crate::mesh::destination_rule::DestinationRule;
use crate::mesh::document::parse;
use crate::mesh::gateway::Gateway;
use crate::mesh::gateway_api;
use crate::mesh::manifest::Resources;
use crate::mesh::mesh_config::MeshConfig;
use crate::mesh::meta::{File, Meta, labels};
use crate::mesh::network_policy::NetworkPolicy;
use crate::mesh::node::Node;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::mesh::reference_grant::ReferenceGrant;
use crate::mesh::schema;
use crate::mesh::service::{EndpointSlice, Service};
use crate::mesh::service_entry::{ServiceEntry, WorkloadEntry};
use crate::mesh::sidecar::Sidecar;
use crate::mesh::virtual_service::VirtualService;

/// The kinds that are read, by API group; all others change no answer.
pub const KINDS: &[(&str, &str)] = &[
    ("", "Namespace"),
    ("", "Node"),
    ("", "Pod"),
    ("", "Service"),
    ("", "Endpoints"),
    ("", "ConfigMap"),
    ("apps", "Deployment"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("security.istio.io", "PeerAuthentication"),
    ("security.istio.io", "AuthorizationPolicy"),
    ("networking.istio.io", "DestinationRule"),
    ("networking.istio.io", "Gateway"),
    ("networking.istio.io", "VirtualService"),
    ("networking.istio.io", "ServiceEntry"),
    ("networking.istio.io", "WorkloadEntry"),
    ("networking.istio.io", "Sidecar"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("gateway.networking.k8s.io", "BackendTLSPolicy"),
    ("gateway.networking.k8s.io", "ListenerSet"),
    ("gateway.networking.k8s.io", "ReferenceGrant"),
    ("gateway.networking.x-k8s.io", "XListenerSet"),
    ("gateway.networking.x-k8s.io", "XBackend"),
    ("install.istio.io", "IstioOperator"),
    ("sailoperator.io", "Istio"),
];

pub(super) fn is_read(group: &str, kind: &str) -> bool {
    KINDS.contains(&(group, kind))
}

impl Resources {
    pub(super) fn unread(&mut self, file: &File, line: u32, group: &str, kind: &str) {
        // Kinds that say nothing about transport security are no news.
        let silent = [
            "RequestAuthentication",
            "Telemetry",
            "WasmPlugin",
            "EnvoyFilter",
            "ProxyConfig",
            "WorkloadGroup",
            "HTTPRoute",
            "GRPCRoute",
            "TLSRoute",
            "TCPRoute",
            "IstioRevision",
            "XBackendTrafficPolicy",
        ];
        let message = if kind == "EnvoyFilter" {
            "EnvoyFilter is not read: it can change listeners behind every declaration".to_owned()
        } else if silent.contains(&kind) {
            return;
        } else {
            format!("{kind} of {group} is not read; it has no effect on the answers")
        };
        self.notes.once(format!("{group}/{kind}"), file, line, message);
    }

    pub(super) fn version(&mut self, file: &File, line: u32, group: &str, kind: &str, version: &str) {
        let known = schema::versions(group);
        let own = version.rsplit_once('/').map_or(version, |(_, own)| own);
        if !known.contains(&own) {
            let message = format!(
                "{kind} of unknown version '{version}' (known: {}); read as if it were known",
                known.join(", ")
            );
            self.notes.once(format!("{kind} of {version}"), file, line, message);
        }
    }

    pub(super) fn keep(
        &mut self,
        group: &str,
        kind: &str,
        meta: Meta,
        node: &Node,
        notes: &mut Vec<(u32, String)>,
    ) {
        match (group, kind) {
            ("", "Namespace") => {
                let mut labels = meta.labels.clone();
                // The API server gives it to all.
                labels.insert("kubernetes.io/metadata.name".to_owned(), meta.name.to_string());
                self.namespaces.push((meta, labels));
            }
            ("", "Node") => {
                let addresses = node.at(&["status", "addresses"]).map(Node::items).unwrap_or_default();
                let ips = addresses
                    .iter()
                    .filter_map(|entry| entry.get("address").and_then(Node::scalar)?.parse().ok())
                    .collect();
                self.nodes.push((meta, ips));
            }
            ("", "Pod") => {
                self.istiod(&meta, node);
                self.pods.push(Pod::read(meta, node));
            }
            ("apps", "Deployment") => {
                self.istiod(&meta, node);
                let template = node.at(&["spec", "template", "metadata", "labels"]);
                self.templates.push((meta.namespace, labels(template)));
            }
            ("", "Service") => self.services.push(Service::read(meta, node)),
            ("", "Endpoints") => self.endpoints.extend(EndpointSlice::read_endpoints(&meta, node)),
            ("", "ConfigMap") => self.config_map(&meta, node, notes),
            ("install.istio.io" | "sailoperator.io", _) => {
                if let Some(config) = MeshConfig::of_operator(meta, node) {
                    self.configure(config);
                }
            }
            ("discovery.k8s.io", "EndpointSlice") => match EndpointSlice::read(meta, node) {
                Some(slice) => self.slices.push(slice),
                None => notes.push((
                    node.line,
                    "without the label kubernetes.io/service-name belongs to no Service; left out".to_owned(),
                )),
            },
            ("security.istio.io", "PeerAuthentication") => {
                self.peer_authentications.push(PeerAuthentication::read(meta, node, notes));
            }
            ("networking.istio.io", "DestinationRule") => match DestinationRule::read(meta, node, notes) {
                Some(rule) => self.destination_rules.push(rule),
                None => notes.push((
                    node.line,
                    "without spec.host applies to nothing; Istio rejects it; left out".to_owned(),
                )),
            },
            ("networking.istio.io", "Gateway") => self.gateways.push(Gateway::read(meta, node, notes)),
            ("networking.istio.io", "VirtualService") => {
                self.virtual_services.push(VirtualService::read(meta, node))
            }
            ("networking.istio.io", "ServiceEntry") => {
                self.service_entries.push(ServiceEntry::read(meta, node, notes))
            }
            ("networking.istio.io", "WorkloadEntry") => {
                self.workload_entries.extend(WorkloadEntry::read(meta, node))
            }
            ("networking.istio.io", "Sidecar") => self.sidecars.push(Sidecar::read(meta, node)),
            ("networking.k8s.io", "NetworkPolicy") => {
                self.network_policies.push(NetworkPolicy::read(meta, node));
            }
            ("security.istio.io", "AuthorizationPolicy") => {
                self.authorization_policies.push(AuthorizationPolicy::read(meta, node));
            }
            ("gateway.networking.k8s.io", "Gateway") => {
                let name = (meta.namespace.to_string(), meta.name.to_string());
                self.parents.insert(name, (meta.clone(), node.clone()));
                self.gateways.push(gateway_api::gateway(meta, node));
            }
            ("gateway.networking.k8s.io", "GatewayClass") => {
                self.gateway_classes.insert(meta.name.to_string(), meta);
            }
            (_, "ListenerSet" | "XListenerSet") => self.listener_sets.push((meta, node.clone())),
            (_, "ReferenceGrant") => self.reference_grants.push(ReferenceGrant::read(meta, node)),
            (_, "XBackend") => self.destination_rules.extend(gateway_api::backend(meta, node)),
            ("gateway.networking.k8s.io", "BackendTLSPolicy") => self.backend_tls.push((meta, node.clone())),
            _ => {}
        }
    }

    /// Takes what an object says of istiod, if it is istiod's.
    fn istiod(&mut self, meta: &Meta, node: &Node) {
        self.control_plane = self.control_plane.take().or_else(|| ControlPlane::read(meta, node));
        self.revisions.istiods.extend(control_plane::revision(meta, node));
    }

    fn config_map(&mut self, meta: &Meta, node: &Node, notes: &mut Vec<(u32, String)>) {
        let revisioned = meta.name.starts_with("istio-") && node.at(&["data", "mesh"]).is_some();
        if &*meta.name != "istio" && !revisioned {
            return;
        }
        let Some(mesh) = node.at(&["data", "mesh"]) else { return };
        match mesh.text().map(parse) {
            Some(Ok(config)) => {
                // A block of text begins on the line below its key.
                let block = mesh.text().is_some_and(|text| text.contains('\n'));
                let mut config = MeshConfig::read(&config, mesh.key_line.saturating_add(u32::from(block)));
                if config.root_namespace.is_empty() {
                    config.root_namespace = meta.namespace.to_string();
                }
                let networks = node.at(&["data", "meshNetworks"]).and_then(Node::text).map(parse);
                if let Some(Ok(networks)) = networks {
                    config.networks.take(&networks);
                }
                let source = Some(Arc::new(node.json()));
                config.meta = Some(Meta { source, ..meta.clone() });
                self.revisions.configured(&meta.name);
                self.configure(config);
            }
            None => {}
            Some(Err((_, message))) => {
                notes.push((
                    mesh.line,
                    format!("data.mesh cannot be read as YAML, so the defaults count: {message}"),
                ));
            }
        }
    }
}
