//! What every backend does: one suite, called with a way to make an empty store.

#![expect(clippy::expect_used, reason = "a suite of tests stops where an answer is missing")]

mod community_id;
mod crowd;
mod gone;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use analyzer::mesh::Manifest;
use analyzer::report::{Certainty, Judged, Judgement, SetAside, Severity};
use flow::{Class, Coverage, Endpoint, FlowId, PerSide, Proof, TcpHandshake, Timestamp, Transport};

use crate::answer::{MeshSnapshot, Sources, Span};
use crate::query::{Paging, Query};
use crate::sample::{Sample, sample};
use crate::sightings::Sought;
use crate::{Batch, Store};

const CRITICAL: Option<(&str, Severity)> = Some(("OB01", Severity::Critical));
const MEDIUM: Option<(&str, Severity)> = Some(("OB02", Severity::Medium));

/// Runs the suite; each part has a fresh store.
///
/// # Panics
///
/// Where the backend does not do as the trait says.
pub async fn check<F, Fut>(fresh: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    an_empty_store_answers(&*fresh().await).await;
    a_flow_recorded_again_counts_once(&*fresh().await).await;
    a_flow_that_changes_moves(&*fresh().await).await;
    a_flow_that_moves_takes_its_bytes_along(&*fresh().await).await;
    gone::what_is_gone_counts_no_more(&*fresh().await).await;
    other_sightings_are_found(&*fresh().await).await;
    other_sides_are_found_and_kept(&*fresh().await).await;
    crowd::of_many_alike_the_first_are_found(&*fresh().await).await;
    a_connection_counts_on_one_side_of_a_translation(&*fresh().await).await;
    findings_gather_their_flows(&*fresh().await).await;
    every_filter_narrows(&*fresh().await).await;
    community_id::flows_are_found_by_it(&*fresh().await).await;
    notes_of_flows_that_violate_nothing_are_findings(&*fresh().await).await;
    pages_stay_while_rows_arrive(&*fresh().await).await;
    totals_agree(&*fresh().await).await;
    coverage_is_by_source(&*fresh().await).await;
    meshes_are_kept_by_content(&*fresh().await).await;
    the_mesh_in_force_is_known_for_any_time(&*fresh().await).await;
    what_began_long_ago_is_forgotten(&*fresh().await).await;
}

/// Flows of several days, edges, outcomes and findings, as a store may have kept for long.
///
/// # Panics
///
/// Never: the numbers are small.
#[must_use]
pub fn many() -> Vec<Judged> {
    let ip = |text: &str| text.parse().expect("an address");
    let one = |number: u32| {
        let violation = [None, CRITICAL, MEDIUM, Some(("OB21", Severity::Info))][number as usize % 4];
        let class = [Class::Plaintext, Class::Mtls, Class::Tls][number as usize % 3];
        let mut judged = sample(u128::from(number), i64::from(number) * 1_000, class, violation);
        judged.flow.client.port = u16::try_from(number).expect("small");
        let flow = &mut judged.flow;
        match number % 11 {
            1 => flow.transport = Transport::Udp,
            2 => std::mem::swap(&mut flow.client.ip, &mut flow.server.ip),
            // One address at both ends, its client's port above and below the server's.
            3 => flow.client = Endpoint { ip: flow.server.ip, port: 8_080 + 100 - flow.client.port },
            4 => [flow.client.ip, flow.server.ip] = ["2001:db8::9", "2001:db8:0:1::"].map(ip),
            5 => [flow.client.ip, flow.server.ip] = ["::ffff:10.0.0.9", "::1"].map(ip),
            _ => {}
        }
        judged.flow.bytes.server = u64::from(number);
        let aside = [(5, SetAside::Probe), (7, SetAside::Translated)];
        if let Some((_, reason)) = aside.into_iter().find(|(every, _)| number.is_multiple_of(*every)) {
            (judged.judgement, judged.set_aside) = (Judgement::Exempt, Some(reason));
            judged.violations.clear();
        }
        judged
    };
    (1..=250).map(one).collect()
}

