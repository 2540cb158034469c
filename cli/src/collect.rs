//! What agents deliver, judged and kept: the server's half of shipping.

use std::collections::HashMap;
use std::sync::Arc;

use analyzer::report::Judged;
use api::{Collector, Unavailable};
use flow::delivery::Heading;
use flow::merge::{self, merge};
use flow::{Coverage, Flow, FlowId};
use store::{Batch, Store};
use tokio::sync::Mutex;

use crate::in_force::InForce;

/// Judges deliveries by the declarations and records them.
pub(crate) struct Intake {
    in_force: Arc<InForce>,
    store: Arc<dyn Store>,
    /// Whoever holds it compares flows with those that are kept, and records them.
    turn: Mutex<()>,
}

impl Intake {
    pub(crate) fn new(in_force: Arc<InForce>, store: Arc<dyn Store>) -> Self {
        Self { in_force, store, turn: Mutex::default() }
    }

    async fn keep(&self, batch: Batch) -> Result<(), Unavailable> {
        self.store.record(batch).await.map_err(|error| unavailable("a delivery could not be kept", &error))
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

    /// Puts flows that other agents saw too in the place of what only this agent saw of them.
    async fn join(&self, agent: &str, judged: &mut [Judged]) -> Result<(), Unavailable> {
        let opened = judged.iter().map(|judged| &judged.flow).filter(|flow| flow.opening().is_some());
        let ids: Vec<FlowId> = opened.map(|flow| flow.id).collect();
        let kept = self
            .store
            .sightings(&ids)
            .await
            .map_err(|error| unavailable("a delivery could not be compared with what is kept", &error))?;
        let mut known = Known::default();
        for judged in kept {
            known.add(judged.flow);
        }
        let mut changed = Vec::new();
        for (place, judged) in judged.iter().enumerate() {
            if let Some(joined) = known.join(&judged.flow, agent) {
                changed.push((place, joined));
            }
        }
        let (places, flows): (Vec<usize>, Vec<Flow>) = changed.into_iter().unzip();
        for (place, joined) in places.into_iter().zip(self.judge(flows).await?) {
            if let Some(judged) = judged.get_mut(place) {
                *judged = joined;
            }
        }
        Ok(())
    }
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

    /// Returns what a report and the sightings of others make together; absent when nobody else saw the connection.
    /// It keeps the name and the start under which it is kept, whoever saw it first.
    fn join(&mut self, flow: &Flow, agent: &str) -> Option<Flow> {
        let alike = self.flows.entry(flow.opening()?).or_default();
        let own = alike.iter().position(|known| known.id == flow.id);
        let found = own.or_else(|| alike.iter().position(|known| merge::same(known, flow, agent)));
        match found.and_then(|at| alike.get_mut(at)) {
            Some(known) if merge::seen_by_none_but(known, agent) => {
                // The agent's own report replaces the one before it.
                *known = flow.clone();
                None
            }
            Some(known) => {
                let joined = Flow { id: known.id, start: known.start, ..merge(known, flow) };
                *known = joined.clone();
                Some(joined)
            }
            None => {
                alike.push(flow.clone());
                None
            }
        }
    }
}

#[async_trait::async_trait]
impl Collector for Intake {
    async fn collect(&self, heading: Heading, mut flows: Vec<Flow>) -> Result<(), Unavailable> {
        for flow in &mut flows {
            merge::place(flow, &heading.agent);
        }
        let mut flows = self.judge(flows).await?;
        let _turn = self.turn.lock().await;
        self.join(&heading.agent, &mut flows).await?;
        let (source, spool) = (heading.source(), heading.spool());
        self.keep(Batch { source, flows, coverage: Some(heading.coverage) }).await?;
        if heading.undelivered > 0 {
            let lost = Coverage { undelivered: heading.undelivered, ..Coverage::default() };
            self.keep(Batch { source: spool, flows: Vec::new(), coverage: Some(lost) }).await?;
        }
        Ok(())
    }
}
