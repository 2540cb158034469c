//! What agents deliver, judged and kept: the server's half of shipping.

mod recent;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use analyzer::report::Judged;
use analyzer::translation;
use api::{Collector, Swept, Unavailable};
use flow::delivery::Heading;
use flow::merge::{self, ALIKE, merge};
use flow::{Coverage, Flow, FlowId};
use store::sightings::{Contested, Found, Sought};
use store::{Batch, Store};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex, oneshot};

use crate::in_force::InForce;
use crate::serve::now;
use crate::sweep::Plan;
use recent::Recent;

/// How many flows are kept at once, where more than one delivery waits.
const TOGETHER: usize = 20_000;

/// Judges deliveries by the declarations and records them.
pub(crate) struct Intake {
    in_force: Arc<InForce>,
    store: Arc<dyn Store>,
    /// Deliveries that are judged and not yet kept, in the order in which they came.
    waiting: std::sync::Mutex<VecDeque<Delivery>>,
    /// Whoever holds it compares the flows of all deliveries that wait with those that are kept, and records them. A store
    /// takes few large batches much faster than many small ones.
    turn: Mutex<Recent>,
    swept: Mended,
    /// How many flows were left alone because more than [`ALIKE`] had their opening or their handshake.
    crowded: AtomicU64,
}

/// What [`crate::sweep`] came to.
#[derive(Default)]
pub(crate) struct Mended {
    pub(crate) flows: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// A judged delivery, and who waits for it to be kept.
struct Delivery {
    heading: Heading,
    flows: Vec<Judged>,
    kept: oneshot::Sender<Result<(), Unavailable>>,
}

impl Intake {
    pub(crate) fn new(in_force: Arc<InForce>, store: Arc<dyn Store>) -> Self {
        Self {
            in_force,
            store,
            waiting: std::sync::Mutex::default(),
            turn: Mutex::default(),
            swept: Mended::default(),
            crowded: AtomicU64::default(),
        }
    }

    /// Looks once more at what was recorded within a time, until now, and mends what another collector recorded at the same moment.
    pub(crate) async fn sweep(&self, within: Duration) -> Result<(), Unavailable> {
        let began = clock();
        let contested = self.contested(within).await?;
        // Deliveries to this collector wait from here on.
        let mut recent = self.turn.lock().await;
        let Some(contested) = contested else {
            recent.alone(began);
            return Ok(());
        };
        recent.not_alone();
        if contested.is_empty() {
            return Ok(());
        }
        let Some(contested) = self.contested(within).await? else { return Ok(()) };
        let found = Some(Found::of(&contested));
        let Plan { whole, mut gone } = Plan::of(contested);
        let flows = whole.iter().map(|whole| whole.judged.flow.clone()).collect();
        let mut judged = self.judge(flows).await?;
        translation::join(&mut judged);
        let flows: Vec<Judged> = whole
            .iter()
            .zip(judged)
            .filter(|(before, now)| before.differs_from(now))
            .map(|(_, now)| now)
            .collect();
        gone.sort_by_key(|judged| judged.flow.id);
        if flows.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let count = flows.len().max(gone.len());
        let batch = Batch { flows, gone, found, ..Batch::default() };
        self.store
            .record(batch)
            .await
            .map_err(|error| unavailable("what was mended could not be kept", &error))?;
        self.swept.flows.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        tracing::info!(flows = count, "joined with what another collector recorded at the same moment");
        Ok(())
    }

    async fn contested(&self, within: Duration) -> Result<Option<Vec<Contested>>, Unavailable> {
        let contested = self.store.contested(within).await;
        contested
            .map_err(|error| unavailable("what was recorded of late could not be looked at again", &error))
    }

