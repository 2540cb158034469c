//! Several collectors on one database, and several batches of one.

use std::time::Duration;

use flow::{Class, FlowId};
use store::clickhouse::Clickhouse;
use store::query::{Paging, Query};
use store::sample::sample;
use store::sightings::{Contested, Found};
use store::{Batch, Store};

use crate::{Server, batch, conforming, open, with_database};

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
            found.into_iter().flatten().map(|found| (found.judged.flow.id.0 >> 64, found.times)).collect::<Vec<_>>()
        };
        // The first half of each name is its own.
        let batch = |ids: std::ops::Range<u128>| {
            let flows = ids.map(|id| sample(id << 64, 100, Class::Mtls, None));
            Batch { flows: flows.collect(), ..Batch::default() }
        };
        store.record(batch(0..5)).await.expect("a batch is kept");
        assert_eq!(store.contested(Duration::from_secs(600)).await.expect("it answers"), None, "nobody else wrote");
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
        let look = async || one.contested(Duration::from_secs(600)).await.expect("it answers").expect("two wrote");
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
            found.into_iter().flatten().map(|found| (found.judged.flow.id.0 >> 64, found.times)).collect::<Vec<_>>()
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
