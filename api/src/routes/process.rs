//! `/livez`, `/readyz`, `/metrics`, `/version`: for those who run the server.

use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use flow::{Class, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use serde_json::json;
use store::Store;
use store::answer::{Edge, Sources, Tally, Totals};
use store::error::StoreError;
use store::query::{Paging, Query};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::error::ApiError;
use crate::metrics::Protection;
use crate::{State as App, VERSION};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    id: String,
    severity: String,
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    judgement: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClass {
    class: &'static str,
}

/// What counts as recent: a finding whose last flow is older is still kept, and no longer alarms.
const RECENT: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resource {
    kind: String,
}

/// How long the store may take where nobody says how long is waited for the answer: less than probes wait, as the chart has them.
const PATIENCE: Duration = Duration::from_secs(4);

/// What Prometheus says of how long it waits for a scrape.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// Who asks the store for a probe, and who for a scrape: one at a time each, so that a store which does not answer has no
/// more than two questions of theirs before it.
pub(crate) struct Turns {
    ready: Semaphore,
    metrics: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { ready: Semaphore::new(1), metrics: Semaphore::new(1) }
    }
}

/// Asks the store once it is one's turn; absent when there is no answer in time, or none at all, which the log tells.
async fn in_time<T>(
    turn: &Semaphore,
    patience: Duration,
    question: impl Future<Output = Result<T, StoreError>>,
) -> Option<T> {
    let asked = async {
        let _turn = turn.acquire().await;
        question.await
    };
    match timeout(patience, asked).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::error!(%error, "store does not answer");
            None
        }
        Err(_) => {
            tracing::error!(seconds = patience.as_secs_f64(), "store does not answer in time");
            None
        }
    }
}

pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// Ready means that the store answers and that there are policies to judge by. Where they are watched, those of an earlier
/// run do not count.
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    let stored = async {
        app.store.ping().await?;
        Ok(app.policies.mesh().is_some()
            || (app.policies.watch().is_none() && app.store.latest_mesh().await?.is_some()))
    };
    match in_time(&app.turns.ready, PATIENCE, stored).await {
        Some(true) => Ok("ok\n"),
        Some(false) => {
            tracing::info!("not ready: no policies were loaded yet");
            Err(ApiError::Unavailable)
        }
        None => Err(ApiError::Unavailable),
    }
}

pub(crate) async fn version() -> Json<serde_json::Value> {
    Json(json!({ "name": "wireproof", "version": VERSION }))
}

/// Everything in the OpenMetrics form: what the store can be asked for, then what this process counted, which is there whether or
/// not the store answers.
pub(crate) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let mut registry = Registry::with_prefix("wireproof");
    let kept = in_time(&app.turns.metrics, patience(&headers), Kept::of(app.store.as_ref())).await;
    let up = Gauge::<i64>::default();
    up.set(i64::from(kept.is_some()));
    registry.register("store_up", "Whether the store answered; 0: what it holds is not among these", up);
    if let Some(kept) = kept {
        kept.register(&mut registry);
    }
    watched(&app, &mut registry);
    app.metrics.register(&mut registry);
    app.upkeep.register(&mut registry);
    let late = Counter::<u64>::default();
    late.inc_by(app.store.late());
    registry.register("late_flows", "Reports of flows of days that are told by their sums", late);
    app.places.register(&mut registry);
    if let Some(collector) = &app.collector {
        let swept = collector.swept();
        let [mended, failed, crowded] = [0; 3].map(|_| Counter::<u64>::default());
        mended.inc_by(swept.mended);
        failed.inc_by(swept.failed);
        crowded.inc_by(swept.crowded);
        registry.register(
            "sweep_mended_flows",
            "Flows that another collector had recorded at the same moment",
            mended,
        );
        registry.register("sweep_failures", "Looks for such flows that failed", failed);
        registry.register(
            "crowded_flows",
            "Reports of flows left alone because too many had the same opening or handshake",
            crowded,
        );
    }
    registry.register("build", "The running program", Info::new(vec![("version", VERSION)]));
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        return Err(ApiError::Unavailable);
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// The state of the watch on a cluster; nothing where the policies came from files.
fn watched(app: &App, registry: &mut Registry) {
    if let Some(watch) = app.policies.watch() {
        let (objects, errors) =
            (Family::<Resource, Gauge>::default(), Family::<Resource, Counter>::default());
        for watched in watch.kinds {
            let kind = Resource { kind: watched.kind };
            objects.get_or_create(&kind).set(signed(watched.objects));
            errors.get_or_create(&kind).inc_by(watched.errors);
        }
        registry.register("policy_objects", "Watched objects, by kind", objects);
        registry.register("watch_errors", "Errors met while watching, by kind", errors);
        if let Some(since) = watch.since {
            let snapshot = Gauge::<i64>::default();
            snapshot.set(since.as_nanos() / 1_000_000_000);
            registry.register(
                "policy_snapshot_timestamp_seconds",
                "When the policies in force were first seen",
                snapshot,
            );
        }
    }
}

