//! Changes in, snapshots out: what is held, and the mesh made of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use analyzer::mesh::{Manifest, Mesh};
use analyzer::report::InputError;
use flow::Timestamp;

use crate::object::Object;
use crate::progress::Progress;
use crate::watch::{Change, What};
use crate::{BYTES, OBJECTS};

/// The declarations of a cluster at one time.
#[derive(Debug)]
pub struct Snapshot {
    /// When the first of the changes since the snapshot before was seen; for the first one, when listing was complete.
    pub from: Timestamp,
    /// The objects as the analyzer reads them.
    pub mesh: Arc<Mesh>,
    /// What could not be used of them.
    pub errors: Vec<InputError>,
    /// Whether declarations changed, rather than only what happens to run: pods, endpoints, nodes.
    pub declared: bool,
    objects: Vec<Arc<Object>>,
}

impl Snapshot {
    pub(crate) fn of(from: Timestamp, declared: bool, objects: Vec<Arc<Object>>) -> Self {
        let (mesh, errors) = Mesh::of_declared(objects.iter().map(|object| &object.declared));
        Self { from, mesh: Arc::new(mesh), errors, declared, objects }
    }

    /// Returns the objects, by kind and name.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &Object> {
        self.objects.iter().map(|object| &**object)
    }

    /// Returns how long the objects are as text, in bytes: what the snapshot costs in memory is a small multiple of it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.objects.iter().map(|object| object.bytes).sum()
    }

    /// Writes the objects out, one manifest each. [`Mesh::load`] makes the same mesh of them.
    #[must_use]
    pub fn manifests(&self) -> Vec<Manifest> {
        self.objects()
            .map(|object| Manifest { file: object.file.clone(), text: object.json.to_string() })
            .collect()
    }
}

/// All objects that are held, by watch and name.
pub(crate) struct Held {
    targets: Vec<Option<BTreeMap<String, Arc<Object>>>>,
    objects: usize,
    bytes: usize,
    progress: Progress,
}

/// What a change amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing that decides an answer.
    None,
    /// Something that happens to run is another.
    Runs,
    /// Something is declared otherwise.
    Declares,
}

impl Held {
    pub(crate) fn new(targets: usize, progress: Progress) -> Self {
        Self { targets: vec![None; targets], objects: 0, bytes: 0, progress }
    }

    /// Takes a change.
    pub(crate) fn take(&mut self, change: Change) -> Effect {
        let Some(target) = self.targets.get_mut(change.target) else { return Effect::None };
        let effect = match change.what {
            What::Listed(objects) => {
                let listed: BTreeMap<String, Arc<Object>> =
                    objects.into_iter().map(|object| (object.file.clone(), object)).collect();
                let before = target.replace(listed.clone()).unwrap_or_default();
                self.sizes(before.values(), listed.values());
                if before == listed {
                    Effect::None
                } else {
                    before.values().chain(listed.values()).next().map_or(Effect::None, |object| of(object))
                }
            }
            What::Applied(object) => {
                let objects = target.get_or_insert_default();
                if objects.get(&object.file) == Some(&object) {
                    Effect::None
                } else {
                    let before = objects.insert(object.file.clone(), Arc::clone(&object));
                    self.sizes(before.iter(), [&object]);
                    of(&object)
                }
            }
            What::Deleted(file) => {
                let before = target.get_or_insert_default().remove(&file);
                self.sizes(before.iter(), []);
                before.map_or(Effect::None, |object| of(&object))
            }
            What::TooMuch => {
                self.objects = usize::MAX;
                Effect::None
            }
        };
        let count = self.targets.get(change.target).and_then(Option::as_ref).map_or(0, BTreeMap::len);
        self.progress.holds(change.target, count);
        effect
    }

    fn sizes<'a>(
        &mut self,
        before: impl IntoIterator<Item = &'a Arc<Object>>,
        after: impl IntoIterator<Item = &'a Arc<Object>>,
    ) {
        for object in after {
            self.objects = self.objects.saturating_add(1);
            self.bytes = self.bytes.saturating_add(object.bytes);
        }
        for object in before {
            self.objects = self.objects.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(object.bytes);
        }
    }

    /// Tells whether every kind was listed.
    pub(crate) fn is_whole(&self) -> bool {
        self.targets.iter().all(Option::is_some)
    }

    /// Tells whether there is more than may be held.
    pub(crate) const fn is_too_much(&self) -> bool {
        self.objects > OBJECTS || self.bytes > BYTES
    }

    /// Returns every object, by watch and name.
    pub(crate) fn objects(&self) -> Vec<Arc<Object>> {
        self.targets.iter().flatten().flat_map(BTreeMap::values).cloned().collect()
    }
}

const fn of(object: &Object) -> Effect {
    if object.declares { Effect::Declares } else { Effect::Runs }
}
