//! More flows with the same numbers than a connection has sightings.

use analyzer::report::Judged;
use flow::{Class, FlowId, TcpHandshake, Timestamp};

use super::record;
use crate::Store;
use crate::sample::sample;
use crate::sightings::{MOST, Sought};

/// So many reports has each flow: a store that keeps what they replace does not run out of room for the flows.
const REPORTS: u64 = 3;

pub(super) async fn of_many_alike_the_first_are_found(store: &dyn Store) {
    let many = i64::try_from(10 * MOST).expect("small");
    let made = |opening: u64, nanos: i64, handshake: Option<u64>| {
        let mut judged = sample(0, 0, Class::Mtls, None);
        judged.flow.start = Timestamp::from_nanos(100_000_000_000 + nanos);
        judged.flow.end = judged.flow.start;
        judged.flow.id = FlowId::of_opening(opening, judged.flow.start);
        judged.flow.tcp_handshake = handshake.map(TcpHandshake);
        judged
    };
    // Of one opening, of one handshake, and one of each that is alone.
    let opened: Vec<_> = (0..many).map(|at| made(7, at, None)).collect();
    let shaken: Vec<_> = (0..many).map(|at| made(1000 + at.unsigned_abs(), at, Some(5))).collect();
    let alone = [made(8, 1_000_000, None), made(9, 1_000_000, Some(6))];
    for report in 0..REPORTS {
        let mut flows = [opened.clone(), shaken.clone(), alone.to_vec()].concat();
        flows.iter_mut().for_each(|judged| judged.flow.bytes.server = report);
        record(store, flows).await;
    }
    let find = async |sought: &[&Judged]| {
        let sought: Vec<Sought> = sought.iter().map(|judged| Sought::from(&judged.flow)).collect();
        let mut found = store.sightings(&sought).await.expect("sightings");
        assert!(found.iter().all(|judged| judged.flow.bytes.server == REPORTS - 1), "the last reports");
        found.sort_by_key(|judged| (judged.flow.start, judged.flow.id));
        found.into_iter().map(|judged| judged.flow.id).collect::<Vec<_>>()
    };
    let ids = |flows: &[Judged]| flows.iter().take(MOST).map(|judged| judged.flow.id).collect::<Vec<_>>();
    assert_eq!(find(&[&opened[3]]).await, ids(&opened));
    // A flow is found by its own opening however many have its handshake.
    let last = &shaken[shaken.len() - 1];
    assert_eq!(find(&[last]).await, [ids(&shaken), vec![last.flow.id]].concat());
    assert_eq!(find(&[&alone[0], &alone[1]]).await.len(), 2);
    assert_eq!(find(&[&opened[0], last, &alone[0], &alone[1]]).await.len(), 2 * MOST + 3);
}
