//! The store in ClickHouse, against a real server that `scripts/clickhouse.sh` installs and starts.
//!
//! WIREPROOF_SKIP_CLICKHOUSE=1 skips these tests on machines that cannot run that server.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop here, and says when it skips itself"
)]

mod older;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clickhouse::Client;
use flow::{Class, FlowId};
use store::clickhouse::{Address, Clickhouse, Layout, PATIENCE, statements};
use store::contract;
use store::error::StoreError;
use store::query::{Paging, Query};
use store::sample::sample;
use store::sightings::{Contested, Found};
use store::{Batch, Store};

use crate::older::{kept, mesh, told_again};

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

/// As two collectors leave it that record at the same moment: what each of them wrote, written again past the store.
#[tokio::test]
async fn what_was_written_twice_is_found_and_counts_once_again() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "contested", async |name| {
        let store = open(&server, &name).await;
        // What is written past the store is taken from rows that a merge would do away with.
        server.run(&format!("SYSTEM STOP MERGES {name}.flow")).await;
        let contested = async || {
            let found = store.contested(Duration::from_secs(600)).await.expect("it answers");
            found.into_iter().map(|found| (found.judged.flow.id.0 >> 64, found.times)).collect::<Vec<_>>()
        };
        // The first half of each name is its own.
        let batch = |ids: std::ops::Range<u128>| {
            let flows = ids.map(|id| sample(id << 64, 100, Class::Mtls, None));
            Batch { flows: flows.collect(), ..Batch::default() }
        };
        store.record(batch(0..5)).await.expect("a batch is kept");
        assert_eq!(contested().await, []);
        let again = |id: u8| {
            format!(
                "INSERT INTO {name}.flow SELECT * REPLACE (1 AS writer) FROM {name}.flow WHERE bitShiftRight(id, 64) = {id}"
            )
        };
        server.run(&again(1)).await;
        assert_eq!((contested().await, conforming(&store).await), (vec![(1, 2)], 6));
        let gone = |ids| Batch { gone: batch(ids).flows, ..Batch::default() };
        store.record(gone(2..3)).await.expect("it is taken out");
        // Once more, as another collector would that did not see it gone.
        server.run(&format!("{} AND sign < 0", again(2))).await;
        assert_eq!((contested().await, conforming(&store).await), (vec![(1, 2), (2, -1)], 4));
        for _ in 0..2 {
            store.record(batch(1..2)).await.expect("a batch is kept");
            store.record(gone(2..3)).await.expect("it is taken out");
            assert_eq!((contested().await, conforming(&store).await), (vec![], 4));
        }
        // Two names of one opening, and two sides of a handshake until they name each other.
        let opened = |second: i64| {
            let mut judged = sample(0, second, Class::Mtls, None);
            judged.flow.id = FlowId::of_opening(77, judged.flow.start);
            judged
        };
        let side = |id: u128, other: Option<u128>| {
            let mut judged = sample(id << 64, 400, Class::Mtls, None);
            judged.flow.tcp_handshake = Some(flow::TcpHandshake(5));
            judged.translated = other.map(|id| (&sample(id << 64, 400, Class::Mtls, None).flow).into());
            judged
        };
        let other = open(&server, &name).await;
        let record = async |store: &Clickhouse, flows| {
            store.record(Batch { flows, ..Batch::default() }).await.expect("a batch is kept");
        };
        record(&store, vec![opened(300), side(8, None)]).await;
        assert_eq!(contested().await, []);
        record(&other, vec![opened(302), side(9, None)]).await;
        assert_eq!(contested().await, [77, 77, 8, 9].map(|id| (id, 1)));
        record(&other, vec![side(8, Some(9)), side(9, Some(8))]).await;
        store.record(Batch { gone: vec![opened(302)], ..Batch::default() }).await.expect("it is taken out");
        assert_eq!(contested().await, []);
    })
    .await;
}

