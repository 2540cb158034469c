//! Edges that outlive their flows: days that have ended are summed up, and count when their flows are gone.

use std::path::Path;
use std::time::{Duration, SystemTime};

use analyzer::report::{Finding, Judged, Severity};
use flow::{Class, FlowId, Timestamp};
use store::answer::{Edge, MatrixCell, Sources, Tally, Totals};
use store::clickhouse::{Clickhouse, PATIENCE};
use store::query::{Paging, Query};
use store::sample::sample;
use store::{Batch, Store};

use crate::older::kept;
use crate::{Server, open, script, with_database};

const DAY: u64 = 86_400;

const YEAR: Duration = Duration::from_secs(400 * DAY);

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * DAY)
}

#[expect(clippy::disallowed_methods, reason = "a server that forgets goes by its own clock")]
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Noon of the day so many days before this one, in seconds.
fn noon(before: u64) -> i64 {
    ((now() / DAY - before) * DAY + DAY / 2).cast_signed()
}

async fn record(store: &Clickhouse, flows: Vec<Judged>) {
    store.record(Batch { flows, ..Batch::default() }).await.expect("a batch is kept");
}

/// As `serve` says it every hour.
async fn keep(store: &Clickhouse, flows: Duration) {
    store.keep_edges(flows, YEAR).await.expect("days are summed up");
    store.keep(Some(flows), Timestamp::from_nanos(0)).await.expect("the server is told");
}

/// Waits until the server has dropped all flows.
async fn dropped(server: &Server, name: &str) {
    server.run(&format!("ALTER TABLE {name}.flow MATERIALIZE TTL SETTINGS mutations_sync = 1")).await;
    server.run(&format!("OPTIMIZE TABLE {name}.flow FINAL")).await;
    for _ in 0..600 {
        let status = Clickhouse::status(&server.address(name), PATIENCE).await.expect("status");
        if status.flows == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the flows of {name} are still there");
}

type Told = (Vec<Edge>, Vec<Finding>, Vec<Tally>, Vec<MatrixCell>, Totals, Sources);

/// What can be told without flows.
async fn told(store: &Clickhouse, query: &Query) -> Told {
    let first = Paging::first(1000);
    let mut findings = store.violations(query, &first).await.expect("violations").rows;
    for finding in &mut findings {
        finding.examples.clear();
    }
    (
        store.edges(query, &first).await.expect("edges").rows,
        findings,
        store.violations_summary(query).await.expect("summary"),
        store.matrix(query).await.expect("matrix"),
        store.totals(query).await.expect("totals"),
        Sources { flows_from: None, ..store.coverage().await.expect("coverage") },
    )
}

async fn flows_from(store: &Clickhouse) -> Option<i64> {
    let coverage = store.coverage().await.expect("coverage");
    coverage.flows_from.map(|from| from.as_nanos() / 1_000_000_000)
}

#[tokio::test]
async fn what_is_told_of_flows_that_are_gone_is_what_was_told_of_them() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "outlived", async |name| {
        let store = open(&server, &name).await;
        store.record(kept()).await.expect("a batch is kept");
        let all = Query::default();
        let wrong =
            Query { severity: vec![Severity::Critical], class: vec![Class::Plaintext], ..Query::default() };
        let at = |seconds: i64| Some(Timestamp::from_nanos(seconds * 1_000_000_000));
        let day = DAY.cast_signed();
        let second = Query { since: at(day), until: at(2 * day), ..Query::default() };
        let before = [told(&store, &all).await, told(&store, &wrong).await, told(&store, &second).await];
        let timeline = store.timeline(&second, 120).await.expect("timeline");
        assert_eq!(flows_from(&store).await, None);
        // They are three days of 1970: their sums count at once, then the flows go.
        for _ in 0..2 {
            keep(&store, days(20)).await;
            let now = [told(&store, &all).await, told(&store, &wrong).await, told(&store, &second).await];
            assert_eq!(now, before);
            assert_eq!(flows_from(&store).await, Some(3 * day));
        }
        dropped(&server, &name).await;
        assert!(store.flows(&all, &Paging::first(10)).await.expect("flows").rows.is_empty());
        keep(&store, days(20)).await;
        let now = [told(&store, &all).await, told(&store, &wrong).await, told(&store, &second).await];
        assert_eq!(now, before);
        let status = Clickhouse::status(&server.address(&name), PATIENCE).await.expect("status");
        assert_eq!((status.flows, status.keep, status.keep_edges), (0, Some(days(20)), Some(YEAR)));
        // A finding without flows can still be looked up.
        let finding = store.violations(&all, &Paging::first(1)).await.expect("violations").rows.remove(0);
        assert_eq!(store.violation(&finding.key).await.expect("by key"), Some(finding));
        // A part of a day tells of all of it, and a timeline of whole days.
        let part = Query { since: at(day + 1234), until: at(2 * day - 777), ..Query::default() };
        let whole = Totals { findings: Default::default(), ..store.totals(&second).await.expect("totals") };
        assert_eq!(
            Totals { findings: Default::default(), ..store.totals(&part).await.expect("totals") },
            whole
        );
        let steps = store.timeline(&second, 120).await.expect("timeline");
        assert_eq!(steps.iter().map(|step| step.at).collect::<Vec<_>>(), [at(day).expect("a time")]);
        let sum = |steps: &[store::answer::TimelineBucket]| {
            let flows: u64 = steps.iter().flat_map(|step| step.flows.values()).sum();
            (flows, steps.iter().map(|step| step.violating).sum::<u64>())
        };
        assert_eq!(sum(&steps), sum(&timeline));
        let cut = Query { since: at(day - 1), until: at(day), ..Query::default() };
        assert_eq!(store.timeline(&cut, 120).await.expect("timeline").len(), 1);
        assert!(
            store
                .timeline(&Query { since: at(3 * day), ..Query::default() }, 9)
                .await
                .expect("timeline")
                .is_empty()
        );
        // What only flows tell is not told.
        let named = Query {
            community_id: vec![sample(1, 100, Class::Mtls, None).flow.community_id()],
            ..Query::default()
        };
        assert!(store.matrix(&named).await.expect("matrix").is_empty());
        assert!(store.edges(&named, &Paging::first(10)).await.expect("edges").rows.is_empty());
    })
    .await;
}