/// Asks two stores all questions.
///
/// # Panics
///
/// Where their answers differ.
pub async fn answer_alike(one: &dyn Store, other: &dyn Store) {
    let first = Paging::first(1000);
    let since = Some(Timestamp::from_nanos(100_000_500_000_000));
    let all = one.flows(&Query::default(), &first).await.expect("flows").rows;
    let community_id = all.iter().step_by(3).map(|judged| judged.flow.community_id()).collect();
    let named = Query { community_id, ..Query::default() };
    for query in [Query::default(), Query { since, ..Query::default() }, named] {
        macro_rules! same {
            ($($ask:ident($($value:expr),*)),*) => {
                $(assert_eq!(
                    one.$ask($($value),*).await.expect(stringify!($ask)),
                    other.$ask($($value),*).await.expect(stringify!($ask)),
                );)*
            };
        }
        same!(flows(&query, &first), edges(&query, &first), violations(&query, &first));
        same!(violations_summary(&query), matrix(&query), totals(&query), timeline(&query, 10));
        same!(coverage(), latest_mesh(), meshes());
    }
}

async fn record(store: &dyn Store, flows: Vec<Judged>) {
    store.record(Batch { flows, ..Batch::default() }).await.expect("a batch is kept");
}

async fn an_empty_store_answers(store: &dyn Store) {
    let (all, first) = (Query::default(), Paging::first(10));
    store.ping().await.expect("it answers");
    assert!(store.flows(&all, &first).await.expect("flows").rows.is_empty());
    assert!(store.edges(&all, &first).await.expect("edges").rows.is_empty());
    assert!(store.violations(&all, &first).await.expect("violations").rows.is_empty());
    assert!(store.violations_summary(&all).await.expect("summary").is_empty());
    assert!(store.matrix(&all).await.expect("matrix").is_empty());
    assert!(store.timeline(&all, 10).await.expect("timeline").is_empty());
    assert_eq!(store.totals(&all).await.expect("totals").span, Span::default());
    assert_eq!(store.coverage().await.expect("coverage"), Sources::default());
    assert_eq!(store.flow(FlowId(1)).await.expect("flow"), None);
    assert_eq!(store.violation("0").await.expect("violation"), None);
    assert_eq!(store.latest_mesh().await.expect("mesh"), None);
    assert_eq!(store.mesh_at(Timestamp::from_nanos(i64::MAX)).await.expect("mesh"), None);
    store
        .keep(Some(Duration::from_secs(1)), Timestamp::from_nanos(i64::MAX))
        .await
        .expect("nothing is forgotten");
}

async fn a_flow_recorded_again_counts_once(store: &dyn Store) {
    let judged = sample(1, 100, Class::Plaintext, CRITICAL);
    for _ in 0..3 {
        record(store, vec![judged.clone(), judged.clone()]).await;
    }
    let (all, first) = (Query::default(), Paging::first(10));
    assert_eq!(store.flow(FlowId(1)).await.expect("flow"), Some(judged.clone()));
    assert_eq!(store.flows(&all, &first).await.expect("flows").rows, [judged]);
    let edges = store.edges(&all, &first).await.expect("edges").rows;
    assert_eq!(
        edges.iter().map(|edge| (edge.flows, edge.violating, edge.bytes)).collect::<Vec<_>>(),
        [(1, 1, 100)]
    );
    let found = store.violations(&all, &first).await.expect("violations").rows;
    assert_eq!(found.iter().map(|finding| finding.flows).collect::<Vec<_>>(), [1]);
}

async fn a_flow_that_changes_moves(store: &dyn Store) {
    record(store, vec![sample(1, 100, Class::Plaintext, CRITICAL), sample(2, 90, Class::Mtls, None)]).await;
    let mut ended = sample(1, 100, Class::Mtls, None);
    ended.flow.end = Timestamp::from_nanos(500_000_000_000);
    record(store, vec![ended]).await;
    let (all, first) = (Query::default(), Paging::first(10));
    let edges = store.edges(&all, &first).await.expect("edges").rows;
    let told: Vec<_> = edges
        .iter()
        .map(|edge| {
            (edge.class, edge.flows, edge.violating, edge.first_seen.as_nanos(), edge.last_seen.as_nanos())
        })
        .collect();
    assert_eq!(told, [(Class::Mtls, 2, 0, 90_000_000_000, 500_000_000_000)]);
    assert!(store.violations(&all, &first).await.expect("violations").rows.is_empty());
}