/// What came between a look and the record of what it came to is not lost: that of its connection waits for the next look.
#[tokio::test]
async fn what_is_mended_gives_way_to_a_report_that_came_meanwhile() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "overtaken", async |name| {
        let (one, other) = (open(&server, &name).await, open(&server, &name).await);
        // A merge does away with who wrote what another one took out.
        server.run(&format!("SYSTEM STOP MERGES {name}.flow")).await;
        let report = |opening: u64, second: i64, bytes: u64| {
            let mut judged = sample(0, second, Class::Mtls, None);
            judged.flow.id = FlowId::of_opening(opening, judged.flow.start);
            judged.flow.bytes.server = bytes;
            judged
        };
        let record = async |store: &Clickhouse, batch: Batch| store.record(batch).await.expect("a batch is kept");
        let flows = |flows| Batch { flows, ..Batch::default() };
        // Two connections, each under two names.
        record(&one, flows(vec![report(77, 300, 1), report(78, 300, 1)])).await;
        record(&other, flows(vec![report(77, 302, 2), report(78, 302, 2)])).await;
        let look = async || one.contested(Duration::from_secs(600)).await.expect("it answers");
        let mend = async |contested: &[Contested]| {
            let batch = Batch {
                flows: vec![report(77, 300, 3), report(78, 300, 3)],
                gone: vec![report(77, 302, 2), report(78, 302, 2)],
                found: Some(Found::of(contested)),
                ..Batch::default()
            };
            record(&one, batch).await;
            let all = one.flows(&Query::default(), &Paging::first(10)).await.expect("flows").rows;
            let mut all: Vec<_> = all
                .iter()
                .map(|judged| (judged.flow.id.halves()[0], judged.flow.start.as_nanos() / 1_000_000_000, judged.flow.bytes.server))
                .collect();
            all.sort_unstable();
            all
        };
        let contested = look().await;
        // In the meantime one of the names is reported again: nothing of its connection changes, and all of the other one does.
        record(&other, flows(vec![report(78, 302, 9)])).await;
        assert_eq!(mend(&contested).await, [(77, 300, 3), (78, 300, 1), (78, 302, 9)]);
        // Said again it changes nothing either.
        assert_eq!(mend(&contested).await, [(77, 300, 3), (78, 300, 1), (78, 302, 9)]);
        let contested = look().await;
        assert_eq!(contested.len(), 2);
        // Nor where a report came that counts twice, or under a name that is to be there no more.
        record(&other, flows(vec![report(78, 300, 4)])).await;
        assert_eq!(mend(&contested).await, [(77, 300, 3), (78, 300, 4), (78, 302, 9)]);
        let contested = look().await;
        server
            .run(&format!("INSERT INTO {name}.flow SELECT * FROM {name}.flow FINAL WHERE bitShiftRight(id, 64) = 78 AND start > toDateTime64(301, 9, 'UTC')"))
            .await;
        assert_eq!(conforming(&one).await, 4);
        mend(&contested).await;
        assert_eq!(conforming(&one).await, 4);
        let contested = look().await;
        assert_eq!(contested.iter().map(|found| found.times).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(mend(&contested).await, [(77, 300, 3), (78, 300, 3)]);
        assert_eq!(conforming(&one).await, 2);
        assert!(look().await.is_empty());
    })
    .await;
}

/// What one program wrote was looked at as a whole before: only where another one had a hand in it is anything to be mended.
#[tokio::test]
async fn a_look_passes_over_what_one_writer_wrote_alone() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "writers", async |name| {
        let (one, other) = (open(&server, &name).await, open(&server, &name).await);
        // What is written past the store is taken from rows that a merge would do away with.
        server.run(&format!("SYSTEM STOP MERGES {name}.flow")).await;
        let contested = async || {
            let found = one.contested(Duration::from_secs(600)).await.expect("it answers");
            found.into_iter().map(|found| (found.judged.flow.id.0 >> 64, found.times)).collect::<Vec<_>>()
        };
        let record = async |store: &Clickhouse, flows| {
            store.record(Batch { flows, ..Batch::default() }).await.expect("a batch is kept");
        };
        let opened = |opening: u64, second: i64| {
            let mut judged = sample(0, second, Class::Mtls, None);
            judged.flow.id = FlowId::of_opening(opening, judged.flow.start);
            judged
        };
        let side = |id: u128, handshake: u64| {
            let mut judged = sample(id << 64, 400, Class::Mtls, None);
            judged.flow.tcp_handshake = Some(flow::TcpHandshake(handshake));
            judged
        };
        // Each writes connections that it kept apart, and takes one out: two names of an opening, two sides of a handshake.
        record(&one, vec![opened(77, 300), opened(77, 302), side(8, 5), side(9, 5), side(3, 7)]).await;
        record(&other, vec![opened(78, 300), opened(78, 302), side(10, 6), side(11, 6), side(4, 8)]).await;
        one.record(Batch { gone: vec![side(3, 7)], ..Batch::default() }).await.expect("it is taken out");
        // As if it had been taken out twice, by the same hand.
        let twice = format!(
            "INSERT INTO {name}.flow SELECT * FROM {name}.flow WHERE bitShiftRight(id, 64) = 3 AND sign < 0 LIMIT 1"
        );
        server.run(&twice).await;
        let writers: u64 = server
            .client()
            .query(&format!("SELECT uniqExact(writer) FROM {name}.flow"))
            .fetch_one()
            .await
            .expect("a count");
        assert_eq!((writers, contested().await), (2, vec![]));
        // And where the other one had its hand in, each of these is found, with all that belongs to it.
        record(&other, vec![opened(77, 304), side(12, 5)]).await;
        server.run(&twice.replace("SELECT *", "SELECT * REPLACE (1 AS writer)")).await;
        let mut found = contested().await;
        found.sort_unstable();
        assert_eq!(found, [(3, -2), (8, 1), (9, 1), (12, 1), (77, 1), (77, 1), (77, 1)]);
    })
    .await;
}

