//! The schema: what older versions left, how long flows are kept, a cluster's statements.

use std::time::Duration;

use flow::Class;
use store::clickhouse::{Clickhouse, Layout, PATIENCE, statements};
use store::error::StoreError;
use store::query::{Paging, Query};
use store::sample::sample;
use store::sightings::Found;
use store::{Batch, Store, contract};

use crate::older::{kept, mesh, told_again};
use crate::{Server, batch, conforming, open, with_database};

#[tokio::test]
async fn an_older_schema_is_brought_up_to_date_and_keeps_its_flows() {
    let Some(server) = Server::shared() else { return };
    with_database(&server, "older", async |name| {
        open(&server, &name).await.record(batch(0..3)).await.expect("a batch is kept");
        for sql in
            ["DROP TABLE mesh", "DROP TABLE mesh_since", "DROP TABLE edge", "TRUNCATE TABLE wireproof_schema"]
        {
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
    what_was_kept_is_there(3, include_str!("../older/clickhouse-3.sql"), |name| match name {
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
    what_was_kept_is_there(5, include_str!("../older/clickhouse-5.sql"), |_| None).await;
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
            let edges = fresh.edges(&Query::default(), &Paging::first(1000)).await.expect("edges").rows;
            migrated.keep_edges(Duration::from_secs(86_400), Duration::from_secs(400 * 86_400)).await.expect("days are summed up");
            server.run(&format!("TRUNCATE TABLE {before}.flow")).await;
            let kept = migrated.edges(&Query::default(), &Paging::first(1000)).await.expect("edges").rows;
            assert_eq!(kept, edges);
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

/// Without a Keeper nothing replicates here: the server reads every statement, and that is all that this shows.
#[tokio::test]
async fn every_statement_for_a_cluster_reads() {
    let Some(server) = Server::shared() else { return };
    let all = statements(&Layout::Cluster("fleet".into()));
    assert!(all.iter().all(|sql| sql.contains("ON CLUSTER 'fleet'")), "{all:?}");
    assert_eq!(all.iter().filter(|sql| sql.contains("ENGINE = Replicated")).count(), 7);
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
            .query_raw("INSERT INTO wireproof_schema (version) VALUES (10)")
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
    let contested = store.contested(Duration::from_secs(600)).await.expect("it answers").expect("two wrote");
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
    // The sums are of both shards, on one server: of a cluster every server has them. That its statement goes to all of them is left out here.
    let year = Duration::from_secs(400 * 86_400);
    let before = store.edges(&Query::default(), &Paging::first(10)).await.expect("edges").rows;
    let ttl = "MODIFY TTL toDateTime(day, 'UTC') + toIntervalSecond(34646400)";
    server.run(&format!("ALTER TABLE {}.edge {ttl}", shards[0])).await;
    store.keep_edges(Duration::from_secs(20 * 86_400), year).await.expect("days are summed up");
    assert_eq!(
        store.coverage().await.expect("coverage").flows_from,
        Some(flow::Timestamp::from_nanos(86_400_000_000_000))
    );
    assert_eq!(store.edges(&Query::default(), &Paging::first(10)).await.expect("edges").rows, before);
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
