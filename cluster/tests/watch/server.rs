//! A test server that answers as an API server does: lists in pages, watches with bookmarks and versions that grow too old.
//!
//! What it says in each case is taken from exchanges recorded from a real API server, some of which are in `tests/recorded`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A running server, and the hand that changes what it says.
pub(crate) struct Server {
    runtime: Option<Runtime>,
    address: SocketAddr,
    world: World,
}

#[derive(Clone)]
struct World {
    held: Arc<Mutex<Held>>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Held {
    version: u64,
    /// Watches from an older version than this are refused.
    oldest: u64,
    /// By `GROUP/RESOURCE`, namespace and name.
    objects: BTreeMap<String, BTreeMap<(String, String), Value>>,
    /// Version, `GROUP/RESOURCE`, and the line of the watch.
    events: Vec<(u64, String, String)>,
    /// Group versions that are not served, such as `security.istio.io/v1`.
    absent: BTreeSet<String>,
    /// Answers to all requests for a resource.
    refusals: BTreeMap<String, (u16, String)>,
    /// Streams that are to end in the middle of this line.
    cut: Option<(String, String)>,
    cuts: u64,
    /// Bodies to answer with once: by `GROUP/RESOURCE`, for lists and for watches.
    scripted: BTreeMap<(String, bool), VecDeque<String>>,
    requests: Vec<String>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let held = Held { version: 100, oldest: 100, ..Held::default() };
        let world = World { held: Arc::new(Mutex::new(held)), changed: watch::channel(0).0 };
        let (runtime, address) = run("127.0.0.1:0".parse().unwrap(), world.clone());
        Self { runtime: Some(runtime), address, world }
    }

    /// Stops the server: every connection breaks.
    pub(crate) fn stop(&mut self) {
        self.runtime.take().expect("it runs").shutdown_timeout(Duration::from_secs(5));
    }

    /// Starts it again on the same port. What was watched before is forgotten, so every older version is too old.
    pub(crate) fn start_again(&mut self) {
        self.forget();
        self.runtime = Some(run(self.address, self.world.clone()).0);
    }

    /// Returns where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Creates an object, or replaces it.
    pub(crate) fn put(&self, resource: &str, object: Value) {
        self.change(|held| held.put(resource, object));
    }

    pub(crate) fn delete(&self, resource: &str, namespace: &str, name: &str) {
        self.change(|held| {
            let objects = held.objects.entry(resource.to_owned()).or_default();
            let mut object = objects.remove(&(namespace.to_owned(), name.to_owned())).expect("it was there");
            held.version += 1;
            object["metadata"]["resourceVersion"] = held.version.to_string().into();
            held.event(resource, "DELETED", &object);
        });
    }

    /// Sends a line to the watches of a resource that nothing in the store stands for.
    pub(crate) fn send(&self, resource: &str, kind: &str, mut object: Value) {
        self.change(|held| {
            held.version += 1;
            object["metadata"]["resourceVersion"] = held.version.to_string().into();
            held.event(resource, kind, &object);
        });
    }

    /// Tells the watches of a resource how far they are.
    pub(crate) fn bookmark(&self, resource: &str, api_version: &str, kind: &str) {
        self.send(resource, "BOOKMARK", json!({"apiVersion": api_version, "kind": kind, "metadata": {}}));
    }

    /// Forgets past changes: watches from before now are too old.
    pub(crate) fn forget(&self) {
        self.change(|held| held.oldest = held.version);
    }

    /// Breaks every watch.
    pub(crate) fn cut(&self) {
        self.change(|held| held.cuts += 1);
    }

    /// Creates an object, and breaks the watches of its resource in the middle of telling so.
    pub(crate) fn put_and_cut(&self, resource: &str, object: Value) {
        self.change(|held| {
            held.put(resource, object);
            let line = held.events.last().expect("an event").2.clone();
            held.cut = Some((resource.to_owned(), line));
        });
    }

