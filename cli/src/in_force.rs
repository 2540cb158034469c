//! The declarations in force, fixed or watched, and those that were: by which of them a flow is judged.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use analyzer::audit::Auditor;
use analyzer::mesh::Mesh;
use analyzer::report::{InputError, Judged};
use api::{Policies, Task, Upkeep, Watched};
use cluster::{Progress, Snapshot, Watch};
use flow::{Flow, Timestamp};
use store::Store;
use store::answer::MeshSnapshot;
use store::error::StoreError;
use tokio::sync::Mutex;

use crate::input::{self, Declared, FilesState};
use crate::looks::Looks;

/// How many snapshots are held to judge by.
const SNAPSHOTS: usize = 64;

/// How many bytes of objects they may have together, beyond the newest; as meshes they take a small multiple.
const SNAPSHOT_BYTES: usize = 64 * 1024 * 1024;

/// How many earlier declarations out of the store are held.
const EARLIER: usize = 4;

/// How long a snapshot waits to be stored when nothing was declared otherwise: pods come and go all the time.
const STORE_EVERY: Duration = Duration::from_secs(60);

/// How long files of declarations must rest before they are read again.
const REST: Duration = Duration::from_secs(1);

/// After how long what could not be read is tried again; twice as long each time it cannot, up to the longest.
const RETRY: Duration = Duration::from_secs(2);

/// See [`RETRY`].
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// Declarations over time.
pub(crate) struct InForce {
    /// How the watch fares; absent for declarations that do not change.
    watched: Option<Progress>,
    store: Arc<dyn Store>,
    recent: RwLock<Recent>,
    earlier: Mutex<VecDeque<Earlier>>,
}

#[derive(Default)]
struct Recent {
    /// In order of time.
    snapshots: VecDeque<Taken>,
    auditor: Option<Arc<Auditor>>,
}

struct Taken {
    from: Timestamp,
    mesh: Arc<Mesh>,
    bytes: usize,
}

/// Files of declarations as they were read.
pub(crate) struct Known {
    /// The files and folders that were named.
    pub(crate) paths: Vec<PathBuf>,
    /// What they were like, from before they were read.
    pub(crate) state: FilesState,
    /// What could not be used of them.
    pub(crate) errors: Vec<InputError>,
}

/// Declarations out of the store, and for which time it was asked.
struct Earlier {
    since: Timestamp,
    until: Timestamp,
    mesh: Arc<Mesh>,
}

impl InForce {
    /// Takes declarations that were in force all the time, until others follow.
    pub(crate) fn fixed(mesh: Mesh, store: Arc<dyn Store>) -> Self {
        let fixed = Self { watched: None, store, recent: RwLock::default(), earlier: Mutex::default() };
        fixed.take(Taken { from: Timestamp::from_nanos(i64::MIN), mesh: Arc::new(mesh), bytes: 0 });
        fixed
    }

    /// Takes what a watch will find; nothing is in force before.
    pub(crate) fn watched(progress: Progress, store: Arc<dyn Store>) -> Self {
        Self { watched: Some(progress), store, recent: RwLock::default(), earlier: Mutex::default() }
    }

    /// Takes snapshots for as long as there are some, and stores them: at once when something is declared otherwise.
    pub(crate) async fn follow(&self, mut watch: Watch) {
        let mut known = None;
        let mut unstored = None;
        let mut due = tokio::time::interval(STORE_EVERY);
        loop {
            tokio::select! {
                snapshot = watch.next() => {
                    let Some(snapshot) = snapshot else { return };
                    let (from, mesh) = (snapshot.from, Arc::clone(&snapshot.mesh));
                    self.take(Taken { from, mesh, bytes: snapshot.bytes() });
                    tell(&snapshot, &mut known);
                    let declared = snapshot.declared;
                    unstored = Some(snapshot);
                    if !declared {
                        continue;
                    }
                }
                _ = due.tick() => {}
            }
            if let Some(snapshot) = unstored.take() {
                let kept = MeshSnapshot::new(snapshot.from, snapshot.manifests());
                unstored = self.put_mesh(Some(kept)).await.map(|_| snapshot);
            }
        }
    }

