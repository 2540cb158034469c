//! What this process counts by itself, for `/metrics`: requests, deliveries, and what each agent last told.
//!
//! What a store can be asked for is not kept here; `routes::process` asks it when Prometheus does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use flow::delivery::Heading;
use flow::{Close, Coverage, Flow, Proof};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How many agents are remembered; past it the one silent for longest is forgotten.
const AGENTS: usize = 2000;

/// For how long an agent that says nothing is remembered, in seconds: long enough to be missed.
const REMEMBERED: f64 = 24.0 * 3600.0;

/// How many runs of one agent are remembered, to tell that one comes back after another took its place.
const RUNS: usize = 8;

/// How often, at most, it is said that two agents have one name, in seconds.
const SAID: f64 = 60.0;

/// How far ahead of this clock an agent's may be, in seconds: sightings that are further apart are not joined.
const AHEAD: f64 = 5.0;

/// How much of an agent's name is kept, in characters: no name of a node is longer.
const NAME: usize = 253;

/// How requests are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Request {
    /// The method.
    pub(crate) method: String,
    /// The route's pattern, never the address: a client could make up any number of those.
    pub(crate) route: String,
    /// The answer's status.
    pub(crate) status: u16,
}

/// How flows are counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(crate) struct Protection {
    pub(crate) class: String,
    pub(crate) proof: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Hidden {
    class: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Agent {
    agent: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgentOpening {
    agent: String,
    opening: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgentReason {
    agent: String,
    reason: String,
}

/// The counts of this process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) requests: Family<Request, Counter>,
    deliveries: Family<Outcome, Counter>,
    flows: Family<Protection, Counter>,
    hidden: Family<Hidden, Counter>,
    agents: Mutex<BTreeMap<String, Heard>>,
}

/// What an agent last told.
#[derive(Debug)]
struct Heard {
    /// When, in seconds since the Unix epoch.
    at: f64,
    coverage: Coverage,
    undelivered: u64,
    /// The end of the newest flow that it told of, in seconds since the Unix epoch, by its own clock.
    newest: Option<f64>,
    /// When it was last said that its clock is ahead; 0 before that.
    said_ahead: f64,
    runs: Runs,
}

/// The runs under one agent's name, the one that delivered last at the end.
///
/// An agent's deliveries come in the order of its runs, also those that waited in its spool. A run that comes back after
/// another one delivered belongs to a second agent of that name.
#[derive(Debug, Default)]
struct Runs {
    known: VecDeque<String>,
    /// How often one came back.
    returns: u64,
    /// When that was last said.
    said: f64,
}

impl Runs {
    /// Takes the run of a delivery; tells whether to say that there are two agents of one name.
    fn delivered(&mut self, run: &str, at: f64) -> bool {
        if self.known.back().is_some_and(|last| last == run) {
            return false;
        }
        let known = self.known.iter().position(|known| known == run);
        if let Some(place) = known {
            self.known.remove(place);
            self.returns = self.returns.saturating_add(1);
        } else if self.known.len() >= RUNS {
            self.known.pop_front();
        }
        self.known.push_back(run.to_owned());
        let say = known.is_some() && (self.returns == 1 || at - self.said >= SAID);
        if say {
            self.said = at;
        }
        say
    }
}

/// What a delivery adds, once it is kept.
#[derive(Debug)]
pub(crate) struct Tally {
    agent: String,
    run: String,
    coverage: Coverage,
    undelivered: u64,
    newest: Option<f64>,
    flows: BTreeMap<Protection, u64>,
    hidden: BTreeMap<Hidden, u64>,
}

impl Tally {
    /// Counts flows that ended: each is reported once more before that.
    pub(crate) fn of(heading: &Heading, flows: &[Flow]) -> Self {
        let mut tally = Self {
            agent: heading.agent.chars().take(NAME).collect(),
            run: heading.run.clone(),
            coverage: Coverage { damaged: Vec::new(), ..heading.coverage.clone() },
            undelivered: heading.undelivered,
            newest: flows.iter().map(|flow| flow.end.as_nanos()).max().map(|nanos| nanos as f64 / 1e9),
            flows: BTreeMap::new(),
            hidden: BTreeMap::new(),
        };
        for flow in flows.iter().filter(|flow| flow.close != Close::Open) {
            let class = flow.security.class().name().to_owned();
            let evidence = flow.security.evidence();
            if let (Proof::None, Some(reason)) = (evidence.proof, evidence.reason) {
                let hidden = Hidden { class: class.clone(), reason: reason.name().to_owned() };
                *tally.hidden.entry(hidden).or_default() += 1;
            }
            let protection = Protection { class, proof: evidence.proof.name().to_owned() };
            *tally.flows.entry(protection).or_default() += 1;
        }
        tally
    }
}

impl Metrics {
    /// Counts what was kept of a delivery.
    pub(crate) fn kept(&self, tally: Tally) {
        for (protection, count) in &tally.flows {
            self.flows.get_or_create(protection).inc_by(*count);
        }
        for (hidden, count) in &tally.hidden {
            self.hidden.get_or_create(hidden).inc_by(*count);
        }
        self.heard(tally, now());
    }

    /// Counts a delivery by what became of it.
    pub(crate) fn delivery(&self, result: &'static str) {
        self.deliveries.get_or_create(&Outcome { result }).inc();
    }

    fn heard(&self, tally: Tally, at: f64) {
        let Tally { agent, run, coverage, undelivered, newest, .. } = tally;
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        agents.retain(|_, heard| at - heard.at < REMEMBERED);
        if agents.len() >= AGENTS && !agents.contains_key(&agent) {
            let silent = agents.iter().min_by(|(_, a), (_, b)| a.at.total_cmp(&b.at));
            if let Some(silent) = silent.map(|(name, _)| name.clone()) {
                agents.remove(&silent);
            }
        }
        let before = agents.remove(&agent);
        let (mut said_ahead, known) =
            before.as_ref().map_or((0.0, None), |heard| (heard.said_ahead, heard.newest));
        let ahead = newest.map_or(0.0, |newest| newest - at);
        if ahead > AHEAD && at - said_ahead >= SAID {
            tracing::warn!(%agent, seconds = ahead.round(), "the agent's clock is ahead of this one: what others see of its connections is not joined with them");
            said_ahead = at;
        }
        let mut runs = before.map(|heard| heard.runs).unwrap_or_default();
        if runs.delivered(&run, at) {
            tracing::warn!(%agent, "two agents deliver under one name: give each its own (--name), else what both see counts twice");
        }
        agents.insert(agent, Heard { at, coverage, undelivered, newest: newest.or(known), said_ahead, runs });
    }

    /// Adds everything to a page.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register(
            "ingest_deliveries",
            "Deliveries of agents, by what became of them",
            self.deliveries.clone(),
        );
        registry.register(
            "ingest_flows",
            "Flows that agents reported the end of, by class and proof",
            self.flows.clone(),
        );
        registry.register(
            "ingest_flows_unknown",
            "Those without proof of their class or of the client's certificate, by what hid it",
            self.hidden.clone(),
        );
        self.register_agents(registry);
    }

    /// Agents' counters begin with their run, as Prometheus expects of a process.
    fn register_agents(&self, registry: &mut Registry) {
        let last = Family::<Agent, Gauge<f64, AtomicU64>>::default();
        let newest = Family::<Agent, Gauge<f64, AtomicU64>>::default();
        let packets = Family::<Agent, Counter>::default();
        let dropped = Family::<Agent, Counter>::default();
        let undelivered = Family::<Agent, Counter>::default();
        let openings = Family::<AgentOpening, Counter>::default();
        let unused = Family::<AgentReason, Counter>::default();
        let returns = Family::<Agent, Counter>::default();
        let agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, heard) in &*agents {
            let agent = Agent { agent: name.clone() };
            last.get_or_create(&agent).set(heard.at);
            if let Some(end) = heard.newest {
                newest.get_or_create(&agent).set(end);
            }
            packets.get_or_create(&agent).inc_by(heard.coverage.packets);
            dropped.get_or_create(&agent).inc_by(heard.coverage.kernel_dropped.unwrap_or(0));
            undelivered.get_or_create(&agent).inc_by(heard.undelivered);
            returns.get_or_create(&agent).inc_by(heard.runs.returns);
            for (opening, count) in
                [("seen", heard.coverage.from_start), ("missed", heard.coverage.mid_stream)]
            {
                openings.get_or_create(&AgentOpening { agent: name.clone(), opening }).inc_by(count);
            }
            for (reason, count) in &heard.coverage.skipped {
                let key = AgentReason { agent: name.clone(), reason: reason.clone() };
                unused.get_or_create(&key).inc_by(*count);
            }
        }
        let count = Gauge::<i64>::default();
        count.set(i64::try_from(agents.len()).unwrap_or(i64::MAX));
        registry.register("agents", "Agents heard of within a day", count);
        registry.register(
            "agent_last_delivery_timestamp_seconds",
            "When the agent's last delivery was kept",
            last,
        );
        registry.register(
            "agent_newest_flow_timestamp_seconds",
            "The end of the newest flow that the agent told of, by its own clock",
            newest,
        );
        registry.register("agent_packets", "Packets that the agent's run has read", packets);
        registry.register(
            "agent_dropped_packets",
            "Packets that the kernel dropped before the agent read them",
            dropped,
        );
        registry.register(
            "agent_undelivered_flows",
            "Reports of flows that the agent lost for good",
            undelivered,
        );
        registry.register(
            "agent_name_conflicts",
            "Deliveries after which two agents are known to have this one name",
            returns,
        );
        registry.register("agent_tcp_flows", "TCP flows, by whether their opening was seen", openings);
        registry.register("agent_unused", "Packets, or parts of them, that were not used, by reason", unused);
    }
}