/// Shapes whose flows are gone stay as long as their sums do, however old they are.
#[tokio::test]
async fn the_words_of_edges_stay_as_long_as_they_do() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "words", async |name| {
        let store = open(&server, &name).await;
        store.record(kept()).await.expect("a batch is kept");
        let edges = store.edges(&Query::default(), &Paging::first(1000)).await.expect("edges").rows;
        keep(&store, days(20)).await;
        dropped(&server, &name).await;
        // As they will be some days later, with one beside them that was never in use.
        for sql in [
            format!("CREATE TABLE {name}.copy AS {name}.shape"),
            format!("INSERT INTO {name}.copy SELECT * REPLACE (toDateTime(1) AS sent) FROM {name}.shape"),
            format!("INSERT INTO {name}.copy SELECT * REPLACE (1 AS hash) FROM {name}.copy LIMIT 1"),
            format!("EXCHANGE TABLES {name}.copy AND {name}.shape"),
        ] {
            server.run(&sql).await;
        }
        keep(&store, days(20)).await;
        server.changed(&name).await;
        assert_eq!(store.edges(&Query::default(), &Paging::first(1000)).await.expect("edges").rows, edges);
        let shapes = format!("SELECT count() FROM {name}.shape WHERE hash = 1");
        assert_eq!(server.client().query(&shapes).fetch_one::<u64>().await.expect("a count"), 0);
    })
    .await;
}