    /// Looks at files of declarations again and again, and puts in force what they say by then. What cannot be read is tried again, also
    /// where the files do not change any more: why need not lie in them.
    pub(crate) async fn follow_files(&self, known: Known, mut looks: Looks, upkeep: Upkeep) {
        let Known { paths, mut state, errors } = known;
        let mut known = fatal(&errors);
        let mut unstored = None;
        let mut retry: Option<Duration> = None;
        loop {
            tokio::select! {
                () = looks.next() => {}
                () = tokio::time::sleep(retry.unwrap_or_default()), if retry.is_some() => {}
            }
            unstored = self.put_mesh(unstored).await;
            let mut now = input::state_of(&paths);
            if now == state && retry.is_none() {
                continue;
            }
            // Several files change one after the other, as a checkout writes them.
            loop {
                tokio::time::sleep(REST).await;
                state = std::mem::replace(&mut now, input::state_of(&paths));
                if now == state {
                    break;
                }
            }
            let from = crate::serve::now();
            let Some(declared) = read_again(&paths, &mut known).await else {
                upkeep.failed(Task::ReadDeclarations);
                let pause = retry.map_or(RETRY, |pause| pause.saturating_mul(2).min(LONGEST_RETRY));
                tracing::warn!(
                    seconds = pause.as_secs(),
                    "the declarations before stay, and it is tried again"
                );
                retry = Some(pause);
                continue;
            };
            retry = None;
            let bytes = declared.manifests.iter().map(|manifest| manifest.text.len()).sum();
            self.take(Taken { from, mesh: Arc::new(declared.mesh), bytes });
            anstream::eprintln!("wireproof: the declarations changed, and are in force from {from} on");
            unstored = self.put_mesh(Some(MeshSnapshot::new(from, declared.manifests))).await;
        }
    }

    /// Stores a snapshot, if there is one; returns it if it has to be tried again.
    async fn put_mesh(&self, snapshot: Option<MeshSnapshot>) -> Option<MeshSnapshot> {
        let snapshot = snapshot?;
        let error = self.store.put_mesh(&snapshot).await.err()?;
        tracing::warn!(%error, "the declarations are not stored yet");
        Some(snapshot)
    }

    /// Puts declarations in force.
    fn take(&self, taken: Taken) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        recent.snapshots.push_back(taken);
        while recent.snapshots.len() > SNAPSHOTS
            || (recent.snapshots.len() > 1
                && recent.snapshots.iter().rev().skip(1).map(|taken| taken.bytes).sum::<usize>()
                    > SNAPSHOT_BYTES)
        {
            recent.snapshots.pop_front();
        }
        recent.auditor = recent.auditor_after(None).map(Arc::new);
    }

    /// Judges flows, each by what was in force when it began; absent before the first snapshot.
    ///
    /// # Errors
    ///
    /// When the store cannot tell what was in force before the snapshots that are held.
    pub(crate) async fn judge(&self, flows: Vec<Flow>) -> Result<Option<Vec<Judged>>, StoreError> {
        let (auditor, oldest) = {
            let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
            match (&recent.auditor, recent.snapshots.front()) {
                (Some(auditor), Some(oldest)) => (Arc::clone(auditor), oldest.from),
                (None, _) | (_, None) => return Ok(None),
            }
        };
        let mut by = Vec::with_capacity(flows.len());
        for flow in &flows {
            let earlier = if flow.start < oldest { self.earlier(flow.start).await? } else { None };
            by.push(earlier.unwrap_or_else(|| Arc::clone(&auditor)));
        }
        let judged = tokio::task::spawn_blocking(move || {
            flows.iter().zip(by).map(|(flow, auditor)| auditor.judge(flow)).collect()
        });
        Ok(judged.await.inspect_err(|error| tracing::error!(%error, "flows could not be judged")).ok())
    }

    /// Finds what was in force before the snapshots that are held, and all that followed; absent where nothing was stored.
    async fn earlier(&self, at: Timestamp) -> Result<Option<Arc<Auditor>>, StoreError> {
        let mut held = self.earlier.lock().await;
        let found = held.iter().find(|earlier| earlier.since <= at && at <= earlier.until);
        let mesh = match found {
            Some(earlier) => Arc::clone(&earlier.mesh),
            None => {
                let Some(snapshot) = self.store.mesh_at(at).await? else { return Ok(None) };
                let since = snapshot.version.taken_at;
                let read = tokio::task::spawn_blocking(move || Mesh::load(snapshot.manifests).0).await;
                let Ok(mesh) = read.map(Arc::new) else { return Ok(None) };
                // In force since then, and at the time that was asked for: so for all between.
                held.retain(|earlier| earlier.since != since);
                held.push_back(Earlier { since, until: at, mesh: Arc::clone(&mesh) });
                if held.len() > EARLIER {
                    held.pop_front();
                }
                mesh
            }
        };
        drop(held);
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        Ok(recent.auditor_after(Some(mesh)).map(Arc::new))
    }
}