    pub(crate) fn serves(&self, group_version: &str, serves: bool) {
        self.change(|held| {
            if serves {
                held.absent.remove(group_version);
            } else {
                held.absent.insert(group_version.to_owned());
            }
        });
    }

    /// Answers all requests for a resource with a status; its body is the recorded one where there is one.
    pub(crate) fn refuse(&self, resource: &str, status: u16, body: &str) {
        self.change(|held| {
            held.refusals.insert(resource.to_owned(), (status, body.to_owned()));
        });
    }

    pub(crate) fn refuse_nothing(&self) {
        self.change(|held| held.refusals.clear());
    }

    /// Answers the next list, or the next watch, of a resource with this body.
    pub(crate) fn script(&self, resource: &str, watch: bool, body: &str) {
        self.change(|held| {
            held.scripted.entry((resource.to_owned(), watch)).or_default().push_back(body.to_owned());
        });
    }

    /// Returns every request so far: method, path and query.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.world.held().requests.clone()
    }

    /// Counts the first pages of lists of a resource so far.
    pub(crate) fn lists(&self, resource: &str) -> usize {
        let asked = self.requests();
        let list = |line: &&String| !line.contains("watch=true") && !line.contains("continue=");
        asked.iter().filter(list).filter(|line| line.contains(&format!("/{resource}?"))).count()
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.world.held());
        self.world.changed.send_modify(|count| *count += 1);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl World {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no test has panicked in it")
    }
}

impl Held {
    fn put(&mut self, resource: &str, mut object: Value) {
        self.version += 1;
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = (text("namespace"), text("name"));
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        object["metadata"]["managedFields"] = json!([{"manager": "test", "operation": "Update"}]);
        let objects = self.objects.entry(resource.to_owned()).or_default();
        let event = if objects.insert(key, object.clone()).is_some() { "MODIFIED" } else { "ADDED" };
        self.event(resource, event, &object);
    }

    fn event(&mut self, resource: &str, event: &str, object: &Value) {
        let line = json!({"type": event, "object": object}).to_string();
        self.events.push((self.version, resource.to_owned(), line));
    }
}

fn run(address: SocketAddr, world: World) -> (Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // The test itself may run within a runtime, where nothing may block on another one.
    let listener = std::net::TcpListener::bind(address).expect("the port is free");
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let app = Router::new().fallback(answer).with_state(world);
        axum::serve(listener, app).await.unwrap();
    });
    (runtime, address)
}

async fn answer(State(world): State<World>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let query: BTreeMap<String, String> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=")))
        .collect();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group_version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ((*version).to_owned(), rest),
        ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
        _ => return absent(),
    };
    let (namespace, plural) = match rest {
        [plural] => (None, *plural),
        ["namespaces", namespace, plural] => (Some((*namespace).to_owned()), *plural),
        _ => return absent(),
    };
    let group = group_version.rsplit_once('/').map_or("", |(group, _)| group);
    let resource = if group.is_empty() { plural.to_owned() } else { format!("{group}/{plural}") };
    let watch = query.get("watch").is_some_and(|watch| watch == "true");
    {
        let mut held = world.held();
        held.requests.push(format!("{} {}", request.method(), request.uri()));
        if request.method() != Method::GET {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        if held.absent.contains(&group_version) {
            return absent();
        }
        if let Some((status, body)) = held.refusals.get(&resource) {
            return said(*status, body.clone());
        }
        if let Some(body) = held.scripted.get_mut(&(resource.clone(), watch)).and_then(VecDeque::pop_front) {
            if watch {
                let first = stream::iter([Ok::<_, Infallible>(Bytes::from(body))]);
                return streamed(stream::StreamExt::chain(first, stream::pending()));
            }
            return said(200, body);
        }
    }
    let named = query
        .get("fieldSelector")
        .map(|selector| selector.strip_prefix("metadata.name=").expect("a name is asked for").to_owned());
    if watch {
        let from = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let seconds = query.get("timeoutSeconds").and_then(|text| text.parse().ok()).unwrap_or(290);
        return watched(world, resource, from, Duration::from_secs(seconds));
    }
    let shown = Shown { group_version, resource, namespace, named };
    list(&world.held(), &shown, &query)
}