/// How long the store may take for a scrape: half of the time that the scraper says it waits, for what comes after must reach it too.
fn patience(headers: &HeaderMap) -> Duration {
    let told = headers.get(SCRAPE_TIMEOUT).and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
    told.and_then(|seconds| Duration::try_from_secs_f64(seconds / 2.0).ok()).unwrap_or(PATIENCE)
}

/// What the store holds.
struct Kept {
    totals: Totals,
    sources: Sources,
    open: Vec<Tally>,
    recent: Vec<Tally>,
    newest: Option<Edge>,
}

impl Kept {
    async fn of(store: &dyn Store) -> Result<Self, StoreError> {
        let totals = store.totals(&Query::default()).await?;
        let sources = store.coverage().await?;
        // What was mended long ago and is only told by sums is not open.
        let kept = Query { since: sources.flows_from, ..Query::default() };
        let open = store.violations_summary(&kept).await?;
        let recent = Query { since: Some(ago(RECENT)), ..Query::default() };
        let recent = store.violations_summary(&recent).await?;
        let plaintext = Query { class: vec![Class::Plaintext], ..Query::default() };
        let newest = store.edges(&plaintext, &Paging::first(1)).await?.rows.pop();
        Ok(Self { totals, sources, open, recent, newest })
    }

    /// It can shrink, so these are gauges.
    fn register(self, registry: &mut Registry) {
        let flows = Family::<Protection, Gauge>::default();
        for (class, proofs) in self.totals.flows {
            for (proof, count) in proofs {
                flows.get_or_create(&Protection { class: class.clone(), proof }).set(signed(count));
            }
        }
        registry.register("flows", "Connections in the store, by class and proof", flows);
        let translated = Gauge::<i64>::default();
        translated.set(signed(self.totals.translated));
        registry.register(
            "flows_translated",
            "Further flows: the other sides of address translations",
            translated,
        );
        let judgements = Family::<Outcome, Gauge>::default();
        for (judgement, count) in self.totals.judgements {
            judgements.get_or_create(&Outcome { judgement }).set(signed(count));
        }
        registry.register("judgements", "Connections in the store, by what came of judging them", judgements);

        let (open, recent) = (findings(self.open), findings(self.recent));
        registry.register(
            "violations_open",
            "Findings with flows, by id, severity and server namespace",
            open,
        );
        registry.register("violations_recent", "Those with a flow within the last hour", recent);

        let newest = Family::<OfClass, Gauge<f64, AtomicU64>>::default();
        if let Some(edge) = self.newest {
            newest.get_or_create(&OfClass { class: Class::Plaintext.name() }).set(seconds(edge.first_seen));
        }
        registry.register(
            "edge_newest_timestamp_seconds",
            "When the newest client began to reach a server's port in this class for the first time",
            newest,
        );

        let coverage = self.sources.total;
        if let Some(share) = coverage.ratio() {
            let ratio = Gauge::<f64, AtomicU64>::default();
            ratio.set(share);
            registry.register(
                "coverage_ratio",
                "Share of TCP connections in the store seen from their start",
                ratio,
            );
        }
        let packets = Gauge::<i64>::default();
        packets.set(signed(coverage.packets));
        registry.register("packets_read", "Packets read by all sources", packets);
    }
}

fn findings(tallies: Vec<Tally>) -> Family<Kind, Gauge> {
    let counts = Family::<Kind, Gauge>::default();
    for tally in tallies {
        let namespace = tally.namespace.unwrap_or_default();
        let kind = Kind { id: tally.id, severity: tally.severity.name().into(), namespace };
        counts.get_or_create(&kind).inc_by(signed(tally.findings));
    }
    counts
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers; microseconds survive")]
fn seconds(at: Timestamp) -> f64 {
    at.as_nanos() as f64 / 1e9
}

#[expect(clippy::disallowed_methods, reason = "what is recent is told by the wall clock")]
fn ago(time: Duration) -> Timestamp {
    let then = SystemTime::now().checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH);
    let since = then.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