impl Recent {
    /// Makes an auditor of the snapshots that are held, after an earlier one if there is one.
    fn auditor_after(&self, earlier: Option<Arc<Mesh>>) -> Option<Auditor> {
        let skip = usize::from(earlier.is_none());
        let first = earlier.or_else(|| self.snapshots.front().map(|taken| Arc::clone(&taken.mesh)))?;
        let later = self.snapshots.iter().skip(skip).map(|taken| (taken.from, Arc::clone(&taken.mesh)));
        Some(Auditor::with_history(first, later.collect()))
    }
}

impl Policies for InForce {
    fn mesh(&self) -> Option<Arc<Mesh>> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        recent.snapshots.back().map(|taken| Arc::clone(&taken.mesh))
    }

    fn watch(&self) -> Option<api::Watch> {
        let progress = self.watched.as_ref()?;
        let since = {
            let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
            recent.snapshots.back().map(|taken| taken.from)
        };
        let kinds = progress.watched().into_iter().map(|watched| Watched {
            kind: watched.name,
            objects: u64::try_from(watched.objects).unwrap_or(u64::MAX),
            errors: watched.errors,
        });
        Some(api::Watch { since, kinds: kinds.collect() })
    }
}

/// Reads files of declarations again; nothing where something cannot be read that could be before: to judge by a part would accuse the
/// innocent.
async fn read_again(paths: &[PathBuf], known: &mut HashSet<String>) -> Option<Declared> {
    let read = paths.to_vec();
    let declared = match tokio::task::spawn_blocking(move || input::mesh_in(&read)).await {
        Ok(Ok(declared)) => declared,
        Ok(Err(error)) => {
            tracing::warn!("the declarations cannot be read again: {error}");
            return None;
        }
        Err(error) => {
            tracing::error!(%error, "the declarations cannot be read again");
            return None;
        }
    };
    let said = fatal(&declared.errors);
    if !said.is_subset(known) {
        for error in said.difference(known) {
            tracing::warn!("{error}");
        }
        tracing::warn!("not all declarations can be read again");
        return None;
    }
    *known = said;
    Some(declared)
}

/// What kept declarations from being read.
fn fatal(errors: &[InputError]) -> HashSet<String> {
    let told = errors.iter().filter(|error| error.fatal);
    told.map(|error| format!("{}: {}", error.file, error.message)).collect()
}

/// Says what could not be used, once.
fn tell(snapshot: &Snapshot, known: &mut Option<HashSet<String>>) {
    if known.is_none() && !snapshot.objects().any(|object| object.file.starts_with("configmaps/")) {
        tracing::warn!(
            "the cluster has no ConfigMap istio where it was looked for: Istio's defaults are taken"
        );
    }
    let said: HashSet<String> =
        snapshot.errors.iter().map(|error| format!("{}: {}", error.file, error.message)).collect();
    for error in said.difference(known.get_or_insert_default()) {
        tracing::warn!("{error}");
    }
    tracing::info!(objects = snapshot.objects().len(), errors = said.len(), "declarations in force");
    *known = Some(said);
}