#[expect(clippy::disallowed_methods, reason = "when an agent was last heard of is told by the wall clock")]
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn tally(agent: &str, packets: u64) -> Tally {
        Tally {
            agent: agent.to_owned(),
            run: "1".to_owned(),
            coverage: Coverage { packets, ..Coverage::default() },
            undelivered: 0,
            newest: None,
            flows: BTreeMap::new(),
            hidden: BTreeMap::new(),
        }
    }

    fn page(metrics: &Metrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn agents_are_remembered_for_a_day_and_no_more_than_so_many() {
        let metrics = Metrics::default();
        metrics.heard(tally("gone", 1), 0.0);
        metrics.heard(tally("node", 5), REMEMBERED - 1.0);
        assert!(page(&metrics).contains("agent_packets_total{agent=\"gone\"} 1"));
        metrics.heard(tally("node", 7), REMEMBERED);
        let text = page(&metrics);
        assert!(!text.contains("gone"), "{text}");
        assert!(text.contains("agent_packets_total{agent=\"node\"} 7"), "{text}");
        for number in 0..u32::try_from(AGENTS).unwrap() {
            metrics.heard(tally(&format!("agent-{number}"), 1), REMEMBERED + 1.0 + f64::from(number));
        }
        let text = page(&metrics);
        assert!(text.contains(&format!("agents {AGENTS}\n")));
        assert!(!text.contains("\"node\""), "the one silent for longest gives way");
        assert!(text.contains("\"agent-0\""));
    }

    #[test]
    fn a_run_that_comes_back_is_a_second_agent_of_that_name() {
        let metrics = Metrics::default();
        let heard = |agent: &str, run: u32| {
            metrics.heard(Tally { run: run.to_string(), ..tally(agent, 1) }, 0.0);
        };
        // Restarts, more often than runs are remembered, with deliveries that waited.
        for run in 0..30 {
            heard("alone", run);
            heard("alone", run);
        }
        for run in [1, 1, 2, 1, 2, 2, 3, 1] {
            heard("both", run);
        }
        let text = page(&metrics);
        assert!(text.contains("agent_name_conflicts_total{agent=\"alone\"} 0\n"), "{text}");
        assert!(text.contains("agent_name_conflicts_total{agent=\"both\"} 3\n"), "{text}");
    }

    #[test]
    fn it_is_said_at_once_and_then_now_and_then() {
        let mut runs = Runs::default();
        let said: Vec<bool> =
            [("a", 0.0), ("b", 1.0), ("a", 2.0), ("b", 3.0), ("a", 2.0 + SAID), ("a", 200.0)]
                .map(|(run, at)| runs.delivered(run, at))
                .into();
        assert_eq!(said, [false, false, true, false, true, false]);
    }
}
