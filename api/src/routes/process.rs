//! `/livez`, `/readyz`, `/metrics`, `/version`: for those who run the server.

use std::sync::atomic::AtomicU64;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use serde_json::json;
use store::query::Query;

use crate::error::ApiError;
use crate::{State as App, VERSION};

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Protection {
    class: String,
    proof: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    id: String,
    severity: String,
}

pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// Ready means that the store answers and that there are policies to judge by.
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    app.store.ping().await?;
    if app.mesh.is_none() && app.store.latest_mesh().await?.is_none() {
        tracing::warn!("not ready: no policies were loaded");
        return Err(ApiError::Unavailable);
    }
    Ok("ok\n")
}

pub(crate) async fn version() -> Json<serde_json::Value> {
    Json(json!({ "name": "wireproof", "version": VERSION }))
}

pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let all = Query::default();
    let totals = app.store.totals(&all).await?;
    let tallies = app.store.violations_summary(&all).await?;
    let coverage = app.store.coverage().await?.total;

    let flows = Family::<Protection, Gauge>::default();
    for (class, proofs) in totals.flows {
        for (proof, count) in proofs {
            flows.get_or_create(&Protection { class: class.clone(), proof }).set(signed(count));
        }
    }
    let open = Family::<Kind, Gauge>::default();
    for tally in tallies {
        let kind = Kind { id: tally.id, severity: tally.severity.name().into() };
        open.get_or_create(&kind).inc_by(signed(tally.findings));
    }
    let mut registry = Registry::with_prefix("wireproof");
    registry.register("flows", "Flows in the store, by class and proof", flows);
    registry.register("violations_open", "Findings in the store, by id and severity", open);
    if let Some(share) = coverage.ratio() {
        let ratio = Gauge::<f64, AtomicU64>::default();
        ratio.set(share);
        registry.register("coverage_ratio", "Share of TCP flows seen from their start", ratio);
    }
    let packets = Gauge::<i64>::default();
    packets.set(signed(coverage.packets));
    registry.register("packets_read", "Packets read by all sources", packets);
    registry.register("http_requests", "Requests answered", app.requests.clone());
    registry.register("build", "The running program", Info::new(vec![("version", VERSION)]));
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        return Err(ApiError::Unavailable);
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