#[tokio::test]
async fn a_day_is_summed_up_anew_until_its_flows_are_due_and_never_after() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "late", async |name| {
        with_database(&server, "whole", async |whole| {
            // One loses its flows, the other one keeps them.
            let (store, other) = (open(&server, &name).await, open(&server, &whole).await);
            let both = async |batch: Batch| {
                store.record(batch.clone()).await.expect("a batch is kept");
                other.record(batch).await.expect("a batch is kept");
            };
            let flows = |flows| Batch { flows, ..Batch::default() };
            let all = Query::default();
            let bad = Some(("OB01", Severity::Critical));
            both(flows(vec![
                sample(1, noon(6), Class::Mtls, None),
                sample(2, noon(5), Class::Mtls, None),
                sample(3, noon(5), Class::Plaintext, bad),
                sample(4, noon(4), Class::Mtls, None),
                sample(14, noon(4), Class::Mtls, None),
                sample(5, noon(0), Class::Mtls, None),
            ]))
            .await;
            keep(&store, days(20)).await;
            assert_eq!(flows_from(&store).await, None);
            // Late flows, one sent again, one that is reported otherwise, and one that is to be there no more.
            both(flows(vec![
                sample(6, noon(5) + 7, Class::Tls, None),
                sample(2, noon(5), Class::Mtls, None),
                sample(3, noon(5), Class::Mtls, None),
                sample(7, noon(7), Class::Plaintext, bad),
            ]))
            .await;
            both(Batch { gone: vec![sample(4, noon(4), Class::Mtls, None)], ..Batch::default() }).await;
            assert_eq!(told(&store, &all).await, told(&other, &all).await);
            keep(&store, days(20)).await;
            let sums = async || {
                let sums = format!("SELECT toString(day) AS day, flows FROM {name}.edge ORDER BY day, flows");
                let sums: Vec<(String, i64)> = server.client().query(&sums).fetch_all().await.expect("sums");
                sums.into_iter().map(|(_, flows)| flows).collect::<Vec<_>>()
            };
            assert_eq!(sums().await, [1, 1, 1, 2, 1]);
            // What goes here, this test takes away.
            server.run(&format!("SYSTEM STOP TTL MERGES {name}.flow")).await;
            // From now on flows are kept for two days: the sums count before the server drops a flow.
            keep(&store, days(2)).await;
            assert_eq!(flows_from(&store).await, Some(noon(3) - (DAY / 2).cast_signed()));
            assert_eq!(told(&store, &all).await, told(&other, &all).await);
            // Whatever is left of a day that is due changes nothing of it.
            for change in [
                "DELETE WHERE bitAnd(id, 1) = 1 AND start < now() - INTERVAL 2 DAY",
                "DELETE WHERE start < now() - INTERVAL 2 DAY",
            ] {
                server.run(&format!("ALTER TABLE {name}.flow {change} SETTINGS mutations_sync = 1")).await;
                for _ in 0..2 {
                    assert_eq!(told(&store, &all).await, told(&other, &all).await);
                    keep(&store, days(2)).await;
                }
            }
            // A flow that comes too late is not counted; kept for longer again, what is gone stays what it was.
            record(&store, vec![sample(9, noon(6), Class::Plaintext, bad)]).await;
            keep(&store, days(30)).await;
            keep(&store, days(30)).await;
            assert_eq!(told(&store, &all).await, told(&other, &all).await);
            both(flows(vec![sample(8, noon(1), Class::Tls, None)])).await;
            assert_eq!(told(&store, &all).await, told(&other, &all).await);
        })
        .await;
    })
    .await;
}

/// From six hours before its flows go a day is told by its sums, and what comes until shortly before that is in the next ones.
#[tokio::test]
async fn a_day_that_is_told_by_its_sums_is_summed_up_anew_while_all_its_flows_are_there() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "latest", async |name| {
        with_database(&server, "latest_whole", async |whole| {
            let (store, other) = (open(&server, &name).await, open(&server, &whole).await);
            let both = async |flows: Vec<Judged>| {
                record(&store, flows.clone()).await;
                record(&other, flows).await;
            };
            let all = Query::default();
            both(vec![sample(1, noon(5), Class::Mtls, None), sample(2, noon(1), Class::Mtls, None)]).await;
            // The first of these flows may go in three hours.
            let ends = noon(4).cast_unsigned() - DAY / 2;
            let flows = Duration::from_secs(now() + 3 * 3600 - ends);
            keep(&store, flows).await;
            assert_eq!(flows_from(&store).await, Some(ends.cast_signed()), "it is told by its sums");
            assert_eq!(store.late(), 0);
            let before = told(&store, &all).await;
            both(vec![sample(3, noon(5) + 7, Class::Tls, None), sample(4, noon(1), Class::Tls, None)]).await;
            assert_eq!(store.late(), 1);
            assert_ne!(told(&store, &all).await, before);
            assert_ne!(told(&store, &all).await, told(&other, &all).await);
            keep(&store, flows).await;
            assert_eq!(told(&store, &all).await, told(&other, &all).await);
            // Sums that another collector took before that flow came, and put there after.
            server
                .run(&format!("ALTER TABLE {name}.edge UPDATE flows = 7 WHERE 1 SETTINGS mutations_sync = 1"))
                .await;
            assert_ne!(told(&store, &all).await, told(&other, &all).await);
            keep(&store, flows).await;
            assert_eq!(told(&store, &all).await, told(&other, &all).await);
            // A little less than the margin before its flows go, it stays what it is.
            let flows = flows - Duration::from_secs(3 * 3600 - 1000);
            keep(&store, flows).await;
            record(&store, vec![sample(5, noon(5), Class::Tls, None)]).await;
            keep(&store, flows).await;
            assert_eq!(told(&store, &all).await, told(&other, &all).await);
        })
        .await;
    })
    .await;
}