async fn a_flow_that_moves_takes_its_bytes_along(store: &dyn Store) {
    let of = |id: u128, bytes: u64, class| {
        let violation = if class == Class::Plaintext { CRITICAL } else { None };
        let mut judged = sample(id, 100, class, violation);
        judged.flow.bytes = PerSide { client: bytes, server: 0 };
        judged
    };
    record(store, vec![of(1, 10, Class::Plaintext), of(2, 200, Class::Plaintext)]).await;
    record(store, vec![of(1, 3_000, Class::Mtls)]).await;
    let edges = store.edges(&Query::default(), &Paging::first(10)).await.expect("edges").rows;
    let mut told: Vec<_> = edges.iter().map(|edge| (edge.class.name(), edge.flows, edge.bytes)).collect();
    told.sort_unstable();
    assert_eq!(told, [("mtls", 1, 3_000), ("plaintext", 1, 200)]);
}

async fn other_sightings_are_found(store: &dyn Store) {
    let opened = |opening, start| {
        let id = FlowId::of_opening(opening, Timestamp::from_nanos(start * 1_000_000_000));
        sample(id.0, start, Class::Mtls, None)
    };
    let kept = [
        opened(7, 100),
        opened(7, 103),
        opened(7, 120),
        opened(u64::MAX, 100),
        sample(7, 100, Class::Mtls, None),
    ];
    record(store, kept.to_vec()).await;
    let of = |id: FlowId| {
        let [opening, start] = id.halves();
        let start = Timestamp::from_nanos(start.cast_signed());
        Sought { opening: Some(opening), tcp_handshake: None, start }
    };
    let find = async |ids: &[FlowId]| {
        let sought: Vec<_> = ids.iter().map(|id| of(*id)).collect();
        let mut found = store.sightings(&sought).await.expect("sightings");
        found.sort_by_key(|judged| judged.flow.id);
        found
    };
    let [one, near, late, other, joined] = kept;
    assert_eq!(find(&[opened(7, 98).flow.id]).await, [one.clone(), near.clone()]);
    assert_eq!(find(&[late.flow.id, other.flow.id, one.flow.id]).await, [one, near, late, other]);
    assert!(find(&[]).await.is_empty());
    // As many as a collector asks for at once.
    let many: Vec<_> = (1..20_000).map(|opening| opened(u64::MAX - opening, 98).flow.id).collect();
    assert_eq!(find(&[many, vec![opened(7, 98).flow.id]].concat()).await.len(), 2);
    assert!(find(&[opened(8, 100).flow.id, opened(7, 50).flow.id]).await.is_empty());
    assert_eq!(store.flow(FlowId(7)).await.expect("flow"), Some(joined));
}

async fn other_sides_are_found_and_kept(store: &dyn Store) {
    let side = |id: u128, start, handshake| {
        let mut judged = sample(id, start, Class::Mtls, None);
        judged.flow.tcp_handshake = Some(TcpHandshake(handshake));
        judged
    };
    let (one, late) = (side(1, 100, u64::MAX), side(3, 120, u64::MAX));
    let mut other = side(2, 103, u64::MAX);
    record(store, vec![one.clone(), other.clone(), late, side(4, 100, 8), sample(5, 100, Class::Mtls, None)])
        .await;
    // Found after it was kept, and told by it from then on.
    other.translated = Some((&one.flow).into());
    for _ in 0..2 {
        record(store, vec![other.clone()]).await;
    }
    let mut found = store.sightings(&[Sought::from(&one.flow)]).await.expect("sightings");
    found.sort_by_key(|judged| judged.flow.id);
    assert_eq!(found, [one, other.clone()]);
    assert_eq!(store.flow(FlowId(2)).await.expect("flow").as_ref(), Some(&other));
    let totals = store.totals(&Query::default()).await.expect("totals");
    assert_eq!(totals.judgements["conforms"], 5);
    other.translated = None;
    record(store, vec![other.clone()]).await;
    assert_eq!(store.flow(FlowId(2)).await.expect("flow"), Some(other));
}

