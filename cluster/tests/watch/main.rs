//! The watch against a test server that answers as a real API server was recorded to.

#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test may stop here")]

mod server;

use std::time::Duration;

use analyzer::mesh::Mesh;
use axum::http::Request;
use cluster::{ListError, MeshConfigs, Options, Snapshot, State, Watch};
use serde_json::{Value, json};

use crate::server::Server;

const POLICIES: &str = "security.istio.io/peerauthentications";

/// A watch that is quick about everything.
fn begin(server: &Server) -> Watch {
    cluster::watch(&client(server), &options())
}

fn client(server: &Server) -> cluster::Server {
    cluster::Server::new(config(server)).unwrap()
}

fn config(server: &Server) -> kube::Config {
    kube::Config::new(format!("http://{}", server.address()).parse().unwrap())
}

fn options() -> Options {
    Options {
        quiet: Duration::from_millis(30),
        at_most: Duration::from_millis(300),
        absent: Duration::from_millis(50),
        backoff: || Box::new(Soon),
        ..Options::default()
    }
}

/// Tries again at once, nearly.
struct Soon;

impl Iterator for Soon {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(20))
    }
}

impl kube::runtime::utils::Backoff for Soon {
    fn reset(&mut self) {}
}

/// Takes snapshots until one is as wanted.
async fn until(watch: &mut Watch, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let progress = watch.progress.clone();
    let found = async {
        loop {
            let snapshot = watch.next().await.expect("the watch goes on");
            if wanted(&snapshot) {
                return snapshot;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found)
        .await
        .unwrap_or_else(|_| panic!("no such snapshot came: {:?}", progress.watched()))
}

/// Waits until something is so.
async fn becomes(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "never: {what}");
}

fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.objects().map(|object| object.file.as_str()).collect()
}

fn policy(name: &str, mode: &str) -> Value {
    json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": "2026-11-23T18:23:17Z"},
        "spec": {"mtls": {"mode": mode}}})
}

fn pod(number: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("web-{number}"), "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": "web:1", "ports": [{"containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": format!("10.0.{}.{}", number / 250, number % 250 + 1)}})
}

