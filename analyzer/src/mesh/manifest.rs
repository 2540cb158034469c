//! Text to resources: every document of every file, each on its own, so that a bad one stops nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::mesh::authorization_policy::AuthorizationPolicy;
use crate::mesh::control_plane::ControlPlane;
use crate::mesh::destination_rule::DestinationRule;
use crate::mesh::document::{DOCUMENT_BYTES, documents_of, parse};
use crate::mesh::gateway::Gateway;
use crate::mesh::gateway_api;
use crate::mesh::kinds::is_read;
use crate::mesh::mesh_config::MeshConfig;
use crate::mesh::meta::{File, Labels, Meta};
use crate::mesh::network_policy::NetworkPolicy;
use crate::mesh::node::Node;
use crate::mesh::notes::Notes;
use crate::mesh::peer_authentication::PeerAuthentication;
use crate::mesh::pod::Pod;
use crate::mesh::reading::Revisions;
use crate::mesh::reference_grant::{ReferenceGrant, leave_out_ungranted};
use crate::mesh::refusal::{self, Refusal};
use crate::mesh::schema;
use crate::mesh::service::{EndpointSlice, Service};
use crate::mesh::service_entry::{ServiceEntry, WorkloadEntry};
use crate::mesh::sidecar::Sidecar;
use crate::mesh::virtual_service::VirtualService;
use crate::report::InputError;

/// The largest file that is read, in bytes: far above a cluster's dump of one kind, far below a machine's memory.
pub const FILE_BYTES: usize = 256 * 1024 * 1024;

/// The most documents that one file may hold; what comes behind them is left out. A dump is one `List`, however many objects
/// it has.
pub const FILE_DOCUMENTS: usize = 10_000;

/// One file of declarations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its name, as messages show it.
    pub file: String,
    /// Its text: YAML documents, or JSON.
    pub text: String,
}

/// An object as it was read. A mesh is made of such objects again and again without reading them again.
#[derive(Debug)]
pub struct Declared(Resources);

impl Declared {
    /// Reads an object that came as JSON, such as from an API server, with the name to cite it by as a file. What is wrong with
    /// it is among the errors of the mesh that is made of it.
    #[must_use]
    pub fn read(file: &str, object: &serde_json::Value) -> Self {
        let mut resources = Resources::default();
        // Written as JSON, an object stands on one line.
        resources.object(&Arc::from(file), &Node::on_line(1, object), 1);
        Self(resources)
    }
}

/// Objects that Istio's webhook refuses for what a finding of the catalogue says too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refused {
    /// The objects, as if they had been taken.
    pub(crate) objects: Box<Resources>,
    /// The ids of those findings, by object.
    pub(crate) findings: BTreeMap<String, BTreeSet<&'static str>>,
}

/// All that was read, by kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resources {
    pub(crate) namespaces: Vec<(Meta, Labels)>,
    pub(crate) nodes: Vec<(Meta, Vec<std::net::IpAddr>)>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) templates: Vec<(Arc<str>, Labels)>,
    pub(crate) services: Vec<Service>,
    pub(crate) slices: Vec<EndpointSlice>,
    pub(crate) endpoints: Vec<EndpointSlice>,
    pub(crate) peer_authentications: Vec<PeerAuthentication>,
    pub(crate) destination_rules: Vec<DestinationRule>,
    pub(crate) backend_tls: Vec<(Meta, Node)>,
    pub(crate) gateways: Vec<Gateway>,
    /// The Gateways of the Gateway API as written, by namespace and name.
    pub(crate) parents: HashMap<(String, String), (Meta, Node)>,
    /// Their classes, by name.
    pub(crate) gateway_classes: HashMap<String, Meta>,
    pub(crate) listener_sets: Vec<(Meta, Node)>,
    pub(crate) reference_grants: Vec<ReferenceGrant>,
    pub(crate) virtual_services: Vec<VirtualService>,
    pub(crate) service_entries: Vec<ServiceEntry>,
    pub(crate) workload_entries: Vec<WorkloadEntry>,
    pub(crate) sidecars: Vec<Sidecar>,
    pub(crate) network_policies: Vec<NetworkPolicy>,
    pub(crate) authorization_policies: Vec<AuthorizationPolicy>,
    /// Apart, as each object has one of these and next to none a configuration.
    pub(crate) config: Option<Box<MeshConfig>>,
    pub(crate) control_plane: Option<ControlPlane>,
    /// What has no effect, for the findings that say so.
    pub(crate) refused: Option<Refused>,
    /// How many Kubernetes objects were met, of whatever kind and whether or not they could be used.
    pub(super) objects: usize,
    pub(super) revisions: Revisions,
    pub(super) notes: Notes,
    seen: HashMap<String, (File, u32)>,
}