async fn a_connection_counts_on_one_side_of_a_translation(store: &dyn Store) {
    let pair = |id: u128, start, class| {
        let kept = sample(id, start, class, CRITICAL);
        let mut aside = sample(id + 1, start, class, CRITICAL);
        aside.translated = Some((&kept.flow).into());
        aside.judgement = Judgement::Exempt;
        aside.set_aside = Some(SetAside::Translated);
        aside.violations.clear();
        [kept, aside]
    };
    let mut probe = sample(5, 300, Class::Plaintext, None);
    (probe.judgement, probe.set_aside) = (Judgement::Exempt, Some(SetAside::Probe));
    record(store, [pair(1, 100, Class::Plaintext), pair(3, 200, Class::Mtls)].concat()).await;
    record(store, vec![probe]).await;
    let at = |seconds: i64| Some(Timestamp::from_nanos(seconds * 1_000_000_000));
    let all = Query::default;
    for (query, plaintext, mtls, exempt, translated) in [
        (all(), 2, 1, 1, 2),
        (Query { since: at(0), ..all() }, 2, 1, 1, 2),
        (Query { until: at(200), ..all() }, 1, 0, 0, 1),
        (Query { class: vec![Class::Mtls], ..all() }, 0, 1, 0, 1),
        (Query { judgement: vec![Judgement::Exempt], ..all() }, 1, 0, 1, 2),
    ] {
        let totals = store.totals(&query).await.expect("totals");
        let of = |class: &str| totals.flows.get(class).map_or(0, |proofs| proofs.values().sum());
        let exempted = totals.judgements.get("exempt").copied().unwrap_or(0);
        assert_eq!(
            (of("plaintext"), of("mtls"), exempted, totals.translated),
            (plaintext, mtls, exempt, translated),
            "{query:?}"
        );
        let cells = store.matrix(&query).await.expect("matrix");
        let told: u64 = cells.iter().flat_map(|cell| cell.flows.values()).flat_map(|of| of.values()).sum();
        let steps = store.timeline(&query, 2).await.expect("timeline");
        let stepped: u64 = steps.iter().flat_map(|step| step.flows.values()).sum();
        assert_eq!((told, stepped), (plaintext + mtls, plaintext + mtls), "{query:?}");
    }
    assert_eq!(store.flows(&all(), &Paging::first(10)).await.expect("flows").rows.len(), 5);
    let coverage = store.coverage().await.expect("coverage");
    let told = |coverage: &Coverage| (coverage.flows, coverage.from_start, coverage.mid_stream);
    assert_eq!((told(&coverage.total), coverage.translated), ((3, 3, 0), 2));
    // Joined late, on the side that is judged; both sides at two sources; and what has no opening.
    let [mut late, aside] = pair(6, 400, Class::Unknown);
    late.flow.from_start = false;
    let mut datagrams = sample(8, 500, Class::Unknown, None);
    datagrams.flow.transport = Transport::Udp;
    let seen = |packets| Coverage { packets, flows: 3, from_start: 2, mid_stream: 1, ..Coverage::default() };
    let seen = [("a".to_owned(), seen(1)), ("b".to_owned(), seen(2))];
    let batch = Batch {
        flows: vec![late.clone(), aside.clone(), datagrams],
        coverage: seen.into(),
        ..Batch::default()
    };
    store.record(batch).await.expect("a batch is kept");
    let coverage = store.coverage().await.expect("coverage");
    assert_eq!((told(&coverage.total), coverage.translated), ((5, 3, 1), 3));
    assert_eq!((told(&coverage.sources["a"]), coverage.total.packets), ((3, 2, 1), 3));
    // Seen from its start by another agent, which another report tells.
    late.flow.from_start = true;
    record(store, vec![late]).await;
    assert_eq!(told(&store.coverage().await.expect("coverage").total), (5, 4, 0));
    // Once judged on this side after all, it counts here.
    record(store, vec![sample(2, 100, Class::Plaintext, None)]).await;
    let totals = store.totals(&all()).await.expect("totals");
    assert_eq!((totals.flows["plaintext"]["wire"], totals.translated), (3, 2));
    let coverage = store.coverage().await.expect("coverage");
    assert_eq!((told(&coverage.total), coverage.translated), ((6, 5, 0), 2));
}

