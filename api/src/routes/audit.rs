//! `/api/v1`: what the store holds.

use axum::Json;
use axum::extract::{OriginalUri, Path, Query as Pairs, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use flow::FlowId;
use store::answer::{Page, Sources};

use crate::State as App;
use crate::error::{ApiError, Problem};
use crate::filter::{self, FilterParams, PageParams};
use crate::view::{
    BucketView, CellView, CoverageView, EdgeView, MeshView, Meta, One, Overview, Rows, TallyView,
};

/// Steps of a timeline.
const BUCKETS: u32 = 120;

type Asked = Result<Pairs<filter::Pairs>, axum::extract::rejection::QueryRejection>;
type Listed<T> = Result<(HeaderMap, Json<Rows<T>>), ApiError>;
type Told<T> = Result<Json<One<T>>, ApiError>;

/// Flows, newest first.
#[utoipa::path(get, path = "/flows", params(FilterParams, PageParams), responses(
    (status = 200, description = "A page of judged flows", body = Rows<Object>),
    (status = 400, description = "Unknown filter, bad value or bad cursor", body = Problem)))]
pub(crate) async fn flows(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    asked: Asked,
) -> Listed<analyzer::report::Judged> {
    let (query, paging) = filter::page(&pairs(asked)?)?;
    let page = app.store.flows(&query, &paging).await?;
    listed(&app, &uri, page).await
}

/// One flow, by its id.
#[utoipa::path(get, path = "/flows/{id}", params(("id" = String, Path, description = "32 hex digits", pattern = "^[0-9a-fA-F]{32}$")), responses(
    (status = 200, description = "The judged flow", body = One<Object>),
    (status = 400, description = "No id of a flow", body = Problem),
    (status = 404, description = "No such flow", body = Problem)))]
pub(crate) async fn flow(
    State(app): State<App>,
    Path(id): Path<String>,
    asked: Asked,
) -> Told<analyzer::report::Judged> {
    filter::nothing(&pairs(asked)?)?;
    let id: FlowId = filter::value(&id).map_err(|detail| ApiError::BadPath { name: "id", detail })?;
    let found = app.store.flow(id).await?.ok_or_else(|| ApiError::NotFound { what: format!("flow {id}") })?;
    told(&app, found).await
}

/// Who talks to whom, and how: one row for each client, server, port, class and proof.
#[utoipa::path(get, path = "/edges", params(FilterParams, PageParams), responses(
    (status = 200, description = "A page of edges, latest first appearance first", body = Rows<EdgeView>),
    (status = 400, description = "Unknown filter, bad value or bad cursor", body = Problem)))]
pub(crate) async fn edges(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    asked: Asked,
) -> Listed<EdgeView> {
    let (query, paging) = filter::page(&pairs(asked)?)?;
    let page = app.store.edges(&query, &paging).await?;
    let rows = page.rows.into_iter().map(EdgeView::from).collect();
    listed(&app, &uri, Page { rows, next_cursor: page.next_cursor }).await
}

/// Findings, worst first.
#[utoipa::path(get, path = "/violations", params(FilterParams, PageParams), responses(
    (status = 200, description = "A page of findings", body = Rows<Object>),
    (status = 400, description = "Unknown filter, bad value or bad cursor", body = Problem)))]
pub(crate) async fn violations(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    asked: Asked,
) -> Listed<analyzer::report::Finding> {
    let (query, paging) = filter::page(&pairs(asked)?)?;
    let page = app.store.violations(&query, &paging).await?;
    listed(&app, &uri, page).await
}

/// One finding, by its key.
#[utoipa::path(get, path = "/violations/{id}", params(("id" = String, Path, description = "The finding's key: 16 hex digits")), responses(
    (status = 200, description = "The finding", body = One<Object>),
    (status = 404, description = "No such finding", body = Problem)))]
pub(crate) async fn violation(
    State(app): State<App>,
    Path(key): Path<String>,
    asked: Asked,
) -> Told<analyzer::report::Finding> {
    filter::nothing(&pairs(asked)?)?;
    let found = app.store.violation(&key).await?;
    told(&app, found.ok_or_else(|| ApiError::NotFound { what: "finding with this key".into() })?).await
}

/// Findings counted by id, severity, server namespace and cause.
#[utoipa::path(get, path = "/violations/summary", params(FilterParams), responses(
    (status = 200, description = "Counts, worst first", body = One<Vec<TallyView>>),
    (status = 400, description = "Unknown filter or bad value", body = Problem)))]
pub(crate) async fn summary(State(app): State<App>, asked: Asked) -> Told<Vec<TallyView>> {
    let query = filter::filters(&pairs(asked)?)?;
    let rows = app.store.violations_summary(&query).await?;
    told(&app, rows.into_iter().map(TallyView::from).collect()).await
}

