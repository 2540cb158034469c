//! Flows that are taken out again.

use flow::{Class, FlowId};

use super::{CRITICAL, record};
use crate::query::{Paging, Query};
use crate::sample::sample;
use crate::{Batch, Store};

pub(super) async fn what_is_gone_counts_no_more(store: &dyn Store) {
    let flows = vec![
        sample(1, 100, Class::Plaintext, CRITICAL),
        sample(2, 200, Class::Plaintext, CRITICAL),
        sample(3, 300, Class::Mtls, None),
    ];
    record(store, flows.clone()).await;
    let mut never = sample(4, 400, Class::Mtls, None);
    never.flow.client.port = 1;
    let gone = vec![flows[0].clone(), flows[2].clone(), never];
    let kept = flows[1].clone();
    for _ in 0..2 {
        let batch = Batch { flows: vec![kept.clone()], gone: gone.clone(), ..Batch::default() };
        store.record(batch).await.expect("a batch is kept");
        let (all, first) = (Query::default(), Paging::first(10));
        assert_eq!(store.flows(&all, &first).await.expect("flows").rows, std::slice::from_ref(&kept));
        let edges = store.edges(&all, &first).await.expect("edges").rows;
        assert_eq!(
            edges.iter().map(|edge| (edge.class, edge.flows)).collect::<Vec<_>>(),
            [(Class::Plaintext, 1)]
        );
        let found = store.violations(&all, &first).await.expect("violations").rows;
        assert_eq!(found.iter().map(|finding| finding.flows).collect::<Vec<_>>(), [1]);
        assert_eq!(store.flow(FlowId(1)).await.expect("flow"), None);
    }
    // And it may come again.
    record(store, flows).await;
    assert_eq!(store.totals(&Query::default()).await.expect("totals").judgements["violates"], 2);
}