/// Some of its flows may be gone already: its sums would be told as if they were all.
#[tokio::test]
async fn a_day_that_is_due_before_it_was_summed_up_is_not() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "overdue", async |name| {
        let store = open(&server, &name).await;
        store.keep(Some(days(2)), Timestamp::from_nanos(0)).await.expect("the server is told");
        server.run(&format!("SYSTEM STOP TTL MERGES {name}.flow")).await;
        record(&store, vec![sample(1, noon(9), Class::Mtls, None), sample(2, noon(1), Class::Mtls, None)])
            .await;
        keep(&store, days(2)).await;
        let summed = format!("SELECT count() FROM {name}.edge");
        assert_eq!(server.client().query(&summed).fetch_one::<u64>().await.expect("a count"), 1);
        // It is not lengthened to a time at which they would have been there.
        store.keep_edges(days(30), YEAR).await.expect("days are summed up");
        assert_eq!(server.client().query(&summed).fetch_one::<u64>().await.expect("a count"), 1);
    })
    .await;
}

#[tokio::test]
async fn several_collectors_sum_up_at_once() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "together", async |name| {
        let (one, other) = (open(&server, &name).await, open(&server, &name).await);
        let all = Query::default();
        for turn in 0..4_u64 {
            let flow = |day: u64| sample(u128::from(turn * 100 + day), noon(day), Class::Mtls, None);
            record(&one, (1..12).map(flow).collect()).await;
            let (first, second) = futures::join!(one.keep_edges(days(20), YEAR), other.keep_edges(days(20), YEAR));
            first.and(second).expect("days are summed up");
        }
        let before = told(&one, &all).await;
        let (first, second) = futures::join!(one.keep_edges(days(1), YEAR), other.keep_edges(days(1), YEAR));
        first.and(second).expect("days are summed up");
        server.run(&format!("ALTER TABLE {name}.flow DELETE WHERE start < now() - INTERVAL 3 DAY SETTINGS mutations_sync = 1")).await;
        assert_eq!(told(&other, &all).await, before);
        let left = format!("SELECT count() FROM system.tables WHERE database = '{name}' AND startsWith(name, 'edge_')");
        assert_eq!(server.client().query(&left).fetch_one::<u64>().await.expect("a count"), 0);
    })
    .await;
}

/// The server replaces a partition for two who ask for it at once by what both have.
#[tokio::test]
async fn collectors_that_sum_up_at_once_count_nothing_twice() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "turns", async |name| {
        let mut stores = Vec::new();
        for _ in 0..6 {
            stores.push(open(&server, &name).await);
        }
        for turn in 1..=8_u64 {
            let flow = |day: u64| sample(u128::from(turn * 100 + day), noon(day), Class::Mtls, None);
            record(&stores[0], (4..8).map(flow).collect()).await;
            let summing = stores
                .iter()
                .cloned()
                .map(|store| tokio::spawn(async move { store.keep_edges(days(20), YEAR).await }));
            for summed in summing.collect::<Vec<_>>() {
                summed.await.expect("it ends").expect("days are summed up");
            }
            let sums = format!("SELECT toUInt64(sum(flows)) FROM {name}.edge");
            assert_eq!(server.client().query(&sums).fetch_one::<u64>().await.expect("a sum"), 4 * turn);
        }
    })
    .await;
}