impl Resources {
    /// Reads all files, in order.
    pub(crate) fn read(manifests: &[Manifest]) -> Self {
        let mut resources = Self::default();
        for manifest in manifests {
            let file: File = Arc::from(manifest.file.as_str());
            if manifest.text.len() > FILE_BYTES {
                let bytes = manifest.text.len();
                resources.notes.add(
                    &file,
                    None,
                    true,
                    format!("is {bytes} bytes long, more than the {FILE_BYTES} that are read; split it"),
                );
                continue;
            }
            let mut documents = 0;
            for (first_line, text) in documents_of(&manifest.text) {
                documents += 1;
                if documents > FILE_DOCUMENTS {
                    let message = format!(
                        "holds more than {FILE_DOCUMENTS} documents; this one and all behind it are left out; split the file"
                    );
                    resources.notes.add(&file, Some(first_line), true, message);
                    break;
                }
                resources.document(&file, first_line, text);
            }
            if documents == 0 {
                resources.notes.add(&file, None, false, "holds no document".to_owned());
            }
        }
        resources.settle();
        resources
    }

    /// Takes objects that were read before, in order.
    pub(crate) fn of_declared<'a>(objects: impl IntoIterator<Item = &'a Declared>) -> Self {
        let mut resources = Self::default();
        for Declared(object) in objects {
            resources.take(object);
        }
        resources.settle();
        resources
    }

    /// Settles what takes all objects together.
    fn settle(&mut self) {
        self.leave_out_unread();
        self.leave_out_too_new();
        self.leave_out_switched_off();
        self.leave_out_ungranted();
        self.attach_listener_sets();
    }

    /// Leaves out the listeners that use what nobody grants them.
    fn leave_out_ungranted(&mut self) {
        for gateway in self.gateways.iter_mut().filter(|gateway| gateway.meta.version.starts_with("gateway."))
        {
            let name = (gateway.meta.namespace.to_string(), gateway.meta.name.to_string());
            let Some((_, node)) = self.parents.get(&name) else { continue };
            for (line, why) in leave_out_ungranted(&self.reference_grants, gateway, node, node) {
                self.notes.add(&gateway.meta.file, Some(line), false, why);
            }
        }
    }

    /// Gives Gateways of the Gateway API the listeners that ListenerSets add to them.
    fn attach_listener_sets(&mut self) {
        for (meta, node) in std::mem::take(&mut self.listener_sets) {
            let name = gateway_api::parent_of(&meta, &node);
            let parent = name.and_then(|name| self.parents.get(&name)).map(|(meta, node)| (meta, node));
            let own = self.namespaces.iter().find(|(own, _)| own.name == meta.namespace);
            let (id, file, line) = (meta.id(), meta.file.clone(), meta.line);
            match gateway_api::listener_set(meta, &node, parent, own.map(|(_, labels)| labels)) {
                Ok(mut gateway) => {
                    let declared = parent.map_or(&node, |(_, node)| node);
                    for (line, why) in
                        leave_out_ungranted(&self.reference_grants, &mut gateway, &node, declared)
                    {
                        self.notes.add(&file, Some(line), false, why);
                    }
                    self.gateways.push(gateway);
                }
                Err(why) => self.notes.add(&file, Some(line), false, format!("{id} has no effect: {why}")),
            }
        }
    }

    /// Takes what another one holds, behind its own: nothing of what declares again what is declared already.
    pub(crate) fn take(&mut self, other: &Self) {
        let twice = other.seen.iter().map(|(identity, (file, line))| self.twice(identity, file, *line));
        // Each of them is reported.
        if twice.fold(false, |some, this| some | this) {
            return;
        }
        let Self {
            namespaces,
            nodes,
            pods,
            templates,
            services,
            slices,
            endpoints,
            peer_authentications,
            destination_rules,
            backend_tls,
            gateways,
            parents,
            gateway_classes,
            listener_sets,
            reference_grants,
            virtual_services,
            service_entries,
            workload_entries,
            sidecars,
            network_policies,
            authorization_policies,
            config,
            control_plane,
            refused,
            objects,
            revisions,
            notes,
            seen,
        } = other;
        self.namespaces.extend_from_slice(namespaces);
        self.nodes.extend_from_slice(nodes);
        self.pods.extend_from_slice(pods);
        self.templates.extend_from_slice(templates);
        self.services.extend_from_slice(services);
        self.slices.extend_from_slice(slices);
        self.endpoints.extend_from_slice(endpoints);
        self.peer_authentications.extend_from_slice(peer_authentications);
        self.destination_rules.extend_from_slice(destination_rules);
        self.backend_tls.extend_from_slice(backend_tls);
        self.gateways.extend_from_slice(gateways);
        self.parents.extend(parents.iter().map(|(name, gateway)| (name.clone(), gateway.clone())));
        self.gateway_classes.extend(gateway_classes.clone());
        self.listener_sets.extend_from_slice(listener_sets);
        self.reference_grants.extend_from_slice(reference_grants);
        self.virtual_services.extend_from_slice(virtual_services);
        self.service_entries.extend_from_slice(service_entries);
        self.workload_entries.extend_from_slice(workload_entries);
        self.sidecars.extend_from_slice(sidecars);
        self.network_policies.extend_from_slice(network_policies);
        self.authorization_policies.extend_from_slice(authorization_policies);
        if let Some(config) = config {
            self.configure((**config).clone());
        }
        self.control_plane = self.control_plane.take().or_else(|| control_plane.clone());
        if let Some(Refused { objects, findings }) = refused {
            let own = self.refused.get_or_insert_default();
            own.objects.take(objects);
            own.findings.extend(findings.iter().map(|(id, found)| (id.clone(), found.clone())));
        }
        self.seen.extend(seen.iter().map(|(identity, place)| (identity.clone(), place.clone())));
        self.objects += objects;
        self.revisions.take(revisions);
        self.notes.take(notes);
    }

    /// Takes the configuration of the mesh: the first one, unless a later one counts before it.
    pub(super) fn configure(&mut self, config: MeshConfig) {
        if self.config.as_ref().is_none_or(|first| config.counts_before(first)) {
            self.config = Some(Box::new(config));
        }
    }

    /// Returns all that there is to say of the input.
    pub(crate) fn errors(&mut self) -> Vec<InputError> {
        std::mem::take(&mut self.notes).said()
    }

    /// Reports an object whose name another one has already, and tells whether there is such a one.
    fn twice(&mut self, identity: &str, file: &File, line: u32) -> bool {
        let Some((other_file, other_line)) = self.seen.get(identity) else { return false };
        let id = identity.split_once('/').map_or(identity, |(_, id)| id);
        let message = format!(
            "{id} is declared twice; the first, at {other_file}:{other_line}, counts, this one is left out"
        );
        self.notes.add(file, Some(line), true, message);
        true
    }

    fn document(&mut self, file: &File, first_line: u32, text: &str) {
        if text.len() > DOCUMENT_BYTES {
            let message = format!(
                "a document of {} bytes is longer than the {DOCUMENT_BYTES} that are read; split it",
                text.len()
            );
            return self.notes.add(file, Some(first_line), true, message);
        }
        let node = match parse(text) {
            Ok(node) => node,
            Err((line, message)) => {
                let line = line.map_or(first_line, |line| line.saturating_add(first_line).saturating_sub(1));
                return self.notes.add(file, Some(line), true, format!("cannot be read as YAML: {message}"));
            }
        };
        let mut node = node;
        node.shift(first_line.saturating_sub(1));
        if node.is_null() {
            return;
        }
        self.object(file, &node, node.line.max(first_line));
    }

    fn object(&mut self, file: &File, node: &Node, line: u32) {
        let (Some(kind), Some(version)) = (
            node.get("kind").and_then(Node::text).map(str::to_owned),
            node.get("apiVersion").and_then(Node::text).map(str::to_owned),
        ) else {
            return self.notes.add(
                file,
                Some(line),
                true,
                "is no Kubernetes object: apiVersion and kind are expected; left out".to_owned(),
            );
        };
        // Items that are null are none, as tools write them that found nothing.
        let items = node.entries().iter().find(|(key, _)| key == "items");
        if let (Some((_, items)), true) = (items, kind.ends_with("List")) {
            let item_kind = kind.strip_suffix("List").unwrap_or_default();
            for item in items.items() {
                let mut item = item.clone();
                if let crate::mesh::node::Value::Map(entries) = &mut item.value
                    && !item_kind.is_empty()
                {
                    // The items of a typed list carry no kind of their own.
                    for (key, text) in [("kind", item_kind), ("apiVersion", version.as_str())] {
                        if !entries.iter().any(|(name, _)| name == key) {
                            let value = crate::mesh::node::Value::Text(text.to_owned());
                            entries
                                .push((key.to_owned(), Node { line: item.line, key_line: item.line, value }));
                        }
                    }
                }
                self.object(file, &item, item.line);
            }
            return;
        }
        self.objects += 1;
        let group = version.rsplit_once('/').map_or("", |(group, _)| group).to_owned();
        if !is_read(&group, &kind) {
            if group.ends_with("istio.io") || group.starts_with("gateway.networking.") {
                self.unread(file, line, &group, &kind);
            }
            return;
        }
        let number = ["name", "namespace"].into_iter().find_map(|field| {
            let value = node.at(&["metadata", field])?;
            matches!(value.value, crate::mesh::node::Value::Float(_)).then_some((field, value.line))
        });
        if let Some((field, line)) = number {
            // As a number it is no longer what was written.
            let message = format!(
                "{kind}: metadata.{field} is a number, as 1e3 is without quotes, and Kubernetes takes text alone; write it in quotes; left out"
            );
            return self.notes.add(file, Some(line), true, message);
        }
        let Some(meta) = Meta::read(&kind, node, file) else {
            return self.notes.add(file, Some(line), true, format!("{kind} without metadata.name; left out"));
        };
        let identity = format!("{group}/{}", meta.id());
        if self.twice(&identity, file, line) {
            return;
        }
        self.seen.insert(identity, (file.clone(), line));
        self.version(file, line, &group, &kind, &version);
        let misfits = schema::misfits(&group, &kind, node);
        if let Some((line, why)) = misfits.rejected.first() {
            return self.rejected(file, *line, &meta, why, misfits.rejected.len());
        }
        for (line, path, meant) in misfits.unknown {
            let hint = meant.map_or_else(String::new, |name| format!("; did you mean '{name}'?"));
            let message = format!("{kind}: {path} is no field that Istio knows and has no effect{hint}");
            self.notes.once(format!("{kind} {path}"), file, line, message);
        }
        let refusals = refusal::refusals(&group, &kind, &meta.namespace, node);
        if !refusals.is_empty() && !refusal::is_stored(node) {
            return self.refuse(file, &group, meta, node, &refusals);
        }
        for Refusal { line, why, .. } in refusals.into_iter().filter(|refusal| refusal.finding.is_none()) {
            let message = format!(
                "{kind}: {why}; Istio's webhook refuses this, yet it is in the cluster, so it counts as istiod reads it"
            );
            self.notes.once(format!("{kind} {why}"), file, line, message);
        }
        let mut notes = Vec::new();
        self.keep(&group, &kind, meta, node, &mut notes);
        for (line, message) in notes {
            self.notes.add(file, Some(line), false, format!("{kind}: {message}"));
        }
    }

    /// Leaves out an object that Istio's webhook refuses.
    fn refuse(&mut self, file: &File, group: &str, meta: Meta, node: &Node, refusals: &[Refusal]) {
        let Some(first) = refusals.first() else { return };
        self.rejected(file, first.line, &meta, &first.why, refusals.len());
        let findings: BTreeSet<_> = refusals.iter().filter_map(|refusal| refusal.finding).collect();
        if !findings.is_empty() {
            let kind = meta.kind.clone();
            let refused = self.refused.get_or_insert_default();
            refused.findings.insert(meta.id(), findings);
            refused.objects.keep(group, &kind, meta, node, &mut Vec::new());
        }
    }

    /// Reports an object that does not come into the cluster, by the first of `count` reasons.
    fn rejected(&mut self, file: &File, line: u32, meta: &Meta, why: &str, count: usize) {
        let more = match count {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count.saturating_sub(1)),
        };
        let message =
            format!("{}: {why}{more}; Istio rejects it, so it has no effect and is left out", meta.id());
        self.notes.add(file, Some(line), true, message);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mesh::Mesh;

    /// What there is to say of an input as a whole must not depend on whether its objects were read one by one.
    #[test]
    fn objects_read_one_by_one_make_the_same_mesh_as_their_text() {
        let config = |name: &str, domain: &str| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "istio-system"},
                "data": {"mesh": format!("trustDomain: {domain}")}})
        };
        let policy = |name: &str, mode: &str| {
            json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
                "metadata": {"name": name, "namespace": "shop"}, "spec": {"mtls": {"mode": mode}, "mutual": true}})
        };
        let objects = [
            config("istio-canary", "canary"),
            config("istio", "default"),
            config("istio-stable", "stable"),
            policy("default", "STRICT"),
            policy("second", "DISABLE"),
            policy("default", "PERMISSIVE"),
            json!({"kind": "Pod"}),
            policy("third", "STRICT"),
        ];
        let texts = objects
            .iter()
            .zip(1..)
            .map(|(object, number)| Manifest { file: format!("object-{number}"), text: object.to_string() });
        let (whole, said) = Mesh::load(texts.collect());
        let declared: Vec<Declared> = objects
            .iter()
            .zip(1..)
            .map(|(object, number)| Declared::read(&format!("object-{number}"), object))
            .collect();
        for _ in 0..2 {
            let (again, said_again) = Mesh::of_declared(&declared);
            assert_eq!(said_again, said);
            assert_eq!(again.config, whole.config);
            assert_eq!(again.peer_authentications, whole.peer_authentications);
        }
        assert_eq!(whole.config.trust_domain, "default");
        assert_eq!(whole.peer_authentications.len(), 3);
        let words: Vec<&str> = said.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(words.len(), 3, "{words:?}");
        assert!(words[0].ends_with("(and 2 more like it)"), "{words:?}");
        assert!(words[1].contains("declared twice; the first, at object-4:1, counts"), "{words:?}");
        assert!(words[2].contains("no Kubernetes object"), "{words:?}");
    }
}