fn mode<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a str> {
    let file = format!("peerauthentications.security.istio.io/shop/{name}");
    let found = snapshot.objects().find(|object| object.file == file)?;
    found.json["spec"]["mtls"]["mode"].as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_in_pages_and_follows_changes_against_a_test_server() {
    let server = Server::start();
    // Three pages of kube's 500.
    for number in 0..1201 {
        server.put("pods", pod(number));
    }
    server.put(POLICIES, policy("default", "STRICT"));
    server.put(
        "configmaps",
        json!({"metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": "trustDomain: td.example"}}),
    );
    server.put(
        "configmaps",
        json!({"metadata": {"name": "other", "namespace": "shop"}, "data": {"secret": "hidden"}}),
    );
    let mut watch = begin(&server);
    let first = until(&mut watch, |_| true).await;
    assert_eq!(first.mesh.pods.len(), 1201);
    assert_eq!(first.mesh.peer_authentications.len(), 1);
    assert_eq!(first.mesh.config.trust_domain, "td.example");
    assert!(first.declared && first.errors.is_empty(), "{:?}", first.errors);
    assert!(!names(&first).contains(&"configmaps/shop/other"));
    let pages =
        server.requests().iter().filter(|line| line.contains("/pods?") && line.contains("continue=")).count();
    assert_eq!(pages, 2);

    server.put(POLICIES, policy("default", "PERMISSIVE"));
    let second = until(&mut watch, |_| true).await;
    assert_eq!(mode(&second, "default"), Some("PERMISSIVE"));
    assert!(second.declared && second.from > first.from);
    server.delete(POLICIES, "shop", "default");
    assert_eq!(until(&mut watch, |_| true).await.mesh.peer_authentications.len(), 0);
    server.put("pods", pod(5000));
    let last = until(&mut watch, |_| true).await;
    assert_eq!((last.mesh.pods.len(), last.declared), (1202, false));

    assert!(server.requests().iter().all(|line| line.starts_with("GET ") && !line.contains("secrets")));
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_the_exchanges_recorded_from_a_real_api_server() {
    let server = Server::start();
    server.script(POLICIES, false, body(include_str!("../recorded/10-list.http")));
    server.script(POLICIES, true, body(include_str!("../recorded/14-watch.http")));
    let mut watch = begin(&server);
    let done = until(&mut watch, |snapshot| mode(snapshot, "cart") == Some("STRICT")).await;
    assert_eq!(
        names(&done),
        [
            "peerauthentications.security.istio.io/default/default",
            "peerauthentications.security.istio.io/default/viabeta",
            "peerauthentications.security.istio.io/shop/cart",
            "peerauthentications.security.istio.io/shop/default",
        ]
    );
    assert!(!format!("{:?}", done.manifests()).contains("managedFields"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_what_its_manifests_read_as() {
    let server = Server::start();
    server.put(POLICIES, policy("default", "STRICT"));
    server.put("services", json!({"metadata": {"name": "web", "namespace": "shop", "uid": "1"},
        "spec": {"clusterIP": "10.1.0.1", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}));
    server.put("pods", pod(1));
    server.put("nodes", json!({"metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.9.0.1"}]}}));
    let listed = cluster::list(&client(&server), &MeshConfigs::default()).await.unwrap();
    let (read, errors) = Mesh::load(listed.manifests());
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(read.pods, listed.mesh.pods);
    assert_eq!(read.services, listed.mesh.services);
    assert_eq!(read.peer_authentications, listed.mesh.peer_authentications);
    assert_eq!(listed.objects().len(), 4);
    assert!(listed.bytes() > 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_again_when_its_version_is_too_old_against_a_test_server() {
    let server = Server::start();
    server.put(POLICIES, policy("gone", "STRICT"));
    server.put(POLICIES, policy("kept", "STRICT"));
    let mut watch = begin(&server);
    until(&mut watch, |snapshot| snapshot.objects().len() == 2).await;
    // What happens while the watch is broken is never told: the list must show it.
    server.refuse(POLICIES, 503, "");
    server.cut();
    server.delete(POLICIES, "shop", "gone");
    server.put(POLICIES, policy("new", "DISABLE"));
    server.forget();
    server.refuse_nothing();
    let found = until(&mut watch, |snapshot| mode(snapshot, "new").is_some()).await;
    assert_eq!((mode(&found, "gone"), mode(&found, "kept")), (None, Some("STRICT")));
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_from_a_bookmark_without_listing_again_against_a_test_server() {
    let server = Server::start();
    server.put(POLICIES, policy("default", "STRICT"));
    let mut watch = begin(&server);
    until(&mut watch, |_| true).await;
    server.put("pods", pod(1));
    for _ in 0..3 {
        server.bookmark(POLICIES, "security.istio.io/v1", "PeerAuthentication");
    }
    // Told behind the bookmarks on the same stream: they have arrived.
    server.put(POLICIES, policy("behind", "STRICT"));
    until(&mut watch, |snapshot| mode(snapshot, "behind").is_some()).await;
    server.forget();
    let before = server.lists("peerauthentications");
    server.cut();
    server.put(POLICIES, policy("default", "DISABLE"));
    until(&mut watch, |snapshot| mode(snapshot, "default") == Some("DISABLE")).await;
    assert_eq!(server.lists("peerauthentications"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn loses_nothing_when_a_connection_breaks_within_an_event_against_a_test_server() {
    let server = Server::start();
    let mut watch = begin(&server);
    until(&mut watch, |_| true).await;
    for turn in 0..5 {
        server.put_and_cut(POLICIES, policy(&format!("cut-{turn}"), "STRICT"));
        let name = format!("cut-{turn}");
        until(&mut watch, |snapshot| mode(snapshot, &name).is_some()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outlives_a_restart_of_a_test_server() {
    let mut server = Server::start();
    server.put(POLICIES, policy("default", "STRICT"));
    let mut watch = begin(&server);
    until(&mut watch, |_| true).await;
    server = tokio::task::spawn_blocking(move || {
        server.stop();
        server
    })
    .await
    .unwrap();
    let progress = watch.progress.clone();
    becomes("every watch fails", || {
        progress
            .watched()
            .iter()
            .all(|watched| matches!(watched.state, State::Failing(_)) && watched.errors > 0)
    })
    .await;
    server.put(POLICIES, policy("default", "DISABLE"));
    server.start_again();
    until(&mut watch, |snapshot| mode(snapshot, "default") == Some("DISABLE")).await;
    becomes("every watch goes on", || {
        progress.watched().iter().all(|watched| watched.state == State::Watching)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_absent_may_come_later_against_a_test_server() {
    let server = Server::start();
    for version in ["security.istio.io/v1", "security.istio.io/v1beta1"] {
        server.serves(version, false);
    }
    server.put(POLICIES, policy("default", "STRICT"));
    let mut watch = begin(&server);
    let without = until(&mut watch, |_| true).await;
    assert_eq!(without.objects().len(), 0);
    let state = |name: &str| {
        let watched = watch.progress.watched();
        watched
            .into_iter()
            .find(|watched| watched.name == name)
            .map(|watched| (watched.state, watched.errors))
    };
    assert_eq!(state("peerauthentications.security.istio.io"), Some((State::Absent, 0)));
    // An older Istio serves the older version alone.
    server.serves("security.istio.io/v1beta1", true);
    let with = until(&mut watch, |snapshot| snapshot.objects().len() == 1).await;
    assert_eq!(with.mesh.peer_authentications.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_the_permission_that_is_missing_against_a_test_server() {
    let server = Server::start();
    server.refuse(POLICIES, 403, body(include_str!("../recorded/19-forbidden.http")));
    let mut watch = begin(&server);
    let progress = watch.progress.clone();
    becomes(
        "only one kind is missing",
        || matches!(progress.missing().as_slice(), [why] if !why.contains("not listed yet")),
    )
    .await;
    let why = progress.missing().remove(0);
    assert!(
        why.starts_with(
            "peerauthentications.security.istio.io: the permission to list and watch \
             peerauthentications.security.istio.io in every namespace is missing; deploy/rbac.yaml grants it"
        ),
        "{why}"
    );
    assert!(why.contains("User \"auditor\" cannot list resource"), "{why}");
    let Err(ListError::Failed(told)) = cluster::list(&client(&server), &MeshConfigs::default()).await else {
        panic!("a list with a hole was taken");
    };
    assert_eq!(told, why);
    // Nothing was judged by a part of the declarations; with the permission all is there.
    server.refuse_nothing();
    until(&mut watch, |_| true).await;
    assert!(progress.missing().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn says_that_its_credentials_are_not_known_against_a_test_server() {
    let server = Server::start();
    server.refuse("pods", 401, body(include_str!("../recorded/17-unauthorized.http")));
    let told = cluster::list(&client(&server), &MeshConfigs::default()).await.unwrap_err().to_string();
    let address = server.address();
    assert_eq!(told, format!("pods: the API server http://{address} does not know these credentials (401)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_events_in_any_order_against_a_test_server() {
    let server = Server::start();
    let mut watch = begin(&server);
    until(&mut watch, |_| true).await;
    server.send(POLICIES, "DELETED", policy("never-there", "STRICT"));
    server.send(POLICIES, "MODIFIED", policy("not-added", "STRICT"));
    server.send(POLICIES, "ADDED", policy("twice", "STRICT"));
    server.send(POLICIES, "ADDED", policy("twice", "DISABLE"));
    server.send(POLICIES, "ADDED", policy("back", "STRICT"));
    server.send(POLICIES, "DELETED", policy("back", "STRICT"));
    server.send(POLICIES, "ADDED", policy("back", "PERMISSIVE"));
    server.send(POLICIES, "ADDED", policy("last", "STRICT"));
    let found = until(&mut watch, |snapshot| mode(snapshot, "last").is_some()).await;
    assert_eq!(mode(&found, "never-there"), None);
    assert_eq!(mode(&found, "not-added"), Some("STRICT"));
    assert_eq!(mode(&found, "twice"), Some("DISABLE"));
    assert_eq!(mode(&found, "back"), Some("PERMISSIVE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_again_after_what_it_cannot_read_against_a_test_server() {
    let server = Server::start();
    server.put(POLICIES, policy("default", "STRICT"));
    // A proxy's page, then a watch that breaks off with an error that is no expiry, then a line that is no object.
    server.script(POLICIES, false, "<html>busy</html>");
    let error = json!({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd", "reason": "InternalError"}});
    server.script(POLICIES, true, &format!("{error}\n"));
    server.script(POLICIES, true, "{\"type\":\"ADDED\",\"object\":[1]}\n");
    let mut watch = begin(&server);
    until(&mut watch, |_| true).await;
    let progress = watch.progress.clone();
    becomes("three lists", || server.lists("peerauthentications") >= 4).await;
    server.put(POLICIES, policy("default", "DISABLE"));
    until(&mut watch, |snapshot| mode(snapshot, "default") == Some("DISABLE")).await;
    let errors =
        progress.watched().into_iter().find(|watched| watched.name.starts_with("peerauth")).unwrap().errors;
    assert_eq!(errors, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_no_answer_makes_no_snapshot_against_a_test_server() {
    let server = Server::start();
    server.put("pods", pod(1));
    let mut watch = begin(&server);
    until(&mut watch, |_| true).await;
    for turn in 0..20 {
        let mut same = pod(1);
        same["status"]["conditions"] = json!([{"lastProbeTime": turn}]);
        same["metadata"]["annotations"] = json!({"checked": turn.to_string()});
        server.put("pods", same);
    }
    // On the same stream, so behind the others.
    server.put("pods", pod(2));
    assert_eq!(watch.next().await.unwrap().mesh.pods.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_gathers_in_few_snapshots_against_a_test_server() {
    let server = Server::start();
    let mut watch = begin(&server);
    until(&mut watch, |_| true).await;
    for number in 0..500 {
        server.put("pods", pod(number));
    }
    let (mut snapshots, mut pods) = (0, 0);
    while pods < 500 {
        pods = until(&mut watch, |_| true).await.mesh.pods.len();
        snapshots += 1;
    }
    assert!(snapshots < 50, "{snapshots} snapshots for 500 changes");
}

/// The test server is only worth what it has in common with a real one.
#[tokio::test(flavor = "multi_thread")]
async fn the_test_server_says_what_was_recorded() {
    let server = Server::start();
    server.serves("nothere.example.com/v1", false);
    let client = kube::Client::try_from(config(&server)).unwrap();
    let ask = async |path: &str| client.request_text(Request::get(path).body(Vec::new()).unwrap()).await;
    let Err(kube::Error::Api(absent)) = ask("/apis/nothere.example.com/v1/things").await else {
        panic!("an absent kind was served");
    };
    assert_eq!(absent.message, body(include_str!("../recorded/04-group-absent.http")).trim());
    let recorded = body(include_str!("../recorded/18-watch-too-old.http"));
    let said =
        ask("/apis/security.istio.io/v1/peerauthentications?watch=true&resourceVersion=1&timeoutSeconds=3")
            .await;
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(parsed(&said.unwrap()), parsed(&recorded.replace("1 (152)", "1 (100)")));
}

/// What stands behind the head of a recorded exchange.
fn body(exchange: &str) -> &str {
    exchange.split_once("\n\n").expect("a head and a body").1
}
