//! The store in ClickHouse, against a real server that `scripts/clickhouse.sh` installs and starts.
//!
//! WIREPROOF_SKIP_CLICKHOUSE=1 skips these tests on machines that cannot run that server.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop here, and says when it skips itself"
)]

mod collectors;
mod edges;
#[path = "../older/mod.rs"]
mod older;
mod schema;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clickhouse::Client;
use flow::{Class, FlowId};
use store::clickhouse::{Address, Clickhouse, PATIENCE};
use store::error::StoreError;
use store::query::{Paging, Query};
use store::sample::sample;
use store::{Batch, Store, contract};

/// A running server; one that a test starts for itself ends with the test.
struct Server {
    name: String,
    http: String,
    pid: String,
    own: bool,
}

impl Server {
    /// Returns the server that the tests share; absent when they are to be skipped.
    fn shared() -> Option<Self> {
        Self::up("main", false)
    }

    /// Starts a server that a test may break.
    fn own(name: &str) -> Option<Self> {
        Self::up(name, true)
    }

    fn up(name: &str, own: bool) -> Option<Self> {
        if std::env::var_os("WIREPROOF_SKIP_CLICKHOUSE").is_some_and(|skip| skip == "1") {
            eprintln!("skipped: WIREPROOF_SKIP_CLICKHOUSE is set");
            return None;
        }
        let said = script("up", name);
        let value = |key: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.expect("the script says how to reach the server").to_owned()
        };
        let http = value("CLICKHOUSE_URL").rsplit('@').next().expect("an address").to_owned();
        Some(Self { name: name.into(), http, pid: value("CLICKHOUSE_PID"), own })
    }

    fn address(&self, database: &str) -> Address {
        let text = format!("clickhouse://writer@{}/{database}", self.http);
        Address::parse(&text).expect("an address").with_password("writer-secret")
    }

    /// Asks the server past the store.
    fn client(&self) -> Client {
        Client::default()
            .with_url(format!("http://{}", self.http))
            .with_user("writer")
            .with_password("writer-secret")
            .with_database("system")
    }

    async fn run(&self, sql: &str) {
        self.client().query_raw(sql).execute().await.expect("the statement runs");
    }

    /// Waits until the server has changed the rows of a database as statements told it to.
    async fn changed(&self, database: &str) {
        let mutations = format!("FROM system.mutations WHERE database = '{database}' AND NOT is_done");
        let (left, failed) =
            (format!("SELECT count() {mutations}"), format!("SELECT any(latest_fail_reason) {mutations}"));
        while self.client().query(&left).fetch_one::<u64>().await.expect("a count") > 0 {
            let reason = self.client().query(&failed).fetch_one::<String>().await.expect("a reason");
            assert_eq!(reason, "", "a change of rows failed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.pid]).status().expect("kill runs");
        assert!(done.success());
        // The thread that takes the signal stops the others once it runs; until then they answer.
        while signal == "-STOP" && !self.has_stopped() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Tells whether every thread of the server has stopped.
    fn has_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).expect("the server runs");
        threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok()).all(
            // The state stands behind the name, which is in parentheses.
            |stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T')),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.own {
            script("down", &self.name);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").to_path_buf()
}

fn script(verb: &str, name: &str) -> String {
    let output = Command::new("bash")
        .arg("scripts/clickhouse.sh")
        .args([verb, name])
        .current_dir(root())
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "clickhouse.sh {verb}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// Gives a test a database of its own, whose name no run before it used, and drops it after.
async fn with_database<Fut: Future<Output = ()>>(
    server: &Server,
    name: &str,
    test: impl FnOnce(String) -> Fut,
) {
    let database = format!("{name}_{}", std::process::id());
    test(database.clone()).await;
    server.run(&format!("DROP DATABASE IF EXISTS {database}")).await;
}

async fn open(server: &Server, database: &str) -> Clickhouse {
    Clickhouse::open(server.address(database), PATIENCE).await.expect("the store opens")
}

fn batch(ids: std::ops::Range<u128>) -> Batch {
    let flows = ids.map(|id| sample(id, 100, Class::Mtls, None)).collect();
    Batch { flows, ..Batch::default() }
}

async fn conforming(store: &dyn Store) -> u64 {
    let totals = store.totals(&Query::default()).await.expect("totals");
    totals.judgements.get("conforms").copied().unwrap_or(0)
}

#[tokio::test]
async fn keeps_the_contract() {
    let Some(server) = Server::shared() else { return };
    let count = AtomicU32::new(0);
    let database = |number: u32| format!("contract_{}_{number}", std::process::id());
    contract::check(|| {
        let name = database(count.fetch_add(1, Ordering::Relaxed));
        let server = &server;
        async move {
            let store: Arc<dyn Store> = Arc::new(open(server, &name).await);
            store
        }
    })
    .await;
    for number in 0..count.load(Ordering::Relaxed) {
        server.run(&format!("DROP DATABASE {}", database(number))).await;
    }
}

#[tokio::test]
async fn a_server_that_is_killed_in_the_middle_loses_and_doubles_nothing() {
    const BATCHES: u128 = 8;
    const FLOWS: u128 = 5_000;
    let Some(server) = Server::own("killed") else { return };
    let store =
        Clickhouse::open(server.address("wireproof"), Duration::from_secs(60)).await.expect("it opens");
    let (begun, mut seen) = tokio::sync::mpsc::channel(1);
    let recording = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0..BATCHES {
                let _ = begun.try_send(number);
                store.record(batch(number * FLOWS..(number + 1) * FLOWS)).await.expect("it is tried again");
            }
        }
    });
    for _ in 0..2 {
        seen.recv().await.expect("a batch has begun");
    }
    // Batches follow each other without a pause: the server dies with one on its way.
    script("kill", &server.name);
    script("up", &server.name);
    recording.await.expect("all batches are recorded");
    let whole = u64::try_from(BATCHES * FLOWS).expect("small");
    for _ in 0..2 {
        assert_eq!(conforming(&store).await, whole);
        let edges = store.edges(&Query::default(), &Paging::first(10)).await.expect("edges").rows;
        assert_eq!(edges.iter().map(|edge| edge.flows).sum::<u64>(), whole);
        // And recording what may have been cut off changes nothing.
        store.record(batch(0..FLOWS)).await.expect("a batch is kept");
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_after_the_patience() {
    let Some(server) = Server::own("hanging") else { return };
    let patience = Duration::from_secs(2);
    // To make the tables may take longer than the patience that is tried here.
    open(&server, "wireproof").await;
    let store = Clickhouse::open(server.address("wireproof"), patience).await.expect("it opens");
    server.signal("-STOP");
    let asked = store.flow(FlowId(1)).await;
    let recorded = store.record(batch(0..1)).await;
    server.signal("-CONT");
    for error in [asked.err(), recorded.err()] {
        assert!(matches!(error, Some(StoreError::Slow { seconds: 2, .. })), "{error:?}");
    }
    store.record(batch(0..1)).await.expect("it answers again");
    assert_eq!(conforming(&store).await, 1);
    // An insert that was given up may still come to be, beside the ones that follow it: these are two who write.
    server.signal("-STOP");
    store.record(batch(1..2)).await.expect_err("it hangs");
    server.signal("-CONT");
    store.record(batch(2..3)).await.expect("it answers again");
    let writers = "SELECT uniqExact(writer) FROM wireproof.flow";
    let writers: u64 = server.client().query(writers).fetch_one().await.expect("a count");
    assert_eq!(writers, 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number");
    let address =
        Address::parse(&format!("clickhouse://u@{closed}/d")).expect("an address").with_password("secret");
    let error = Clickhouse::open(address, PATIENCE).await.expect_err("nobody listens").to_string();
    assert_eq!(error, format!("the store clickhouse://u@{closed}/d does not answer: connection refused"));
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_being_shown() {
    let Some(server) = Server::shared() else { return };
    let address = server.address("never_made").with_password("hunter2");
    let error = Clickhouse::open(address, PATIENCE).await.expect_err("it refuses");
    assert!(matches!(error, StoreError::Refused { code: 516, .. }), "{error:?}");
    assert!(error.to_string().ends_with(": user or password is wrong"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_disk_without_room_refuses_the_batch_and_keeps_what_was_there() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "full", async |name| {
        let store = open(&server, &name).await;
        store.record(batch(0..3)).await.expect("a batch is kept");
        let bound = "min_free_disk_bytes_to_perform_insert";
        let set = |bytes: &str| format!("ALTER TABLE {name}.flow MODIFY SETTING {bound} = {bytes}");
        server.run(&set("1000000000000000000")).await;
        let error = store.record(batch(3..5)).await.expect_err("there is no room");
        assert!(matches!(error, StoreError::Refused { code: 243, .. }), "{error:?}");
        assert_eq!(conforming(&store).await, 3);
        server.run(&set("0")).await;
        store.record(batch(3..5)).await.expect("there is room again");
        assert_eq!(conforming(&store).await, 5);
    })
    .await;
}

#[tokio::test]
async fn an_error_of_the_server_carries_no_row() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "failing", async |name| {
        let store = open(&server, &name).await;
        server.run(&format!("DROP TABLE {name}.mesh")).await;
        // Rows come first, much more than a block of them, and the error quotes one.
        server
            .run(&format!(
                "CREATE VIEW {name}.mesh AS SELECT concat('10.9.8.7 row ', toString(number)) AS id, 
                    toInt64(number) + throwIf(number = 900000, '10.9.8.7 row') AS taken_at, '[]' AS manifests FROM numbers(1000000)"
            ))
            .await;
        let error = store.latest_mesh().await.expect_err("the view fails");
        assert!(matches!(error, StoreError::Refused { code: 395, .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("10.9.8.7"), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_user_who_may_only_read_reads_and_is_told_so() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "read_only", async |name| {
        open(&server, &name).await.record(batch(0..3)).await.expect("a batch is kept");
        let address =
            Address::parse(&format!("clickhouse://reader@{}/{name}", server.http)).expect("an address");
        let store = Clickhouse::open(address.with_password("reader-secret"), PATIENCE)
            .await
            .expect("a current schema opens");
        assert_eq!(conforming(&store).await, 3);
        let error = store.record(batch(3..4)).await.expect_err("it may not write");
        assert!(error.to_string().ends_with("this user may only read"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_batch_may_span_more_days_than_one_insert_usually_may() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "days", async |name| {
        let store = open(&server, &name).await;
        let flows =
            (0..150_i64).map(|day| sample(u128::from(day.unsigned_abs()), day * 86_400, Class::Mtls, None));
        let batch = Batch { flows: flows.collect::<Vec<_>>(), ..Batch::default() };
        store.record(batch).await.expect("a batch is kept");
        assert_eq!(conforming(&store).await, 150);
    })
    .await;
}
