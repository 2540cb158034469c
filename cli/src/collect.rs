//! What agents deliver, judged and kept: the server's half of shipping.

mod known;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use analyzer::report::Judged;
use analyzer::translation;
use api::{Collector, Swept, Unavailable};
use flow::delivery::Heading;
use flow::merge;
use flow::{Coverage, Flow, FlowId, TcpHandshake};
use store::sightings::{Contested, Found, Sought};
use store::{Batch, Store};
use tokio::sync::{Mutex, MutexGuard, oneshot};

use crate::in_force::InForce;
use crate::sweep::Plan;
use known::{Known, Sighting};

/// How many flows are kept at once, where more than one delivery waits.
const TOGETHER: usize = 20_000;

/// Judges deliveries by the declarations and records them.
pub(crate) struct Intake {
    in_force: Arc<InForce>,
    store: Arc<dyn Store>,
    /// Deliveries that are judged and not yet kept, in the order in which they came.
    waiting: std::sync::Mutex<VecDeque<Delivery>>,
    /// Whoever holds it takes the deliveries that have waited for longest, and looks for what is kept of their connections. A
    /// store takes few large batches much faster than many small ones.
    look: Mutex<()>,
    /// Whoever holds it compares their flows with what is kept, and records them. The next ones are looked for meanwhile.
    turn: Mutex<Last>,
    /// How many batches were recorded: what was looked for before the last one does not show that one.
    recorded: AtomicU64,
    swept: Mended,
    /// How many flows were left alone because more than [`merge::ALIKE`] had their opening or their handshake.
    crowded: AtomicU64,
}

