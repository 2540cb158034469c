//! What istiod reads: where several control planes share a cluster, or one does not take all of it.

use std::collections::{BTreeSet, HashMap};

use crate::mesh::control_plane::REVISION;
use crate::mesh::manifest::Resources;
use crate::mesh::meta::{Labels, Meta};
use crate::mesh::network_policy::Selector;
use crate::mesh::notes::Notes;

/// The revisions that the input tells of.
#[derive(Debug, Clone, Default)]
pub(super) struct Revisions {
    /// Those of the istiods in it; one without a revision is there by an empty name.
    pub(super) istiods: BTreeSet<String>,
    /// Those whose MeshConfig is in it.
    configs: BTreeSet<String>,
}

/// Whether istiod reads an object.
enum Read {
    /// It does.
    Yes,
    /// It is taken to: with the key by which that is said once, and why it is no more than that.
    Taken(String, String),
    /// It does not: with the key by which that is said once, absent where it is said of each, and why.
    No(Option<String>, String),
}

impl Revisions {
    /// Notes a ConfigMap of MeshConfig: `istio` is that of the default revision, `istio-NAME` that of NAME.
    pub(super) fn configured(&mut self, config_map: &str) {
        self.configs.insert(config_map.strip_prefix("istio-").unwrap_or("default").to_owned());
    }

    pub(super) fn take(&mut self, other: &Self) {
        self.istiods.extend(other.istiods.iter().cloned());
        self.configs.extend(other.configs.iter().cloned());
    }

    /// Tells whether istiod reads an object: one without the label, and one whose label is its revision, to the letter. One
    /// without a revision reads them all. Tags of revisions say nothing here: they are for namespaces and pods.
    ///
    /// Rule `control-plane.revision`. Istio: `pkg/config/model.go`, `LabelsInRevision`.
    fn read(&self, meta: &Meta) -> Read {
        // Istiod itself tells best.
        let known = if self.istiods.is_empty() { &self.configs } else { &self.istiods };
        let Some(own) = meta.labels.get(REVISION) else { return Read::Yes };
        let labelled = format!("{} is labelled {REVISION}: {own}", meta.id());
        let taken = |why: &str| Read::Taken(format!("{REVISION} {own}"), format!("{labelled}{why}"));
        let read = known.contains(own) || known.contains("");
        match known.len() {
            0 => taken(
                ": istiod of that revision alone reads it; nothing here tells which revisions there are, so it counts",
            ),
            1 if read => Read::Yes,
            _ if read => taken(
                ", and there are other revisions of istiod; it is taken to count for the proxies of all",
            ),
            _ => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let known = known.join(" and ");
                let why = format!(
                    "{labelled}, and istiod is of revision {known}, which does not read it; left out"
                );
                Read::No(None, why)
            }
        }
    }
}

/// The namespaces that istiod takes: those whose labels one of `discoverySelectors` selects, all of them without any.
struct Discovery<'a> {
    selectors: &'a [Selector],
    namespaces: HashMap<&'a str, &'a Labels>,
}

impl Discovery<'_> {
    /// Tells whether istiod reads what is in an object's namespace.
    ///
    /// Rule `control-plane.discovery`. Istio: `pkg/kube/namespace/filter.go`, `discoveryNamespacesFilter`.
    fn read(&self, meta: &Meta) -> Read {
        if self.selectors.is_empty() {
            return Read::Yes;
        }
        let namespace = &*meta.namespace;
        match self.namespaces.get(namespace) {
            None => Read::Taken(
                format!("undeclared {namespace}"),
                format!(
                    "MeshConfig has discoverySelectors, and Namespace/{namespace} is not here to tell its labels: what is in it counts, as {} does",
                    meta.id()
                ),
            ),
            Some(labels) if self.selectors.iter().any(|selector| selector.selects(labels)) => Read::Yes,
            Some(_) => Read::No(
                Some(format!("undiscovered {namespace}")),
                format!(
                    "Namespace/{namespace} is in none of MeshConfig's discoverySelectors, so istiod does not know {}",
                    meta.id()
                ),
            ),
        }
    }
}

impl Notes {
    /// Says what there is to say of an object, and tells whether it counts.
    fn counts(&mut self, meta: &Meta, read: Read) -> bool {
        match read {
            Read::Yes => true,
            Read::Taken(key, why) => {
                self.once(key, &meta.file, meta.line, why);
                true
            }
            Read::No(Some(key), why) => {
                self.once(key, &meta.file, meta.line, why);
                false
            }
            Read::No(None, why) => {
                self.add(&meta.file, Some(meta.line), false, why);
                false
            }
        }
    }
}

impl Resources {
    /// Leaves out what istiod does not read. Its Services remain, for who stands behind an address; no client knows them.
    pub(super) fn leave_out_unread(&mut self) {
        let revisions = std::mem::take(&mut self.revisions);
        let namespaces = std::mem::take(&mut self.namespaces);
        let mut notes = std::mem::take(&mut self.notes);
        let selectors = self.config.as_ref().map(|config| config.discovery_selectors.clone());
        let discovery = Discovery {
            selectors: selectors.as_deref().unwrap_or_default(),
            namespaces: namespaces.iter().map(|(meta, labels)| (&*meta.name, labels)).collect(),
        };
        self.keep_read(&revisions, &discovery, &mut notes);
        if let Some(refused) = &mut self.refused {
            refused.objects.keep_read(&revisions, &discovery, &mut Notes::default());
        }
        (self.revisions, self.namespaces, self.notes) = (revisions, namespaces, notes);
    }

    fn keep_read(&mut self, revisions: &Revisions, discovery: &Discovery<'_>, notes: &mut Notes) {
        let mut counts = |meta: &Meta| {
            notes.counts(meta, discovery.read(meta)) && notes.counts(meta, revisions.read(meta))
        };
        self.peer_authentications.retain(|object| counts(&object.meta));
        self.authorization_policies.retain(|object| counts(&object.meta));
        self.destination_rules.retain(|object| counts(&object.meta));
        self.backend_tls.retain(|(meta, _)| counts(meta));
        self.listener_sets.retain(|(meta, _)| counts(meta));
        self.reference_grants.retain(|grant| counts(&grant.meta));
        self.virtual_services.retain(|object| counts(&object.meta));
        self.service_entries.retain(|object| counts(&object.meta));
        self.workload_entries.retain(|object| counts(&object.meta));
        self.sidecars.retain(|object| counts(&object.meta));
        self.gateways.retain(|gateway| {
            let meta = &gateway.meta;
            // One of the Gateway API is read whatever its label says, which names who manages its pods, by a tag as well.
            let by_label = meta.version.starts_with("networking.istio.io/");
            notes.counts(meta, discovery.read(meta))
                && (!by_label || notes.counts(meta, revisions.read(meta)))
        });
        for service in &mut self.services {
            service.undiscovered = !notes.counts(&service.meta, discovery.read(&service.meta));
        }
    }
}