async fn findings_gather_their_flows(store: &dyn Store) {
    let weak = Sample {
        id: 3,
        start: 300,
        class: Class::Plaintext,
        proof: Proof::Inferred,
        violation: CRITICAL,
        ..Sample::default()
    };
    record(store, vec![weak.judged(), sample(2, 200, Class::Plaintext, CRITICAL)]).await;
    // Of the first one it is only likely.
    let mut likely = sample(1, 100, Class::Plaintext, CRITICAL);
    likely.violations.iter_mut().for_each(|one| Arc::make_mut(one).certainty = Certainty::Likely);
    record(store, vec![likely]).await;
    let found = store.violations(&Query::default(), &Paging::first(10)).await.expect("violations").rows;
    let finding = found.first().expect("one finding");
    assert_eq!((found.len(), finding.flows, finding.proof), (1, 3, Proof::Wire));
    assert_eq!(finding.certainty, Certainty::Certain);
    assert_eq!(finding.first_seen.as_nanos(), 100_000_000_000);
    assert_eq!(finding.last_seen.as_nanos(), 301_000_000_000);
    assert_eq!(finding.examples, [FlowId(1), FlowId(2), FlowId(3)]);
    assert_eq!(store.violation(&finding.key).await.expect("by key").as_ref(), Some(finding));
    let tally = store.violations_summary(&Query::default()).await.expect("summary");
    let told: Vec<_> = tally.iter().map(|tally| (tally.id.as_str(), tally.findings, tally.flows)).collect();
    assert_eq!(told, [("OB01", 1, 3)]);
    // Whichever of its flows fits, the finding is told as a whole.
    for proof in [Proof::Inferred, Proof::Wire] {
        let query = Query { proof: vec![proof], ..Query::default() };
        let found = store.violations(&query, &Paging::first(10)).await.expect("violations").rows;
        assert_eq!(found.iter().map(|finding| finding.flows).collect::<Vec<_>>(), [3], "{proof:?}");
    }
    // A finding states one class: a flow of another one makes a finding of its own.
    record(store, vec![sample(4, 400, Class::Tls, CRITICAL)]).await;
    let found = store.violations(&Query::default(), &Paging::first(10)).await.expect("violations").rows;
    assert_eq!(found.len(), 2);
}

