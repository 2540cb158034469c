//! `/api/v1/readiness`: who would break if a namespace, a workload or the whole mesh became STRICT.

use analyzer::readiness::{Readiness, Scope, assess, check, hosts_of};
use axum::Json;
use axum::extract::{Query as Pairs, State};
use flow::{Class, Flow};
use serde::Serialize;
use store::Store;
use store::query::{MOST_ROWS, Paging, Query};
use utoipa::ToSchema;

use crate::State as App;
use crate::error::{ApiError, Problem};
use crate::filter;
use crate::routes::audit::{pairs, told};
use crate::view::One;

/// The most flows that are read of those which STRICT may refuse, and of those which it lets in.
const LOOKED_AT: [(&[Class], usize); 2] =
    [(&[Class::Plaintext, Class::Tls, Class::Opaque, Class::Unknown], 20_000), (&[Class::Mtls], 5_000)];

/// What becomes STRICT, and over which time.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters in openapi.json; `question` reads them")]
pub(crate) struct ReadinessParams {
    /// The namespace. Without it and `workload`, the whole mesh.
    namespace: Option<String>,
    /// The workload: `namespace/name`.
    workload: Option<String>,
    /// RFC 3339: only flows that began at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// RFC 3339: only flows that began before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
}

const NAMES: &[&str] = &["namespace", "workload", "since", "until"];

/// The answer, and how much it was worked out from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReadinessView {
    /// `scope`, `workloads`, `breaks`, `proposal`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    readiness: Readiness,
    /// How many flows were looked at, the newest ones.
    looked_at: usize,
    /// Whether those were all: else counts are of a part.
    all: bool,
}

/// Who would break if a namespace, a workload or the whole mesh became STRICT.
#[utoipa::path(get, path = "/readiness", params(ReadinessParams), responses(
    (status = 200, description = "Workloads before and after, the clients that would break, and what makes it STRICT", body = One<ReadinessView>),
    (status = 400, description = "Unknown parameter or bad value", body = Problem),
    (status = 404, description = "No such namespace or workload", body = Problem),
    (status = 409, description = "No policies were loaded", body = Problem)))]
pub(crate) async fn readiness(
    State(app): State<App>,
    asked: Result<Pairs<filter::Pairs>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<One<ReadinessView>>, ApiError> {
    let (scope, mut query) = question(&pairs(asked)?)?;
    let mesh = app.policies.mesh().ok_or(ApiError::NoMesh)?;
    let unclear = |unclear: analyzer::names::Unclear| ApiError::NotFound {
        what: format!("such namespace or workload: {unclear}"),
    };
    check(&mesh, &scope).map_err(unclear)?;
    let mut queries = Vec::new();
    if scope.whole(&mesh) == Scope::Mesh {
        query.to_namespace.clear();
    } else {
        // What a ServiceEntry leads to is known by its host, outside every namespace.
        let hosts = hosts_of(&mesh, &scope);
        if !hosts.is_empty() {
            let (outside, to_workload) = (vec![String::new()], hosts.into_iter().collect());
            queries.push(Query { to_namespace: outside, to_workload, ..query.clone() });
        }
    }
    queries.push(query);
    let (mut flows, mut all) = (Vec::new(), true);
    for (query, (classes, most)) in queries.iter().flat_map(|query| LOOKED_AT.map(|looked| (query, looked))) {
        let query = Query { class: classes.to_vec(), ..query.clone() };
        all &= newest(&*app.store, &query, most, &mut flows).await?;
    }
    let looked_at = flows.len();
    let assessed = tokio::task::spawn_blocking(move || assess(&mesh, &scope, &flows)).await;
    let readiness = assessed.map_err(|_| ApiError::Unavailable)?.map_err(unclear)?;
    told(&app, ReadinessView { readiness, looked_at, all }).await
}

/// Reads the newest flows, up to a bound; tells whether those were all.
async fn newest(
    store: &dyn Store,
    query: &Query,
    most: usize,
    flows: &mut Vec<Flow>,
) -> Result<bool, ApiError> {
    let mut paging = Paging::first(MOST_ROWS);
    let before = flows.len();
    loop {
        let page = store.flows(query, &paging).await?;
        flows.extend(page.rows.into_iter().map(|judged| judged.flow));
        paging.cursor = page.next_cursor;
        if paging.cursor.is_none() {
            return Ok(true);
        }
        if flows.len().saturating_sub(before) >= most {
            return Ok(false);
        }
    }
}

fn question(pairs: &filter::Pairs) -> Result<(Scope, Query), ApiError> {
    filter::once(pairs, NAMES)?;
    let (mut scope, mut query) = (Scope::Mesh, Query::default());
    for (name, value) in pairs {
        match name.as_str() {
            "namespace" if scope == Scope::Mesh => {
                scope = Scope::Namespace(value.clone());
                query.to_namespace = vec![value.clone()];
            }
            "workload" if scope == Scope::Mesh => {
                scope = Scope::Workload(value.clone());
                // A Service that leads to it may have another name.
                query.to_namespace = value.split('/').next().map(str::to_owned).into_iter().collect();
            }
            "namespace" | "workload" => {
                let detail = "give one namespace, or one workload".to_owned();
                return Err(ApiError::BadValue { name: name.clone(), detail });
            }
            "since" => query.since = Some(filter::time(name, value)?),
            "until" => query.until = Some(filter::time(name, value)?),
            other => return Err(filter::unknown(other, NAMES.iter())),
        }
    }
    filter::in_order(&query)?;
    Ok((scope, query))
}