/// It says so rather than wait for ever, and nothing is forgotten meanwhile.
#[tokio::test]
async fn who_finds_another_one_summing_up_comes_again() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "busy", async |name| {
        let store = Clickhouse::open(server.address(&name), Duration::from_secs(2)).await.expect("it opens");
        record(&store, vec![sample(1, noon(5), Class::Mtls, None)]).await;
        let summed = format!("SELECT count() FROM {name}.edge");
        server.run(&format!("CREATE TABLE {name}.edge_taken AS {name}.edge")).await;
        let error = store.keep_edges(days(20), YEAR).await.expect_err("another one sums up").to_string();
        assert!(error.contains("another collector sums up days"), "{error}");
        assert_eq!(server.client().query(&summed).fetch_one::<u64>().await.expect("a count"), 0);
        let ended = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.run(&format!("DROP TABLE {name}.edge_taken SYNC")).await;
        };
        let (done, ()) = futures::join!(store.keep_edges(days(20), YEAR), ended);
        done.expect("it waited");
        assert_eq!(server.client().query(&summed).fetch_one::<u64>().await.expect("a count"), 1);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_killed_while_it_sums_up_counts_nothing_twice() {
    const DAYS: u64 = 100;
    let Some(server) = Server::own("summing") else { return };
    let store =
        Clickhouse::open(server.address("wireproof"), Duration::from_secs(60)).await.expect("it opens");
    let all = Query::default();
    record(&store, (1..=DAYS).map(|day| sample(u128::from(day), noon(day), Class::Mtls, None)).collect())
        .await;
    let before = told(&store, &all).await;
    let summed = "SELECT uniqExact(day) FROM wireproof.edge";
    let taken =
        "SELECT count() FROM system.tables WHERE database = 'wireproof' AND startsWith(name, 'edge_')";
    let mut at_kill = Vec::new();
    // While sums are taken, and while they take the place of days.
    for (sign, more) in [(taken, 0), (summed, 0)] {
        let summing = tokio::spawn({
            let store = store.clone();
            async move { store.keep_edges(days(20), YEAR).await }
        });
        while server.client().query(sign).fetch_one::<u64>().await.expect("a count") <= more {}
        script("kill", &server.name);
        assert!(summing.await.expect("it ends").is_err(), "it was too late to kill it");
        script("up", &server.name);
        assert_eq!(told(&store, &all).await, before);
        at_kill.push(server.client().query(summed).fetch_one::<u64>().await.expect("a count"));
    }
    assert!(at_kill.is_sorted() && at_kill.iter().any(|days| (1..DAYS).contains(days)), "{at_kill:?}");
    let running = Server::up(&server.name, false).expect("it runs");
    // What a killed one left is dropped once it is old.
    let left =
        "SELECT metadata_path FROM system.tables WHERE database = 'wireproof' AND startsWith(name, 'edge_')";
    server.run("CREATE TABLE wireproof.edge_taken_1 AS wireproof.edge").await;
    let paths: Vec<String> = server.client().query(left).fetch_all().await.expect("paths");
    #[expect(clippy::disallowed_methods, reason = "the server tells their age by its clock")]
    let long_ago = SystemTime::now() - Duration::from_secs(DAY);
    for path in &paths {
        let path = Path::new("/proc").join(&running.pid).join("cwd/data").join(path);
        let file = std::fs::File::options().append(true).open(path).expect("the table's statement");
        file.set_modified(long_ago).expect("a time");
    }
    keep(&store, days(20)).await;
    assert_eq!(server.client().query(left).fetch_all::<String>().await.expect("paths"), Vec::<String>::new());
    assert_eq!(told(&store, &all).await, before);
    server.run("ALTER TABLE wireproof.flow DELETE WHERE start < now() - INTERVAL 22 DAY SETTINGS mutations_sync = 1").await;
    assert_eq!(told(&store, &all).await, before);
    assert_eq!(store.flow(FlowId(100)).await.expect("it answers"), None);
}

#[tokio::test]
async fn edges_go_when_their_own_time_is_over() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "past", async |name| {
        let store = open(&server, &name).await;
        record(&store, [50, 3, 1].map(|day| sample(u128::from(day), noon(day), Class::Mtls, None)).to_vec())
            .await;
        store.keep_edges(days(1), days(30)).await.expect("days are summed up");
        store.keep(Some(days(1)), Timestamp::from_nanos(0)).await.expect("the server is told");
        server.run(&format!("OPTIMIZE TABLE {name}.edge FINAL")).await;
        let first = || async { store.coverage().await.expect("coverage").span.first };
        for _ in 0..600 {
            if first().await.is_some_and(|first| first.as_nanos() / 1_000_000_000 == noon(3)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the first is of {:?}", first().await);
    })
    .await;
}