async fn every_filter_narrows(store: &dyn Store) {
    let other = Sample {
        id: 2,
        start: 200,
        client: "web/front",
        server: "cat/search",
        port: 9090,
        class: Class::Plaintext,
        proof: Proof::Wire,
        violation: MEDIUM,
    };
    record(store, vec![sample(1, 100, Class::Mtls, None), other.judged()]).await;
    let all = Query::default;
    let at = |seconds: i64| Some(Timestamp::from_nanos(seconds * 1_000_000_000));
    let cases = [
        (Query { from_namespace: vec!["web".into()], ..all() }, &[2][..]),
        (Query { to_namespace: vec!["pay".into(), "none".into()], ..all() }, &[1]),
        (Query { from_workload: vec!["front".into()], ..all() }, &[2]),
        (Query { to_workload: vec!["cat/search".into()], ..all() }, &[2]),
        (Query { to_workload: vec!["pay/search".into()], ..all() }, &[]),
        (Query { class: vec![Class::Mtls, Class::Tls], ..all() }, &[1]),
        (Query { proof: vec![Proof::Wire], ..all() }, &[2]),
        (Query { id: vec!["OB02".into()], ..all() }, &[2]),
        (Query { severity: vec![Severity::Medium, Severity::High], ..all() }, &[2]),
        (Query { id: vec!["OB02".into()], severity: vec![Severity::High], ..all() }, &[]),
        (Query { port: vec![9090], ..all() }, &[2]),
        (Query { protocol: vec![flow::Protocol::Http1], ..all() }, &[2, 1]),
        (Query { protocol: vec![flow::Protocol::Redis], ..all() }, &[]),
        (Query { judgement: vec![Judgement::Conforms], ..all() }, &[1]),
        (Query { since: at(150), ..all() }, &[2]),
        (Query { until: at(200), ..all() }, &[1]),
        (Query { class: vec![Class::Mtls], port: vec![9090], ..all() }, &[]),
    ];
    for (query, expected) in cases {
        let flows = store.flows(&query, &Paging::first(10)).await.expect("flows").rows;
        assert_eq!(flows.iter().map(|judged| judged.flow.id.0).collect::<Vec<_>>(), expected, "{query:?}");
        let edges = store.edges(&query, &Paging::first(10)).await.expect("edges").rows;
        assert_eq!(edges.len(), expected.len(), "edges for {query:?}");
        let cells = store.matrix(&query).await.expect("matrix");
        assert_eq!(cells.len(), expected.len(), "matrix for {query:?}");
        let found = store.violations(&query, &Paging::first(10)).await.expect("violations").rows;
        assert_eq!(found.len(), usize::from(expected.contains(&2)), "findings for {query:?}");
    }
}

async fn notes_of_flows_that_violate_nothing_are_findings(store: &dyn Store) {
    let note = sample(1, 100, Class::Plaintext, Some(("OB21", Severity::Info)));
    assert_eq!(note.judgement, Judgement::Conforms);
    record(store, vec![note, sample(2, 200, Class::Plaintext, CRITICAL)]).await;
    let all = Query::default;
    let cases = [
        (all(), &["OB01", "OB21"][..]),
        (Query { id: vec!["OB21".into()], ..all() }, &["OB21"]),
        (Query { severity: vec![Severity::Info], ..all() }, &["OB21"]),
        (Query { judgement: vec![Judgement::Conforms], ..all() }, &["OB21"]),
        (Query { judgement: vec![Judgement::Conforms], id: vec!["OB21".into()], ..all() }, &["OB21"]),
        (Query { judgement: vec![Judgement::Conforms], id: vec!["OB01".into()], ..all() }, &[]),
        (Query { judgement: vec![Judgement::Violates], ..all() }, &["OB01"]),
        (Query { judgement: vec![Judgement::Conforms, Judgement::Violates], ..all() }, &["OB01", "OB21"]),
        (Query { judgement: vec![Judgement::Undecided], ..all() }, &[]),
    ];
    for (query, expected) in cases {
        let found = store.violations(&query, &Paging::first(10)).await.expect("violations").rows;
        let told: Vec<_> = found.iter().map(|finding| finding.id.as_str()).collect();
        assert_eq!(told, expected, "{query:?}");
        let tally = store.violations_summary(&query).await.expect("summary");
        let told: Vec<_> = tally.iter().map(|tally| tally.id.as_str()).collect();
        assert_eq!(told, expected, "summary for {query:?}");
        let totals = store.totals(&query).await.expect("totals");
        assert_eq!(totals.findings.values().sum::<u64>(), expected.len() as u64, "totals for {query:?}");
    }
}