/// The second batch is ready long before the first one is.
#[tokio::test]
async fn batches_that_are_handed_over_at_once_are_written_in_their_order() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "order", async |name| {
        let store = open(&server, &name).await;
        let told = |bytes: u64| {
            let mut judged = sample(7 << 64, 100, Class::Mtls, None);
            judged.flow.bytes.server = bytes;
            judged
        };
        let mut large = batch(100..20_000);
        large.flows.push(told(1));
        let small = Batch { flows: vec![told(2)], ..Batch::default() };
        let (large, small) = futures::join!(store.record(large), store.record(small));
        large.and(small).expect("the batches are kept");
        let found = store.flow(FlowId(7 << 64)).await.expect("it answers").expect("it is there");
        assert_eq!(found.flow.bytes.server, 2);
    })
    .await;
}

#[tokio::test]
async fn an_older_schema_is_brought_up_to_date_and_keeps_its_flows() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "older", async |name| {
        open(&server, &name).await.record(batch(0..3)).await.expect("a batch is kept");
        for sql in ["DROP TABLE mesh", "DROP TABLE mesh_since", "TRUNCATE TABLE wireproof_schema"] {
            let (verb, table) = sql.rsplit_once(' ').expect("words");
            server.run(&format!("{verb} {name}.{table}")).await;
        }
        server.run(&format!("INSERT INTO {name}.wireproof_schema (version) VALUES (1)")).await;
        let status = Clickhouse::status(&server.address(&name), PATIENCE).await.expect("status");
        assert_eq!((status.version, status.flows), (Some(1), 3));
        let store = open(&server, &name).await;
        assert_eq!(store.latest_mesh().await.expect("mesh"), None);
        assert_eq!(conforming(&store).await, 3);
        let status = Clickhouse::status(&server.address(&name), PATIENCE).await.expect("status");
        assert_eq!(status.version, Some(status.known));
    })
    .await;
}