    pub(crate) fn mended(&self) -> &Mended {
        &self.swept
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Delivery>> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Has a delivery wait. Those whose agent went away are let go: they come again.
    fn wait(&self, delivery: Delivery) {
        let mut waiting = self.waiting();
        waiting.retain(|delivery| !delivery.kept.is_closed());
        waiting.push_back(delivery);
    }

    /// Takes the deliveries that have waited for longest, as many as are kept at once.
    fn next(&self) -> Vec<Delivery> {
        let mut waiting = self.waiting();
        let mut flows = 0_usize;
        let fit = waiting.iter().take_while(|delivery| {
            let first = flows == 0;
            flows = flows.saturating_add(delivery.flows.len());
            first || flows <= TOGETHER
        });
        let fit = fit.count();
        waiting.drain(..fit).collect()
    }

    /// Records deliveries together, all of them or none.
    async fn keep(&self, deliveries: &mut [Delivery], recent: &mut Recent) -> Result<(), Unavailable> {
        let changed = self.join(deliveries, recent).await?;
        let mut batch = Batch { flows: changed, ..Batch::default() };
        for Delivery { heading, flows, .. } in deliveries {
            batch.flows.append(flows);
            batch.coverage.insert(heading.source(), std::mem::take(&mut heading.coverage));
            if heading.undelivered > 0 {
                let lost = Coverage { undelivered: heading.undelivered, ..Coverage::default() };
                batch.coverage.insert(heading.spool(), lost);
            }
        }
        recent.keep(&batch.flows);
        self.store.record(batch).await.map_err(|error| unavailable("deliveries could not be kept", &error))
    }

    /// Judges flows, each by what was in force when it began.
    async fn judge(&self, flows: Vec<Flow>) -> Result<Vec<Judged>, Unavailable> {
        let judged = self.in_force.judge(flows).await;
        judged
            .map_err(|error| unavailable("what was in force when flows began is not known", &error))?
            .ok_or_else(|| {
                tracing::info!("a delivery came before the declarations were known");
                Unavailable
            })
    }

    /// Puts flows that several agents saw in the place of what one of them saw, and joins the sides of translated
    /// connections. Returns the flows that are kept already and become others by it.
    async fn join(
        &self,
        deliveries: &mut [Delivery],
        recent: &mut Recent,
    ) -> Result<Vec<Judged>, Unavailable> {
        let flows = deliveries.iter().flat_map(|delivery| &delivery.flows).map(|judged| &judged.flow);
        let sought = flows.map(Sought::from);
        let sought: Vec<Sought> =
            sought.filter(|sought| sought.opening.is_some() || sought.tcp_handshake.is_some()).collect();
        let failed = |error| unavailable("a delivery could not be compared with what is kept", &error);
        let sought = recent.unknown(&*self.store, sought, (now(), clock())).await.map_err(failed)?;
        let kept = if sought.is_empty() {
            Vec::new()
        } else {
            self.store.sightings(&sought).await.map_err(failed)?
        };
        let mut known = Known::default();
        for judged in &kept {
            known.add(judged.flow.clone());
        }
        let (mut changed, mut crowded) = (Vec::new(), 0);
        for delivery in deliveries.iter_mut() {
            for judged in &mut delivery.flows {
                match known.join(&judged.flow, &delivery.heading.agent) {
                    Sighting::Of(joined) => changed.push((judged, joined)),
                    Sighting::OneOfMany => crowded += 1,
                    Sighting::Alone => {}
                }
            }
        }
        self.crowded.fetch_add(crowded, Ordering::Relaxed);
        let (places, flows): (Vec<&mut Judged>, Vec<Flow>) = changed.into_iter().unzip();
        for (place, joined) in places.into_iter().zip(self.judge(flows).await?) {
            *place = joined;
        }
        self.join_sides(deliveries, kept).await
    }

    /// Joins the sides of translated connections, those that are kept included: returns these where they become others.
    async fn join_sides(
        &self,
        deliveries: &mut [Delivery],
        mut kept: Vec<Judged>,
    ) -> Result<Vec<Judged>, Unavailable> {
        // Of several reports of a flow the last one is kept.
        let come = deliveries.iter_mut().flat_map(|delivery| &mut delivery.flows);
        let come = come.filter(|judged| judged.flow.tcp_handshake.is_some());
        let mut last: HashMap<FlowId, &mut Judged> = come.map(|judged| (judged.flow.id, judged)).collect();
        kept.retain(|judged| judged.flow.tcp_handshake.is_some() && !last.contains_key(&judged.flow.id));
        // Judged anew: what was set aside may have to answer for itself now.
        let mut again = self.judge(kept.iter().map(|judged| judged.flow.clone()).collect()).await?;
        let crowded = translation::join(last.values_mut().map(|judged| &mut **judged).chain(&mut again));
        self.crowded.fetch_add(u64::try_from(crowded).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(again.into_iter().zip(&kept).filter(|(now, before)| now != *before).map(|(now, _)| now).collect())
    }
}

#[expect(clippy::disallowed_methods, reason = "what was seen of other collectors is believed for some time")]
fn clock() -> Instant {
    Instant::now()
}

fn unavailable(what: &'static str, error: &dyn std::error::Error) -> Unavailable {
    tracing::error!(%error, "{what}");
    Unavailable
}

/// Flows that are kept, or will be with this delivery, by their openings.
#[derive(Default)]
struct Known {
    flows: HashMap<u64, Vec<Flow>>,
}

impl Known {
    fn add(&mut self, flow: Flow) {
        if let Some(opening) = flow.opening() {
            self.flows.entry(opening).or_default().push(flow);
        }
    }

    /// Puts a report together with the sightings of others. It keeps the name and the start under which it is kept, whoever saw it first.
    fn join(&mut self, flow: &Flow, agent: &str) -> Sighting {
        let Some(opening) = flow.opening() else { return Sighting::Alone };
        let alike = self.flows.entry(opening).or_default();
        let own = alike.iter().position(|known| known.id == flow.id);
        if own.is_none() && alike.len() >= ALIKE {
            return Sighting::OneOfMany;
        }
        let found = own.or_else(|| alike.iter().position(|known| merge::same(known, flow, agent)));
        match found.and_then(|at| alike.get_mut(at)) {
            Some(known) if merge::seen_by_none_but(known, agent) => {
                // The agent's own report replaces the one before it.
                *known = flow.clone();
                Sighting::Alone
            }
            Some(known) => {
                let joined = Flow { id: known.id, start: known.start, ..merge(known, flow) };
                *known = joined.clone();
                Sighting::Of(joined)
            }
            None => {
                alike.push(flow.clone());
                Sighting::Alone
            }
        }
    }
}

/// What a report is beside those of others.
enum Sighting {
    /// Nobody else saw the connection.
    Alone,
    /// Others saw it as well: what all of them make together.
    Of(Flow),
    /// Too many have its opening to tell.
    OneOfMany,
}

#[async_trait::async_trait]
impl Collector for Intake {
    fn swept(&self) -> Swept {
        let Mended { flows, failures } = &self.swept;
        let crowded = self.crowded.load(Ordering::Relaxed);
        Swept { crowded, mended: flows.load(Ordering::Relaxed), failed: failures.load(Ordering::Relaxed) }
    }

    async fn collect(&self, heading: Heading, mut flows: Vec<Flow>) -> Result<(), Unavailable> {
        for flow in &mut flows {
            merge::place(flow, &heading.agent);
        }
        let flows = self.judge(flows).await?;
        let (kept, mut told) = oneshot::channel();
        self.wait(Delivery { heading, flows, kept });
        let mut recent = self.turn.lock().await;
        loop {
            match told.try_recv() {
                Ok(done) => return done,
                // The one who was keeping it went away in the middle.
                Err(TryRecvError::Closed) => return Err(Unavailable),
                Err(TryRecvError::Empty) => {}
            }
            let mut deliveries = self.next();
            let done = self.keep(&mut deliveries, &mut recent).await;
            for delivery in deliveries {
                // Whoever does not wait any more sends the delivery again.
                let _ = delivery.kept.send(done);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use analyzer::mesh::Mesh;
    use capture::engine::Limits;
    use store::embedded::Embedded;
    use store::query::{Paging, Query};

    use super::*;
    use crate::input;

    fn intake(folder: &Path) -> Arc<Intake> {
        let store: Arc<dyn Store> = Arc::new(Embedded::open(folder.join("s.sqlite")).unwrap());
        let (mesh, _) = Mesh::load(Vec::new());
        Arc::new(Intake::new(Arc::new(InForce::fixed(mesh, Arc::clone(&store))), store))
    }

    fn heading(agent: &str) -> Heading {
        Heading {
            version: flow::delivery::VERSION,
            agent: agent.into(),
            run: "1".into(),
            sequence: 1,
            flows: 0,
            coverage: Coverage { packets: 1, ..Coverage::default() },
            undelivered: 0,
        }
    }

    fn flows() -> Vec<Flow> {
        let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/boutique/capture.pcap");
        input::captures(&[capture], Limits::default(), 1).flows
    }

    #[tokio::test]
    async fn deliveries_that_wait_are_kept_together_and_joined_with_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let intake = intake(folder.path());
        let mut flows = flows();
        flows.retain(|flow| flow.opening().is_some());
        let turn = intake.turn.lock().await;
        let mut sent = Vec::new();
        for (waiting, agent) in (1..).zip(["a", "b", "gone"]) {
            let (intake, flows) = (Arc::clone(&intake), flows.clone());
            let at = Arc::clone(&intake);
            sent.push(tokio::spawn(async move { at.collect(heading(agent), flows).await }));
            while intake.waiting().len() < waiting {
                tokio::task::yield_now().await;
            }
        }
        let gone = sent.pop().unwrap();
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        drop(turn);
        for delivery in sent {
            delivery.await.unwrap().unwrap();
        }
        let kept = intake.store.flows(&Query::default(), &Paging::first(1000)).await.unwrap().rows;
        assert_eq!(kept.len(), flows.len());
        for judged in &kept {
            let seen = |agent: &str| merge::seen_by(&judged.flow, agent);
            assert!(seen("a") && seen("b"), "{:?}", judged.flow.seen_at);
        }
        let sources = intake.store.coverage().await.unwrap().sources;
        assert!(sources.contains_key("a 1") && sources.contains_key("b 1"), "{:?}", sources.keys());
    }

    /// What this collector knows by itself spares it questions, and hides nothing.
    #[tokio::test]
    async fn what_was_kept_a_moment_ago_is_joined_with_what_others_saw() {
        let folder = tempfile::tempdir().unwrap();
        let intake = intake(folder.path());
        let mut flows = flows();
        flows.retain(|flow| flow.opening().is_some());
        let (began, now) = (flows.iter().map(|flow| flow.start.as_nanos()).min().unwrap(), now().as_nanos());
        for flow in &mut flows {
            let later = |at: flow::Timestamp| flow::Timestamp::from_nanos(at.as_nanos() - began + now);
            flow.id = FlowId::of_opening(flow.opening().unwrap(), later(flow.start));
            (flow.start, flow.end) = (later(flow.start), later(flow.end));
        }
        intake.sweep(Duration::from_secs(1)).await.unwrap();
        for agent in ["a", "b"] {
            let sought = flows.iter().map(Sought::from).collect();
            let unknown = {
                let mut recent = intake.turn.lock().await;
                recent.unknown(&*intake.store, sought, (super::now(), clock())).await.unwrap()
            };
            assert_eq!(unknown.len(), if agent == "a" { 0 } else { flows.len() });
            intake.collect(heading(agent), flows.clone()).await.unwrap();
        }
        let kept = intake.store.flows(&Query::default(), &Paging::first(1000)).await.unwrap().rows;
        assert_eq!(kept.len(), flows.len());
        assert!(kept.iter().all(|judged| ["a", "b"].iter().all(|agent| merge::seen_by(&judged.flow, agent))));
    }

    /// Who makes packets on both ends can give any number of connections the same numbers.
    #[tokio::test]
    async fn many_connections_with_the_same_numbers_are_left_alone_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let intake = intake(folder.path());
        let seen = flows().into_iter().find(|flow| flow.opening().is_some()).unwrap();
        let many = u16::try_from(ALIKE + 36).unwrap();
        let made = |opening: u64, place: u16, handshake: Option<u64>| {
            let start = flow::Timestamp::from_nanos(seen.start.as_nanos() + i64::from(place));
            let mut flow = Flow { id: FlowId::of_opening(opening, start), start, end: start, ..seen.clone() };
            flow.tcp_handshake = handshake.map(flow::TcpHandshake);
            flow.server.port = if handshake.is_some() { 1000 + place } else { 80 };
            flow
        };
        let alike = |few: u16| -> Vec<Flow> {
            // Sides of one another, by their numbers; and sightings of one another.
            let sides = (0..few).map(|place| made(u64::from(10 + place), place, Some(5)));
            sides.chain((0..few).map(|place| made(7, place, None))).collect()
        };
        let known = |rows: &[Judged]| rows.iter().filter(|judged| judged.translated.is_some()).count();
        let kept = async || intake.store.flows(&Query::default(), &Paging::first(1000)).await.unwrap().rows;
        intake.collect(heading("a"), alike(3)).await.unwrap();
        assert_eq!((kept().await.len(), known(&kept().await), intake.swept().crowded), (6, 3, 0));
        // The first of each again, and all that come after them.
        intake.collect(heading("a"), alike(many)).await.unwrap();
        let rows = kept().await;
        assert_eq!(rows.len(), 2 * usize::from(many));
        assert_eq!(known(&rows), 0, "they tell nothing");
        assert_eq!(intake.swept().crowded, u64::from(many) + 36);
    }

    #[tokio::test]
    async fn so_many_flows_are_kept_at_once_and_one_delivery_at_least() {
        let folder = tempfile::tempdir().unwrap();
        let intake = intake(folder.path());
        let one = intake.judge(flows().into_iter().take(1).collect()).await.unwrap().pop().unwrap();
        let (mut told, mut sizes) = (Vec::new(), Vec::new());
        for flows in [TOGETHER / 2, TOGETHER / 2, 1, 2 * TOGETHER, 0, 3] {
            let (kept, wait) = oneshot::channel();
            intake.wait(Delivery { heading: heading("a"), flows: vec![one.clone(); flows], kept });
            told.push(wait);
        }
        while !intake.waiting().is_empty() {
            sizes.push(intake.next().iter().map(|delivery| delivery.flows.len()).collect::<Vec<_>>());
        }
        assert_eq!(sizes, [vec![TOGETHER / 2, TOGETHER / 2], vec![1], vec![2 * TOGETHER], vec![0, 3]]);
    }
}