async fn pages_stay_while_rows_arrive(store: &dyn Store) {
    // Two flows share each start, so the id has to part them.
    let flows = |from: u128, to: u128| {
        let row = |id: u128| {
            let start = i64::try_from(id / 2).expect("small");
            let port = u16::try_from(1000 + id).expect("small");
            Sample {
                id,
                start,
                port,
                class: Class::Plaintext,
                proof: Proof::Wire,
                violation: CRITICAL,
                ..Sample::default()
            }
            .judged()
        };
        (from..to).map(row).collect::<Vec<_>>()
    };
    record(store, flows(0, 10)).await;
    let query = Query { class: vec![Class::Plaintext], ..Query::default() };
    let (mut ids, mut ports, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    let (mut of_flows, mut of_edges, mut of_findings) =
        (Paging::first(3), Paging::first(3), Paging::first(3));
    for turn in 0..4_u128 {
        let page = store.flows(&query, &of_flows).await.expect("flows");
        ids.extend(page.rows.iter().map(|judged| judged.flow.id.0));
        of_flows.cursor = page.next_cursor;
        let page = store.edges(&query, &of_edges).await.expect("edges");
        ports.extend(page.rows.iter().map(|edge| edge.port));
        of_edges.cursor = page.next_cursor;
        let page = store.violations(&query, &of_findings).await.expect("violations");
        keys.extend(page.rows.iter().map(|finding| finding.port));
        of_findings.cursor = page.next_cursor;
        // New rows, and every old one again.
        record(store, flows(0, 12 + turn)).await;
    }
    assert_eq!(ids, (0..10).rev().collect::<Vec<_>>());
    for seen in [&mut ports, &mut keys] {
        seen.sort_unstable();
        assert_eq!(*seen, (1000..1010).collect::<Vec<_>>());
    }
    assert_eq!((of_flows.cursor, of_edges.cursor, of_findings.cursor), (None, None, None));
}

async fn totals_agree(store: &dyn Store) {
    record(
        store,
        vec![
            sample(1, 100, Class::Plaintext, CRITICAL),
            sample(2, 200, Class::Plaintext, MEDIUM),
            sample(3, 300, Class::Mtls, None),
        ],
    )
    .await;
    let all = store.totals(&Query::default()).await.expect("totals");
    // Counted from the edges and counted from the flows: the same.
    let since = Query { since: Some(Timestamp::from_nanos(0)), ..Query::default() };
    assert_eq!(all, store.totals(&since).await.expect("totals"));
    assert_eq!(all.flows["plaintext"]["wire"], 2);
    assert_eq!(all.flows["mtls"]["exact"], 1);
    assert_eq!((all.judgements["violates"], all.judgements["conforms"]), (2, 1));
    assert_eq!((all.findings["critical"], all.findings["medium"]), (1, 1));
    assert_eq!(all.span.first.map(Timestamp::as_nanos), Some(100_000_000_000));
    assert_eq!(all.span.last.map(Timestamp::as_nanos), Some(301_000_000_000));
    assert_eq!(store.coverage().await.expect("coverage").span, all.span);
    let cells = store.matrix(&Query::default()).await.expect("matrix");
    assert_eq!(cells, store.matrix(&since).await.expect("matrix"));
    assert_eq!(cells.iter().map(|cell| cell.violating).collect::<Vec<_>>(), [2]);
    let steps = store.timeline(&Query::default(), 2).await.expect("timeline");
    let told: Vec<_> = steps.iter().map(|step| (step.flows.values().sum::<u64>(), step.violating)).collect();
    assert_eq!(told.iter().map(|step| step.0).sum::<u64>(), 3);
    assert_eq!((told.len(), told.iter().map(|step| step.1).sum::<u64>()), (2, 2));
}

async fn coverage_is_by_source(store: &dyn Store) {
    let covered = |source: &str, packets| (source.to_owned(), Coverage { packets, ..Coverage::default() });
    for coverage in
        [vec![covered("a", 5), covered("b", 10)], vec![covered("a", 7)], vec![covered("a", 7)], vec![]]
    {
        let batch = Batch { coverage: coverage.into_iter().collect(), ..Batch::default() };
        store.record(batch).await.expect("a batch is kept");
    }
    let sources = store.coverage().await.expect("coverage");
    assert_eq!((sources.total.packets, sources.sources.len()), (17, 2));
}

fn snapshot(at: i64, text: &str) -> MeshSnapshot {
    let manifest = Manifest { file: "mesh.yaml".into(), text: text.into() };
    MeshSnapshot::new(Timestamp::from_nanos(at), vec![manifest])
}

async fn meshes_are_kept_by_content(store: &dyn Store) {
    for put in [snapshot(1, "one"), snapshot(2, "two"), snapshot(3, "one"), snapshot(1, "two")] {
        store.put_mesh(&put).await.expect("a mesh is kept");
    }
    assert_eq!(store.latest_mesh().await.expect("mesh"), Some(snapshot(3, "one")));
    let large = snapshot(4, &"a large mesh ".repeat(100_000));
    store.put_mesh(&large).await.expect("a mesh is kept");
    assert_eq!(store.latest_mesh().await.expect("mesh"), Some(large));
    let times: Vec<_> =
        store.meshes().await.expect("meshes").iter().map(|mesh| mesh.taken_at.as_nanos()).collect();
    assert_eq!(times, [4, 3, 2]);
}

async fn the_mesh_in_force_is_known_for_any_time(store: &dyn Store) {
    // Read at 15 and 40 without a change, and gone back to at 30.
    for (at, text) in [(10, "one"), (15, "one"), (20, "two"), (30, "one"), (40, "one")] {
        store.put_mesh(&snapshot(at, text)).await.expect("a mesh is kept");
    }
    for (at, expected) in [
        (9, None),
        (10, Some((10, "one"))),
        (19, Some((10, "one"))),
        (20, Some((20, "two"))),
        (29, Some((20, "two"))),
        (30, Some((30, "one"))),
        (99, Some((30, "one"))),
    ] {
        let found = store.mesh_at(Timestamp::from_nanos(at)).await.expect("mesh");
        assert_eq!(found, expected.map(|(since, text)| snapshot(since, text)), "at {at}");
    }
    assert_eq!(store.latest_mesh().await.expect("mesh"), Some(snapshot(40, "one")));
}

async fn what_began_long_ago_is_forgotten(store: &dyn Store) {
    const DAY: i64 = 86_400;
    #[expect(clippy::disallowed_methods, reason = "a server that forgets goes by its own clock")]
    let now =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs().cast_signed();
    let (old, young) = (now - 30 * DAY, now - DAY);
    // The first finding loses one of its flows, the second one all.
    record(
        store,
        vec![
            sample(1, old, Class::Plaintext, CRITICAL),
            sample(2, old + 5, Class::Tls, MEDIUM),
            sample(3, young, Class::Plaintext, CRITICAL),
            sample(4, young + 5, Class::Mtls, None),
        ],
    )
    .await;
    let (all, first) = (Query::default(), Paging::first(10));
    let now = Timestamp::from_nanos(now * 1_000_000_000);
    store.keep(None, now).await.expect("all is kept");
    assert_eq!(store.flows(&all, &first).await.expect("flows").rows.len(), 4);
    store.keep(Some(Duration::from_secs(20 * DAY.unsigned_abs())), now).await.expect("it forgets");
    for _ in 0..600 {
        if store.flow(FlowId(1)).await.expect("flow").is_none()
            && store.flow(FlowId(2)).await.expect("flow").is_none()
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let flows = store.flows(&all, &first).await.expect("flows").rows;
    assert_eq!(flows.iter().map(|judged| judged.flow.id.0).collect::<Vec<_>>(), [4, 3]);
    assert_eq!(store.flow(FlowId(1)).await.expect("flow"), None);
    let edges = store.edges(&all, &first).await.expect("edges").rows;
    let told: Vec<_> = edges.iter().map(|edge| (edge.class, edge.flows)).collect();
    assert_eq!(told, [(Class::Mtls, 1), (Class::Plaintext, 1)]);
    let found = store.violations(&all, &first).await.expect("violations").rows;
    let told: Vec<_> = found.iter().map(|finding| (finding.flows, finding.examples.clone())).collect();
    assert_eq!(told, [(1, vec![FlowId(3)])]);
    assert_eq!(store.totals(&all).await.expect("totals").judgements["conforms"], 1);
    let span = store.coverage().await.expect("coverage").span;
    assert_eq!(span.first, Some(Timestamp::from_nanos(young * 1_000_000_000)));
}
