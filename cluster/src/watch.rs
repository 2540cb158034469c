//! One watch: objects of one kind, listed and then followed for ever, whatever the server does.

use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flow::Timestamp;
use futures::{Stream, StreamExt as _};
use kube::api::{Api, DynamicObject};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Error};
use tokio::sync::mpsc::Sender;

use crate::connect::Server;
use crate::kinds::Target;
use crate::object::{Object, file};
use crate::progress::{Progress, State};
use crate::{BYTES, OBJECTS};

/// What a watch saw.
#[derive(Debug)]
pub(crate) struct Change {
    /// Which watch, by its place.
    pub(crate) target: usize,
    /// When.
    pub(crate) seen: Timestamp,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// All there is.
    Listed(Vec<Arc<Object>>),
    /// One came or changed.
    Applied(Arc<Object>),
    /// One is gone: its name.
    Deleted(String),
    /// There are more than can be held.
    TooMuch,
}

/// How a watch waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// Between attempts that fail.
    pub(crate) backoff: fn() -> Box<dyn Backoff>,
    /// Until a kind that the server does not serve is asked for again.
    pub(crate) absent: Duration,
}

/// After how long without another error a watch that failed is taken to go on: longer than opening a connection may take.
const GOES_ON: Duration = Duration::from_secs(15);

/// Why a watch begins anew, with a list.
enum End {
    /// The server does not serve this version of the kind.
    NotServed,
    /// What is known may have a hole.
    Unsure,
    /// Nobody takes changes any more.
    Unwanted,
}

/// Follows one kind until nobody takes its changes.
pub(crate) async fn follow(
    server: Server,
    target: Target,
    place: usize,
    changes: Sender<Change>,
    progress: Progress,
    waits: Waits,
) {
    let mut backoff = (waits.backoff)();
    let mut version = 0;
    loop {
        match run(&server, &target, version, place, &changes, &progress, &mut *backoff).await {
            End::Unwanted => return,
            End::Unsure => {}
            End::NotServed => {
                version += 1;
                if version % target.kind.versions.len() == 0 {
                    progress.set(place, State::Absent);
                    if send(&changes, place, What::Listed(Vec::new())).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(waits.absent).await;
                }
            }
        }
    }
}

/// Asks for a kind: first all objects, then every change.
pub(crate) fn events(
    client: &Client,
    target: &Target,
    version: usize,
) -> impl Stream<Item = watcher::Result<Event<DynamicObject>>> + Send + use<> {
    let served = target.kind.served(version);
    let config = watcher::Config::default();
    let (api, config) = match &target.only {
        Some((namespace, name)) => (
            Api::namespaced_with(client.clone(), namespace, &served),
            config.fields(&format!("metadata.name={name}")),
        ),
        None => (Api::all_with(client.clone(), &served), config),
    };
    watcher::watcher(api, config)
}

async fn run(
    server: &Server,
    target: &Target,
    version: usize,
    place: usize,
    changes: &Sender<Change>,
    progress: &Progress,
    backoff: &mut dyn Backoff,
) -> End {
    let mut events = pin!(events(&server.client, target, version));
    let kind = target.kind;
    let api_version = kind.served(version).api_version;
    let mut listed = Listing::default();
    let mut failed = false;
    loop {
        // A watch tells nothing when it goes on well and nothing changes.
        let next =
            if failed { tokio::time::timeout(GOES_ON, events.next()).await } else { Ok(events.next().await) };
        let Ok(next) = next else {
            failed = false;
            progress.set(place, State::Watching);
            continue;
        };
        let Some(event) = next else { return End::Unsure };
        let seen = match event {
            Ok(Event::Init) => {
                listed = Listing::default();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed.add(Object::of(kind, &api_version, object));
                continue;
            }
            Ok(Event::InitDone) => {
                let listed = mem::take(&mut listed);
                if listed.over { What::TooMuch } else { What::Listed(listed.objects) }
            }
            Ok(Event::Apply(object)) => What::Applied(Arc::new(Object::of(kind, &api_version, object))),
            Ok(Event::Delete(object)) => What::Deleted(file(kind, &object)),
            Err(error) => {
                if kind.custom && not_served(&error) {
                    return End::NotServed;
                }
                progress.failed(place, &told(server, target, &error));
                wait(backoff).await;
                if !resumes(&error) {
                    return End::Unsure;
                }
                failed = true;
                continue;
            }
        };
        failed = false;
        backoff.reset();
        progress.set(place, State::Watching);
        if send(changes, place, seen).await.is_err() {
            return End::Unwanted;
        }
    }
}

async fn send(changes: &Sender<Change>, target: usize, what: What) -> Result<(), End> {
    changes.send(Change { target, seen: now(), what }).await.map_err(|_| End::Unwanted)
}

async fn wait(backoff: &mut dyn Backoff) {
    tokio::time::sleep(backoff.next().unwrap_or(Duration::from_secs(30))).await;
}

/// A list as it comes in. Past the bounds objects are only counted: a list with a hole is not used.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) objects: Vec<Arc<Object>>,
    bytes: usize,
    pub(crate) over: bool,
}

impl Listing {
    pub(crate) fn add(&mut self, object: Object) {
        self.bytes = self.bytes.saturating_add(object.bytes);
        self.over |= self.bytes > BYTES || self.objects.len() >= OBJECTS;
        if self.over {
            self.objects = Vec::new();
        } else {
            self.objects.push(Arc::new(object));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "what the API server tells is in force from when it is told")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Tells whether the server has no such resource. Where a CRD is absent, it says so in plain text.
pub(crate) fn not_served(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(Error::Api(status)) if status.code == 404)
}

/// Tells whether the watch may go on from the last version that it saw: only what broke the connection says nothing about
/// what was sent. kube's watcher itself lists again when a version is too old.
fn resumes(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(status) => status.code == 410,
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            !matches!(error, Error::Api(_) | Error::SerdeError(_))
        }
        watcher::Error::InitialListFailed(_) | watcher::Error::NoResourceVersion => false,
    }
}

/// Says what is wrong, and for a refusal which permission is missing.
pub(crate) fn told(server: &Server, target: &Target, error: &watcher::Error) -> String {
    let status = match error {
        watcher::Error::WatchError(status) => Some(status),
        watcher::Error::InitialListFailed(Error::Api(status))
        | watcher::Error::WatchStartFailed(Error::Api(status))
        | watcher::Error::WatchFailed(Error::Api(status)) => Some(status),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    };
    let name = target.name();
    match status.map(|status| (status.code, status)) {
        Some((401, _)) => {
            format!("{name}: the API server {} does not know these credentials (401)", server.address)
        }
        Some((403, status)) => {
            let place = target.only.as_ref().map_or_else(
                || "in every namespace".to_owned(),
                |(namespace, name)| format!("named {name} in namespace {namespace}"),
            );
            format!(
                "{name}: the permission to list and watch {} {place} is missing; deploy/rbac.yaml grants it ({})",
                target.kind.resource(),
                status.message
            )
        }
        Some((410, _)) => format!("{name}: the version to go on from is too old (410); listing again"),
        Some((code, status)) => format!("{name}: {} ({code})", status.message),
        None => format!("{name}: the API server {}: {}", server.address, chain(error)),
    }
}

/// An error and its causes. What could not be read as an object is not quoted.
fn chain(error: &watcher::Error) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(cause) = next {
        if cause.is::<serde_json::Error>() {
            break;
        }
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}
