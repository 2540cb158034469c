//! Revisions of istiod: which objects it reads where several control planes, or one beside others, share a cluster.

use std::collections::BTreeSet;

use crate::mesh::control_plane::REVISION;
use crate::mesh::manifest::Resources;
use crate::mesh::meta::Meta;
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
    /// It is for a revision, and nothing tells which revisions there are.
    Unknown,
    /// Istiod of its own revision does, and others that are in the input do not.
    BySome,
    /// None that is in the input does.
    No,
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

    /// The revisions there are: istiod itself tells best.
    fn known(&self) -> &BTreeSet<String> {
        if self.istiods.is_empty() { &self.configs } else { &self.istiods }
    }

    /// Tells whether istiod reads an object: one without the label, and one whose label is its revision, to the letter. One
    /// without a revision reads them all. Tags of revisions say nothing here: they are for namespaces and pods.
    ///
    /// Rule `control-plane.revision`. Istio: `pkg/config/model.go`, `LabelsInRevision`.
    fn reads(&self, meta: &Meta) -> Read {
        let known = self.known();
        match meta.labels.get(REVISION) {
            None => Read::Yes,
            Some(_) if known.is_empty() => Read::Unknown,
            Some(own) if known.contains(own) || known.contains("") => {
                if known.len() > 1 {
                    Read::BySome
                } else {
                    Read::Yes
                }
            }
            Some(_) => Read::No,
        }
    }

    /// Takes the objects out that no istiod of the input reads, and says so.
    fn keep<T>(&self, objects: &mut Vec<T>, meta: fn(&T) -> &Meta, notes: &mut Notes) {
        objects.retain(|object| {
            let meta = meta(object);
            let own = meta.labels.get(REVISION).map_or("", String::as_str);
            match self.reads(meta) {
                Read::Yes => {}
                Read::Unknown => notes.once(
                    format!("{REVISION} {own}"),
                    &meta.file,
                    meta.line,
                    format!(
                        "{} is labelled {REVISION}: {own}: istiod of that revision alone reads it; nothing here tells which revisions there are, so it counts",
                        meta.id()
                    ),
                ),
                Read::BySome => notes.once(
                    format!("{REVISION} {own}"),
                    &meta.file,
                    meta.line,
                    format!(
                        "{} is labelled {REVISION}: {own}, and there are other revisions of istiod; it is taken to count for the proxies of all",
                        meta.id()
                    ),
                ),
                Read::No => {
                    let known: Vec<&str> = self.known().iter().map(String::as_str).collect();
                    let message = format!(
                        "{} is labelled {REVISION}: {own}, and istiod is of revision {}, which does not read it; left out",
                        meta.id(),
                        known.join(" and ")
                    );
                    notes.add(&meta.file, Some(meta.line), false, message);
                    return false;
                }
            }
            true
        });
    }
}

impl Resources {
    /// Leaves out what no istiod of the input reads. Gateways of the Gateway API are read whatever their label says, which
    /// names who manages their pods, and tags of revisions there as well.
    pub(super) fn leave_out_other_revisions(&mut self) {
        let revisions = std::mem::take(&mut self.revisions);
        let mut notes = std::mem::take(&mut self.notes);
        self.keep_read(&revisions, &mut notes);
        if let Some(refused) = &mut self.refused {
            refused.objects.keep_read(&revisions, &mut Notes::default());
        }
        (self.revisions, self.notes) = (revisions, notes);
    }

    fn keep_read(&mut self, revisions: &Revisions, notes: &mut Notes) {
        revisions.keep(&mut self.peer_authentications, |object| &object.meta, notes);
        revisions.keep(&mut self.authorization_policies, |object| &object.meta, notes);
        revisions.keep(&mut self.destination_rules, |object| &object.meta, notes);
        revisions.keep(&mut self.backend_tls, |(meta, _)| meta, notes);
        revisions.keep(&mut self.listener_sets, |(meta, _)| meta, notes);
        revisions.keep(&mut self.virtual_services, |object| &object.meta, notes);
        revisions.keep(&mut self.service_entries, |object| &object.meta, notes);
        revisions.keep(&mut self.workload_entries, |object| &object.meta, notes);
        revisions.keep(&mut self.sidecars, |object| &object.meta, notes);
        let (mut own, others) = std::mem::take(&mut self.gateways)
            .into_iter()
            .partition(|gateway| gateway.meta.version.starts_with("networking.istio.io/"));
        revisions.keep(&mut own, |object| &object.meta, notes);
        self.gateways = own;
        self.gateways.extend(others);
    }
}