/// What was recorded last.
#[derive(Default)]
enum Last {
    #[default]
    Nothing,
    /// Flows with these openings and handshakes.
    These(HashSet<u64>),
    /// Nobody knows: it failed or was broken off, or was no delivery.
    Unsure,
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
            look: Mutex::default(),
            turn: Mutex::default(),
            recorded: AtomicU64::default(),
            swept: Mended::default(),
            crowded: AtomicU64::default(),
        }
    }

    /// Looks once more at what was recorded within a time, until now, and mends what another collector recorded at the same moment.
    pub(crate) async fn sweep(&self, within: Duration) -> Result<(), Unavailable> {
        if self.contested(within).await?.is_empty() {
            return Ok(());
        }
        // Deliveries to this collector wait from here on.
        let mut last = self.turn.lock().await;
        let contested = self.contested(within).await?;
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
        *last = Last::Unsure;
        let batch = Batch { flows, gone, found, ..Batch::default() };
        self.store
            .record(batch)
            .await
            .map_err(|error| unavailable("what was mended could not be kept", &error))?;
        self.swept.flows.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        tracing::info!(flows = count, "joined with what another collector recorded at the same moment");
        Ok(())
    }

    async fn contested(&self, within: Duration) -> Result<Vec<Contested>, Unavailable> {
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
    async fn keep(
        &self,
        deliveries: &mut [Delivery],
        looking: MutexGuard<'_, ()>,
    ) -> Result<(), Unavailable> {
        let sought = sought(deliveries);
        let before = self.recorded.load(Ordering::Acquire);
        let looked = self.sightings(&sought).await;
        let mut last = self.turn.lock().await;
        drop(looking);
        let kept = self.up_to_date(&last, before, &sought, looked?).await?;
        let changed = self.join(deliveries, kept).await?;
        *last = Last::Unsure;
        let mut batch = Batch { flows: changed, ..Batch::default() };
        for Delivery { heading, flows, .. } in deliveries {
            batch.flows.append(flows);
            batch.coverage.insert(heading.source(), std::mem::take(&mut heading.coverage));
            if heading.undelivered > 0 {
                let lost = Coverage { undelivered: heading.undelivered, ..Coverage::default() };
                batch.coverage.insert(heading.spool(), lost);
            }
        }
        let names = batch.flows.iter().flat_map(|judged| names(&Sought::from(&judged.flow))).collect();
        let done = self.store.record(batch).await;
        done.map_err(|error| unavailable("deliveries could not be kept", &error))?;
        self.recorded.fetch_add(1, Ordering::Release);
        *last = Last::These(names);
        Ok(())
    }

    /// Looks once more for connections that were recorded after it was looked for them, given how much had been recorded then.
    async fn up_to_date(
        &self,
        last: &Last,
        before: u64,
        sought: &[Sought],
        mut kept: Vec<Judged>,
    ) -> Result<Vec<Judged>, Unavailable> {
        let since = self.recorded.load(Ordering::Acquire).saturating_sub(before);
        let recorded = match (last, since) {
            (Last::Nothing | Last::These(_), 0) => return Ok(kept),
            (Last::These(recorded), 1) => recorded,
            (Last::Nothing | Last::These(_) | Last::Unsure, _) => return self.sightings(sought).await,
        };
        let touched = |sought: &Sought| names(sought).any(|name| recorded.contains(&name));
        let again: Vec<Sought> = sought.iter().filter(|sought| touched(sought)).copied().collect();
        if again.is_empty() {
            return Ok(kept);
        }
        let now = self.sightings(&again).await?;
        let known: HashSet<FlowId> = now.iter().map(|judged| judged.flow.id).collect();
        kept.retain(|judged| !known.contains(&judged.flow.id) && !touched(&Sought::from(&judged.flow)));
        kept.extend(now);
        Ok(kept)
    }

    async fn sightings(&self, sought: &[Sought]) -> Result<Vec<Judged>, Unavailable> {
        let kept = self.store.sightings(sought).await;
        kept.map_err(|error| unavailable("a delivery could not be compared with what is kept", &error))
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
    /// connections, given what is kept of them. Returns the flows that are kept already and become others by it.
    async fn join(&self, deliveries: &mut [Delivery], kept: Vec<Judged>) -> Result<Vec<Judged>, Unavailable> {
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

/// What is looked for on account of deliveries.
fn sought(deliveries: &[Delivery]) -> Vec<Sought> {
    let flows = deliveries.iter().flat_map(|delivery| &delivery.flows).map(|judged| &judged.flow);
    flows.map(Sought::from).filter(|sought| names(sought).next().is_some()).collect()
}

/// What a connection is found by, whichever it is.
fn names(sought: &Sought) -> impl Iterator<Item = u64> + use<> {
    sought.opening.into_iter().chain(sought.tcp_handshake.map(|TcpHandshake(name)| name))
}

fn unavailable(what: &'static str, error: &dyn std::error::Error) -> Unavailable {
    tracing::error!(%error, "{what}");
    Unavailable
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
        // Where the one who was keeping it went away in the middle, nobody tells.
        let answer = |told: Result<_, _>| told.unwrap_or(Err(Unavailable));
        loop {
            let looking = tokio::select! {
                biased;
                told = &mut told => return answer(told),
                looking = self.look.lock() => looking,
            };
            let mut deliveries = self.next();
            if deliveries.is_empty() {
                drop(looking);
                return answer(told.await);
            }
            let done = self.keep(&mut deliveries, looking).await;
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
    use flow::merge::ALIKE;
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
        let looking = intake.look.lock().await;
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
        drop(looking);
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

    /// What one delivery is looked for may be what another one brings that is recorded meanwhile.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn deliveries_that_are_recorded_while_others_are_looked_for_are_joined_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let intake = intake(folder.path());
        let mut flows = flows();
        flows.retain(|flow| flow.opening().is_some());
        let mut sent = Vec::new();
        for flow in &flows {
            for agent in ["a", "b", "c"] {
                let (intake, flow) = (Arc::clone(&intake), flow.clone());
                sent.push(tokio::spawn(async move { intake.collect(heading(agent), vec![flow]).await }));
            }
        }
        for delivery in sent {
            delivery.await.unwrap().unwrap();
        }
        let kept = intake.store.flows(&Query::default(), &Paging::first(1000)).await.unwrap().rows;
        assert_eq!(kept.len(), flows.len());
        for judged in &kept {
            let seen = |agent: &str| merge::seen_by(&judged.flow, agent);
            assert!(seen("a") && seen("b") && seen("c"), "{:?}", judged.flow.seen_at);
        }
    }

    #[tokio::test]
    async fn it_is_looked_again_for_what_was_recorded_since() {
        let folder = tempfile::tempdir().unwrap();
        let intake = intake(folder.path());
        let mut flows = flows();
        flows.retain(|flow| flow.opening().is_some() && flow.tcp_handshake.is_some());
        let other = flows.pop().unwrap();
        let sought: Vec<Sought> = flows.iter().map(Sought::from).collect();
        intake.collect(heading("a"), vec![other.clone()]).await.unwrap();
        let before = intake.recorded.load(Ordering::Acquire);
        let looked = intake.sightings(&[Sought::from(&other)]).await.unwrap();
        assert_eq!(looked.len(), 1);
        intake.collect(heading("a"), flows.clone()).await.unwrap();
        let last = intake.turn.lock().await;
        let again = async |last: &Last, before, sought: &[Sought], kept| {
            intake.up_to_date(last, before, sought, kept).await.unwrap().len()
        };
        assert_eq!(again(&last, before, &sought, Vec::new()).await, flows.len(), "recorded since");
        assert_eq!(again(&last, before + 1, &sought, Vec::new()).await, 0, "looked for after that");
        let all = [sought.as_slice(), &[Sought::from(&other)]].concat();
        assert_eq!(again(&last, before, &all, looked.clone()).await, flows.len() + 1, "and before");
        assert_eq!(again(&last, before, &[Sought::from(&other)], Vec::new()).await, 0, "nothing of it");
        for unsure in [Last::Unsure, Last::Nothing] {
            assert_eq!(again(&unsure, before, &all, Vec::new()).await, flows.len() + 1);
        }
        assert_eq!(again(&Last::Unsure, before + 1, &all, Vec::new()).await, flows.len() + 1);
        assert_eq!(again(&last, before - 1, &all, Vec::new()).await, flows.len() + 1, "too long ago");
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
            flow.tcp_handshake = handshake.map(TcpHandshake);
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
