//! A cluster's API server on one side, snapshots of what it declares on the other.
//!
//! [`watch()`] follows every kind of object that decides an answer and makes an immutable [`Snapshot`] after changes; [`list`]
//! makes one and ends. Only `get`, `list` and `watch` are ever asked for, and never a Secret. What to do with a snapshot,
//! and how long to remember it, is the caller's.

mod connect;
mod kinds;
mod object;
mod progress;
mod snapshot;
mod watch;

use std::pin::pin;
use std::time::Duration;

use flow::Timestamp;
use futures::StreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{DefaultBackoff, Event};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use connect::{Access, ConnectError, Server, connect};
pub use kinds::{CONFIG_MAP, KINDS, Kind, MeshConfigs, NOT_WATCHED};
pub use object::Object;
pub use progress::{Progress, State, Watched};
pub use snapshot::Snapshot;

use crate::kinds::Target;
use crate::snapshot::{Effect, Held};
use crate::watch::{Change, Listing, Waits, events, follow, not_served, now, told};

/// The most objects that are held. A cluster with more is not judged at all, rather than by a part of it.
pub const OBJECTS: usize = 500_000;

/// The most bytes that they may have, written as JSON; in memory they take a small multiple of it.
pub const BYTES: usize = 512 * 1024 * 1024;

/// How many changes wait to be taken; the watches wait when there are more.
const CHANGES: usize = 1024;

/// What to watch, and how patiently.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where MeshConfig is.
    pub configs: MeshConfigs,
    /// How long no change must come before a snapshot is made.
    pub quiet: Duration,
    /// How long after a change a snapshot is made at the latest.
    pub at_most: Duration,
    /// How long is waited until a kind that the cluster does not know is asked for again.
    pub absent: Duration,
    /// How long is waited between attempts that fail.
    pub backoff: fn() -> Box<dyn Backoff>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            configs: MeshConfigs::default(),
            quiet: Duration::from_millis(500),
            at_most: Duration::from_secs(2),
            absent: Duration::from_secs(60),
            backoff: || Box::new(DefaultBackoff::default()),
        }
    }
}

/// A running watch. It ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    /// How each kind's watch fares.
    pub progress: Progress,
    snapshots: Receiver<Snapshot>,
    _tasks: JoinSet<()>,
}

impl Watch {
    /// Waits for the next snapshot: there is none before every kind was listed once. While it is not taken, changes
    /// gather in the one after it. Absent, for good, when the cluster has more objects than may be held.
    pub async fn next(&mut self) -> Option<Snapshot> {
        self.snapshots.recv().await
    }
}

/// Begins to watch. Must be called within a runtime of tokio.
#[must_use]
pub fn watch(server: &Server, options: &Options) -> Watch {
    let targets = Target::all(&options.configs);
    let progress = Progress::new(&targets);
    let (sender, changes) = mpsc::channel(CHANGES);
    let (out, snapshots) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    let held = Held::new(targets.len(), progress.clone());
    let waits = Waits { backoff: options.backoff, absent: options.absent };
    for (place, target) in targets.into_iter().enumerate() {
        tasks.spawn(follow(server.clone(), target, place, sender.clone(), progress.clone(), waits));
    }
    tasks.spawn(gather(held, changes, out, options.quiet, options.at_most));
    Watch { progress, snapshots, _tasks: tasks }
}

/// Why a cluster could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The API server, or the way to it, is the reason.
    #[error("{0}")]
    Failed(String),
    /// There is more than may be held.
    #[error(
        "the cluster has more than the {OBJECTS} objects or {BYTES} bytes that are held, and nothing is judged by a part of them"
    )]
    TooMuch,
}

/// Lists every kind once.
///
/// # Errors
///
/// On the first kind that cannot be listed; one that the cluster does not know has no objects.
pub async fn list(server: &Server, configs: &MeshConfigs) -> Result<Snapshot, ListError> {
    let mut all = Listing::default();
    for target in Target::all(configs) {
        for version in 0..target.kind.versions.len() {
            let mut events = pin!(events(&server.client, &target, version));
            let api_version = target.kind.served(version).api_version;
            let served = loop {
                match events.next().await {
                    Some(Ok(Event::InitApply(object))) => {
                        all.add(Object::of(target.kind, &api_version, object))
                    }
                    Some(Ok(Event::Init)) => {}
                    Some(Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_))) | None => break true,
                    Some(Err(error)) if target.kind.custom && not_served(&error) => break false,
                    Some(Err(error)) => return Err(ListError::Failed(told(server, &target, &error))),
                }
            };
            if served {
                break;
            }
        }
    }
    if all.over {
        return Err(ListError::TooMuch);
    }
    Ok(Snapshot::of(now(), true, all.objects))
}

/// What changed since the last snapshot.
struct Pending {
    /// When the first change was seen.
    from: Timestamp,
    first: Instant,
    last: Instant,
    declared: bool,
}

/// Takes changes, and makes snapshots once they rest.
async fn gather(
    mut held: Held,
    mut changes: Receiver<Change>,
    out: Sender<Snapshot>,
    quiet: Duration,
    at_most: Duration,
) {
    let mut pending: Option<Pending> = None;
    let mut first = true;
    loop {
        let due = pending
            .as_ref()
            .filter(|_| held.is_whole())
            .map(|pending| (pending.last + quiet).min(pending.first + at_most));
        tokio::select! {
            biased;
            () = rest(due) => {
                let Some(Pending { from, declared, .. }) = pending.take() else { continue };
                // Before the first snapshot nothing was in force that this could differ from.
                let (from, declared) = if first { (now(), true) } else { (from, declared) };
                first = false;
                let objects = held.objects();
                let made = tokio::task::spawn_blocking(move || Snapshot::of(from, declared, objects)).await;
                let Ok(snapshot) = made else {
                    tracing::error!("a snapshot could not be made of the cluster's objects");
                    continue;
                };
                if out.send(snapshot).await.is_err() {
                    return;
                }
            }
            change = changes.recv() => {
                let Some(change) = change else { return };
                let seen = change.seen;
                let effect = held.take(change);
                if held.is_too_much() {
                    return tracing::error!("{}", ListError::TooMuch);
                }
                if effect != Effect::None || first {
                    let at = Instant::now();
                    let fresh = Pending { from: seen, first: at, last: at, declared: false };
                    let pending = pending.get_or_insert(fresh);
                    pending.last = at;
                    pending.declared |= effect == Effect::Declares;
                }
            }
        }
    }
}

async fn rest(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