#[tokio::test]
async fn what_version_3_kept_is_there_after_the_migration() {
    what_was_kept_is_there(3, include_str!("older/clickhouse-3.sql"), |name| match name {
        "body" => Some(
            "replaceRegexpOne(replaceOne(body, '\"translated\":null,', ''),
                '\"community_id\":\"[^\"]*\",\"tcp_handshake\":null,', '')",
        ),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn what_version_5_kept_is_there_after_the_migration() {
    what_was_kept_is_there(5, include_str!("older/clickhouse-5.sql"), |_| None).await;
}

/// What an older version had: its own tables, filled through its own view, each flow by two reports. `body` names what differs in
/// its shapes.
async fn what_was_kept_is_there(version: i64, ddl: &str, body: fn(&str) -> Option<&'static str>) {
    let Some(server) = Server::shared() else { return };
    with_database(&server, &format!("now_{version}"), async |now| {
        with_database(&server, &format!("before_{version}"), async |before| {
            let fresh = open(&server, &now).await;
            fresh.record(kept()).await.expect("a batch is kept");
            fresh.put_mesh(&mesh()).await.expect("a mesh is kept");
            server.run(&format!("CREATE DATABASE {before}")).await;
            let client = server.client().with_database(&before);
            for sql in ddl.split_terminator(";\n") {
                client.query_raw(sql).execute().await.expect("the statement runs");
            }
            let copy = async |from: &str, to: &str, change: &dyn Fn(&str) -> Option<&'static str>| {
                let columns = format!(
                    "SELECT name FROM system.columns WHERE database = '{before}' AND table = '{to}' ORDER BY position"
                );
                let columns: Vec<String> = client.query(&columns).fetch_all().await.expect("columns");
                let values: Vec<_> = columns.iter().map(|name| change(name).unwrap_or(name)).collect();
                let (columns, values) = (columns.join(", "), values.join(", "));
                server
                    .run(&format!("INSERT INTO {before}.{to} ({columns}) SELECT {values} FROM {now}.{from}"))
                    .await;
            };
            for table in ["source", "mesh", "mesh_since"] {
                copy(table, table, &|_| None).await;
            }
            copy("shape", "shape", &|name| if name == "hash" { Some("hash + 1") } else { body(name) }).await;
            copy("flow", "arrival", &|name| match name {
                "version" => Some("version + 1"),
                "bytes_client" => Some("bytes_client + 1"),
                "shape" => Some("shape + 1"),
                _ => None,
            })
            .await;
            copy("flow", "arrival", &|name| (name == "shape").then_some("shape + 1")).await;
            let status = Clickhouse::status(&server.address(&before), PATIENCE).await.expect("status");
            assert_eq!((status.version, status.flows), (Some(version), 250));
            let migrated = open(&server, &before).await;
            server.changed(&before).await;
            contract::answer_alike(&migrated, &fresh).await;
            for delivered in [kept(), told_again()] {
                fresh.record(delivered.clone()).await.expect("a batch is kept");
                migrated.record(delivered).await.expect("a batch is kept");
                contract::answer_alike(&migrated, &fresh).await;
            }
        })
        .await;
    })
    .await;
}

/// That flows go, the contract holds; here, by what, and that all stay where they are to.
#[tokio::test]
async fn how_long_flows_are_kept_is_the_ttl_of_their_table() {
    const DAY: u64 = 86_400;
    let Some(server) = Server::shared() else { return };
    with_database(&server, "ttl", async |name| {
        let store = open(&server, &name).await;
        let now = flow::Timestamp::from_nanos(0);
        let told = async || {
            let client = server.client().with_database(&name);
            let engine =
                "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'flow'";
            let changes =
                "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND table = 'flow' AND command LIKE '%TTL%'";
            let engine: String = client.query(engine).fetch_one().await.expect("a table");
            let changes: u64 = client.query(changes).fetch_one().await.expect("a count");
            (engine, changes)
        };
        let month = Some(Duration::from_secs(30 * DAY));
        for _ in 0..2 {
            store.keep(month, now).await.expect("the server is told");
            let (engine, changes) = told().await;
            assert!(engine.contains(" TTL toStartOfDay(start) + toIntervalSecond(2678400) "), "{engine}");
            assert_eq!(changes, 1, "what is said again changes nothing");
        }
        let address = server.address(&name);
        assert_eq!(Clickhouse::status(&address, PATIENCE).await.expect("status").keep, month);
        store.keep(None, now).await.expect("the server is told");
        assert!(!told().await.0.contains("TTL"));
        assert_eq!(Clickhouse::status(&address, PATIENCE).await.expect("status").keep, None);
        // Of 1970.
        store.record(batch(0..3)).await.expect("a batch is kept");
        server.run(&format!("OPTIMIZE TABLE {name}.flow FINAL")).await;
        assert_eq!(conforming(&store).await, 3);
    })
    .await;
}

#[tokio::test]
async fn a_newer_schema_and_a_database_of_others_are_refused() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "newer", async |name| {
        open(&server, &name).await;
        server.run(&format!("INSERT INTO {name}.wireproof_schema (version) VALUES (99)")).await;
        let error = Clickhouse::open(server.address(&name), PATIENCE).await.expect_err("it is newer");
        assert!(error.to_string().contains("has schema version 99"), "{error}");
    })
    .await;
    with_database(&server, "theirs", async |name| {
        server.run(&format!("CREATE DATABASE {name}")).await;
        server.run(&format!("CREATE TABLE {name}.t (x Int8) ENGINE = Memory")).await;
        let error = Clickhouse::open(server.address(&name), PATIENCE).await.expect_err("it is not ours");
        assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
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

/// Without a Keeper nothing replicates here: the server reads every statement, and that is all that this shows.
#[tokio::test]
async fn every_statement_for_a_cluster_reads() {
    let Some(server) = Server::shared() else { return };
    let all = statements(&Layout::Cluster("fleet".into()));
    assert!(all.iter().all(|sql| sql.contains("ON CLUSTER 'fleet'")), "{all:?}");
    assert_eq!(all.iter().filter(|sql| sql.contains("ENGINE = Replicated")).count(), 6);
    for sql in all {
        server.run(&format!("EXPLAIN AST {sql}")).await;
    }
}

/// Two shards that are two databases of one server; the tables do not replicate, everything else is the cluster's own text.
#[tokio::test]
async fn flows_are_spread_over_shards_and_counted_together() {
    let Some(server) = Server::shared() else { return };
    let shards = ["wireproof_shard_1", "wireproof_shard_2"];
    for shard in shards {
        server.run(&format!("DROP DATABASE IF EXISTS {shard}")).await;
        server.run(&format!("CREATE DATABASE {shard}")).await;
        for sql in statements(&Layout::Cluster("shards".into())) {
            let sql = without_replication(
                &sql.replace(" ON CLUSTER 'shards'", "").replace("currentDatabase()", "''"),
            );
            let client = server.client().with_database(shard);
            client.query_raw(&sql).execute().await.expect("the statement runs");
        }
        let client = server.client().with_database(shard);
        client
            .query_raw("INSERT INTO wireproof_schema (version) VALUES (9)")
            .execute()
            .await
            .expect("it runs");
    }
    let store = open(&server, shards[0]).await;
    let flows = |bytes: u64| {
        let one = move |id: u128| {
            let mut judged = sample(id, 100, Class::Mtls, None);
            judged.flow.server.ip = [10, 0, 0, u8::try_from(id).expect("small")].into();
            judged.flow.bytes.server = bytes;
            judged
        };
        Batch { flows: (0..40).map(one).collect(), ..Batch::default() }
    };
    let other = open(&server, shards[0]).await;
    for (store, bytes) in [(&other, 1), (&store, 70), (&store, 70)] {
        store.record(flows(bytes)).await.expect("a batch is kept");
    }
    // The other shard has the shapes by replication, which there is none of here.
    server.run(&format!("INSERT INTO {}.shape SELECT * FROM {}.shape", shards[1], shards[0])).await;
    assert_eq!(conforming(&store).await, 40);
    let edges = store.edges(&Query::default(), &Paging::first(10)).await.expect("edges").rows;
    assert_eq!(edges.iter().map(|edge| (edge.flows, edge.bytes)).collect::<Vec<_>>(), [(40, 4000)]);
    let page = store
        .flows(&Query { port: vec![8080], ..Query::default() }, &Paging::first(100))
        .await
        .expect("flows");
    assert_eq!(page.rows.len(), 40);
    // Their names have one first half, and two wrote them.
    let contested = store.contested(Duration::from_secs(600)).await.expect("it answers");
    assert_eq!(contested.iter().filter(|found| found.times == 1).count(), 40);
    // What is mended goes to the shard of its flow, and counts there as long as what was found is there.
    let gone: Vec<_> = page.rows.iter().take(1).cloned().collect();
    for (found, left) in [(Found::default(), 40), (Found::of(&contested), 39)] {
        let batch = Batch { gone: gone.clone(), found: Some(found), ..Batch::default() };
        store.record(batch).await.expect("a batch is kept");
        assert_eq!(conforming(&store).await, left);
    }
    assert_eq!(conforming(&store).await, 39);
    store.record(Batch { flows: page.rows.clone(), ..Batch::default() }).await.expect("a batch is kept");
    let community_id = page.rows.iter().take(3).map(|judged| judged.flow.community_id()).collect();
    let named = Query { community_id, class: vec![Class::Mtls], ..Query::default() };
    assert_eq!(store.flows(&named, &Paging::first(100)).await.expect("flows").rows.len(), 3);
    assert_eq!(store.edges(&named, &Paging::first(100)).await.expect("edges").rows.len(), 1);
    assert_eq!(store.totals(&named).await.expect("totals").judgements["conforms"], 3);
    assert!(store.violations(&named, &Paging::first(100)).await.expect("violations").rows.is_empty());
    for shard in shards {
        let count = "SELECT toUInt64(sum(sign)) FROM flow_part";
        let kept: u64 = server.client().with_database(shard).query(count).fetch_one().await.expect("a count");
        assert!(kept > 5, "{shard} has {kept} of 40 flows");
        server.run(&format!("DROP DATABASE {shard}")).await;
    }
}

/// Takes `Replicated` and its two first arguments out of a table's engine.
fn without_replication(sql: &str) -> String {
    let Some((head, rest)) = sql.split_once("ENGINE = Replicated") else { return sql.to_owned() };
    let (engine, rest) = rest.split_once('(').expect("arguments");
    let rest = rest.splitn(4, '\'').last().and_then(|rest| rest.split_once('\'')).expect("two paths").1;
    format!("{head}ENGINE = {engine}({}", rest.trim_start_matches(", "))
}