/// Connections by client namespace and server namespace.
#[utoipa::path(get, path = "/matrix", params(FilterParams), responses(
    (status = 200, description = "One cell for each pair that has flows", body = One<Vec<CellView>>),
    (status = 400, description = "Unknown filter or bad value", body = Problem)))]
pub(crate) async fn matrix(State(app): State<App>, asked: Asked) -> Told<Vec<CellView>> {
    let query = filter::filters(&pairs(asked)?)?;
    let cells = app.store.matrix(&query).await?;
    told(&app, cells.into_iter().map(CellView::from).collect()).await
}

/// Connections by class over time, in at most 120 steps; steps without flows are left out.
#[utoipa::path(get, path = "/timeline", params(FilterParams), responses(
    (status = 200, description = "Steps in order of time", body = One<Vec<BucketView>>),
    (status = 400, description = "Unknown filter or bad value", body = Problem)))]
pub(crate) async fn timeline(State(app): State<App>, asked: Asked) -> Told<Vec<BucketView>> {
    let query = filter::filters(&pairs(asked)?)?;
    let steps = app.store.timeline(&query, BUCKETS).await?;
    told(&app, steps.into_iter().map(BucketView::from).collect()).await
}

/// Everything at a glance: connections by class and proof, outcomes, findings by severity, coverage, declarations.
#[utoipa::path(get, path = "/overview", params(FilterParams), responses(
    (status = 200, description = "Totals", body = One<Overview>),
    (status = 400, description = "Unknown filter or bad value", body = Problem)))]
pub(crate) async fn overview(State(app): State<App>, asked: Asked) -> Told<Overview> {
    let query = filter::filters(&pairs(asked)?)?;
    let totals = app.store.totals(&query).await?;
    let sources = app.store.coverage().await?;
    let mesh = app.mesh_version().await?;
    let meta = meta(&sources, mesh.clone());
    let overview = Overview {
        flows: totals.flows,
        judgements: totals.judgements,
        translated: totals.translated,
        findings: totals.findings,
        coverage: sources.total,
        mesh,
        from: totals.span.first,
        to: totals.span.last,
    };
    Ok(Json(One { data: overview, meta }))
}

/// What was read and what was not, in all and by source.
#[utoipa::path(get, path = "/coverage", responses(
    (status = 200, description = "Coverage", body = One<CoverageView>)))]
pub(crate) async fn coverage(State(app): State<App>, asked: Asked) -> Told<CoverageView> {
    filter::nothing(&pairs(asked)?)?;
    let sources = app.store.coverage().await?;
    let meta = meta(&sources, app.mesh_version().await?);
    let data = CoverageView {
        ratio: sources.total.ratio(),
        connections: sources.total.flows,
        total: sources.total,
        sources: sources.sources,
        translated: sources.translated,
    };
    Ok(Json(One { data, meta }))
}

pub(crate) fn pairs(asked: Asked) -> Result<filter::Pairs, ApiError> {
    asked
        .map(|Pairs(pairs)| pairs)
        .map_err(|rejection| ApiError::BadValue { name: "query".into(), detail: rejection.body_text() })
}

pub(crate) async fn told<T>(app: &App, data: T) -> Told<T> {
    let meta = meta(&app.store.coverage().await?, app.mesh_version().await?);
    Ok(Json(One { data, meta }))
}

async fn listed<T>(app: &App, uri: &Uri, page: Page<T>) -> Listed<T> {
    let mut headers = HeaderMap::new();
    if let Some(cursor) = &page.next_cursor {
        let kept: Vec<&str> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("cursor"))
            .collect();
        let query =
            kept.into_iter().chain([format!("cursor={cursor}").as_str()]).collect::<Vec<_>>().join("&");
        if let Ok(link) = HeaderValue::from_str(&format!("<{}?{query}>; rel=\"next\"", uri.path())) {
            headers.insert(header::LINK, link);
        }
    }
    let meta = meta(&app.store.coverage().await?, app.mesh_version().await?);
    Ok((headers, Json(Rows { data: page.rows, meta, next_cursor: page.next_cursor })))
}

fn meta(sources: &Sources, mesh: Option<MeshView>) -> Meta {
    let coverage = &sources.total;
    Meta {
        from: sources.span.first,
        to: sources.span.last,
        flows_from: sources.flows_from,
        coverage: coverage.ratio(),
        mesh,
        partial: !coverage.damaged.is_empty()
            || coverage.mid_stream > 0
            || coverage.kernel_dropped.unwrap_or(0) > 0,
    }
}