#[cfg(test)]
mod tests {
    use analyzer::mesh::Manifest;
    use serde_json::json;
    use store::embedded::Embedded;

    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME-0, namespace: shop, labels: {app: NAME}}\n\
                       spec: {containers: [{name: app, image: web}]}\nstatus: {podIP: 10.0.0.1}\n";

    fn manifests(name: &str) -> Vec<Manifest> {
        vec![Manifest { file: "pod.yaml".into(), text: POD.replace("NAME", name) }]
    }

    fn taken(from: i64, bytes: usize) -> Taken {
        let mesh = Arc::new(Mesh::load(manifests(&format!("at-{from}"))).0);
        Taken { from: Timestamp::from_nanos(from), mesh, bytes }
    }

    fn flow(start: i64) -> Flow {
        let at = Timestamp::from_nanos(start);
        serde_json::from_value(json!({"id": "b".repeat(32), "start": at, "end": at, "transport": "tcp",
            "client": {"ip": "10.0.0.9", "port": 40000}, "server": {"ip": "10.0.0.1", "port": 8080},
            "tunnel": [], "seen_at": [], "class": "plaintext", "proof": "wire", "reason": null, "protocol": "http/1.1",
            "upgrade": null, "tls": null, "from_start": true, "close": "fin",
            "packets": {"client": 6, "server": 4}, "bytes": {"client": 76, "server": 121}}))
        .unwrap()
    }

    async fn had_by(in_force: &InForce, start: i64) -> String {
        let judged = in_force.judge(vec![flow(start)]).await.unwrap().unwrap();
        judged[0].server.name()
    }

    #[tokio::test]
    async fn an_address_means_who_had_it_when_the_flow_began() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> =
            Arc::new(Embedded::open(folder.path().join("s.sqlite").to_str().unwrap()).unwrap());
        for (from, name) in [(10, "early"), (20, "later")] {
            let kept = MeshSnapshot::new(Timestamp::from_nanos(from), manifests(name));
            store.put_mesh(&kept).await.unwrap();
        }
        let in_force = InForce { watched: None, store, recent: RwLock::default(), earlier: Mutex::default() };
        assert!(in_force.judge(vec![flow(1)]).await.unwrap().is_none(), "nothing is known yet");
        for place in 0..100 {
            in_force.take(taken(1000 + place, 1));
        }
        assert_eq!(in_force.recent.read().unwrap().snapshots.len(), SNAPSHOTS);
        for (start, name) in [
            (1099, "shop/at-1099"),
            (5000, "shop/at-1099"),
            (1036, "shop/at-1036"),
            // Not held any more, so out of the store.
            (1035, "shop/later"),
            (20, "shop/later"),
            (19, "shop/early"),
            (10, "shop/early"),
            // Before all that was ever known: by the first that is held.
            (9, "shop/at-1036"),
        ] {
            assert_eq!(had_by(&in_force, start).await, name, "{start}");
        }
    }

    #[tokio::test]
    async fn large_snapshots_give_way_sooner() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> =
            Arc::new(Embedded::open(folder.path().join("s.sqlite").to_str().unwrap()).unwrap());
        let in_force = InForce { watched: None, store, recent: RwLock::default(), earlier: Mutex::default() };
        for place in 0..10 {
            in_force.take(taken(place, SNAPSHOT_BYTES / 2));
        }
        // The newest and two of half the size each.
        assert_eq!(in_force.recent.read().unwrap().snapshots.len(), 3);
        in_force.take(taken(10, SNAPSHOT_BYTES * 2));
        in_force.take(taken(11, 1));
        assert_eq!(in_force.recent.read().unwrap().snapshots.len(), 1);
        assert_eq!(had_by(&in_force, 11).await, "shop/at-11");
    }
}
