//! Questions by Community ID.

use analyzer::report::{Judged, Judgement};
use flow::{Class, CommunityId, Flow, Timestamp, Transport};

use super::{CRITICAL, MEDIUM, record};
use crate::Store;
use crate::query::{Paging, Query};
use crate::sample::sample;

pub(super) async fn flows_are_found_by_it(store: &dyn Store) {
    let one = |id: u128, start, port, violation| {
        let mut judged = sample(id, start, Class::Plaintext, violation);
        judged.flow.client.port = port;
        judged
    };
    // Ports that come again later, another port, and the other direction: whoever opened, the ends are the same.
    let mut back = one(3, 300, 1000, None);
    std::mem::swap(&mut back.flow.client, &mut back.flow.server);
    let udp = {
        let mut judged = one(6, 600, 1000, None);
        judged.flow.transport = Transport::Udp;
        judged
    };
    let apart = 3 * 86_400;
    let kept = vec![
        one(1, 100, 1000, CRITICAL),
        one(2, 200, 1001, CRITICAL),
        back,
        one(4, apart, 1000, MEDIUM),
        one(5, 500, 1002, None),
        udp,
    ];
    let name = |at: usize| kept[at].flow.community_id();
    record(store, kept.clone()).await;
    let at = |seconds: i64| Some(Timestamp::from_nanos(seconds * 1_000_000_000));
    let strange = CommunityId::new(Transport::Tcp, kept[0].flow.client, kept[0].flow.client);
    let all = Query::default;
    for (query, ids, edges, findings) in [
        (Query { community_id: vec![name(0)], ..all() }, &[4, 3, 1][..], 2, 2),
        (Query { community_id: vec![name(1), name(4), strange], ..all() }, &[5, 2], 1, 1),
        (Query { community_id: vec![name(5)], ..all() }, &[6], 1, 0),
        (Query { community_id: vec![strange], ..all() }, &[], 0, 0),
        (Query { community_id: vec![name(0)], since: at(200), ..all() }, &[4, 3], 2, 2),
        (Query { community_id: vec![name(0)], until: at(250), ..all() }, &[1], 1, 1),
        (Query { community_id: vec![name(0)], id: vec!["OB02".into()], ..all() }, &[4], 1, 1),
        (Query { community_id: vec![name(4)], judgement: vec![Judgement::Violates], ..all() }, &[], 0, 0),
    ] {
        let page = store.flows(&query, &Paging::first(10)).await.expect("flows").rows;
        assert_eq!(page.iter().map(|judged| judged.flow.id.0).collect::<Vec<_>>(), ids, "{query:?}");
        let found = store.edges(&query, &Paging::first(10)).await.expect("edges").rows;
        assert_eq!(found.len(), edges, "edges for {query:?}");
        let found = store.violations(&query, &Paging::first(10)).await.expect("violations").rows;
        assert_eq!(found.len(), findings, "violations for {query:?}");
        let tallies = store.violations_summary(&query).await.expect("summary");
        assert_eq!(tallies.iter().map(|tally| tally.findings).sum::<u64>(), findings as u64, "{query:?}");
        let totals = store.totals(&query).await.expect("totals");
        let counted: u64 = totals.flows.values().flat_map(|of| of.values()).sum();
        let cells = store.matrix(&query).await.expect("matrix");
        let crossed: u64 = cells.iter().flat_map(|cell| cell.flows.values()).flat_map(|of| of.values()).sum();
        let steps = store.timeline(&query, 2).await.expect("timeline");
        let stepped: u64 = steps.iter().flat_map(|step| step.flows.values()).sum();
        assert_eq!([counted, crossed, stepped], [ids.len() as u64; 3], "{query:?}");
        assert_eq!(totals.findings.values().sum::<u64>(), findings as u64, "{query:?}");
    }
    // Page by page, and after the only flow of an edge that had the name has become another edge's.
    let query = Query { community_id: vec![name(0)], ..all() };
    let page = store.flows(&query, &Paging::first(2)).await.expect("flows");
    let rest = store.flows(&query, &Paging { limit: 2, cursor: page.next_cursor }).await.expect("flows");
    assert_eq!(rest.rows.iter().map(|judged| judged.flow.id.0).collect::<Vec<_>>(), [1]);
    let mut moved = one(2, 200, 1001, None);
    moved.flow.server.port = 8080;
    record(store, vec![Judged { flow: Flow { protocol: None, ..moved.flow.clone() }, ..moved }]).await;
    let query = Query { community_id: vec![name(1)], ..all() };
    let found = store.edges(&query, &Paging::first(10)).await.expect("edges").rows;
    assert_eq!(found.iter().map(|edge| (edge.protocol, edge.flows)).collect::<Vec<_>>(), [(None, 1)]);
    assert!(store.violations(&query, &Paging::first(10)).await.expect("violations").rows.is_empty());
}