struct Shown {
    group_version: String,
    resource: String,
    namespace: Option<String>,
    named: Option<String>,
}

fn list(held: &Held, shown: &Shown, query: &BTreeMap<String, String>) -> Response {
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let skip: usize = query.get("continue").and_then(|text| text.parse().ok()).unwrap_or(0);
    let all: Vec<&Value> = held
        .objects
        .get(&shown.resource)
        .into_iter()
        .flatten()
        .filter(|((namespace, name), _)| {
            shown.namespace.as_ref().is_none_or(|asked| asked == namespace)
                && shown.named.as_ref().is_none_or(|asked| asked == name)
        })
        .map(|(_, object)| object)
        .collect();
    let page = all.iter().skip(skip).take(limit).map(|object| {
        let mut object = (*object).clone();
        if !shown.group_version.contains("istio.io") && !shown.group_version.contains("gateway.") {
            // The items of built-in kinds come without these.
            let fields = object.as_object_mut().expect("an object");
            fields.remove("kind");
            fields.remove("apiVersion");
        }
        object
    });
    let page: Vec<Value> = page.collect();
    let left = all.len().saturating_sub(skip + page.len());
    let mut metadata = json!({"resourceVersion": held.version.to_string()});
    if left > 0 {
        metadata["continue"] = (skip + page.len()).to_string().into();
        metadata["remainingItemCount"] = left.into();
    }
    said(
        200,
        json!({"kind": "List", "apiVersion": shown.group_version, "metadata": metadata, "items": page})
            .to_string(),
    )
}

fn watched(world: World, resource: String, from: u64, lasts: Duration) -> Response {
    let (oldest, cuts) = {
        let held = world.held();
        (held.oldest, held.cuts)
    };
    if from < oldest {
        let message = format!("too old resource version: {from} ({oldest})");
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": "Expired", "code": 410});
        return said(200, format!("{}\n", json!({"type": "ERROR", "object": status})));
    }
    let end = tokio::time::Instant::now() + lasts;
    let changes = world.changed.subscribe();
    streamed(stream::unfold((world, changes, from, false), move |(world, mut changes, from, broken)| {
        let resource = resource.clone();
        async move {
            if broken {
                return None;
            }
            loop {
                changes.mark_unchanged();
                let next = {
                    let mut held = world.held();
                    if held.cuts != cuts {
                        let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
                        drop(held);
                        return Some((broken, (world, changes, from, true)));
                    }
                    let next = held
                        .events
                        .iter()
                        .find(|(version, of, _)| *version > from && *of == resource)
                        .map(|(version, _, line)| (*version, line.clone()));
                    if let Some((_, line)) = &next
                        && held.cut.as_ref().is_some_and(|(of, at)| *of == resource && at == line)
                    {
                        held.cut = None;
                        held.cuts += 1;
                        let half = Bytes::from(line[..line.len() / 2].to_owned());
                        drop(held);
                        return Some((Ok(half), (world, changes, from, false)));
                    }
                    next
                };
                if let Some((version, line)) = next {
                    return Some((Ok(Bytes::from(format!("{line}\n"))), (world, changes, version, false)));
                }
                tokio::select! {
                    changed = changes.changed() => changed.ok()?,
                    () = tokio::time::sleep_until(end) => return None,
                }
            }
        }
    }))
}

fn absent() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::NOT_FOUND, kind, "404 page not found\n").into_response()
}

fn said(status: u16, body: String) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::from_u16(status).unwrap(), kind, body).into_response()
}

fn streamed<E: Into<axum::BoxError> + 'static>(
    lines: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}
