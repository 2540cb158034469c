//! HTTP in, HTTP out: the API over a store, and the dashboard. Nothing is decided here.
//!
//! A [`State`] comes in, a router goes out ([`app`]); [`serve`] runs it on a listener. No file is opened and no SQL is
//! written here; where to listen and who may ask is checked by [`config`].

pub mod config;
mod description;
mod error;
mod filter;
mod identity;
mod metrics;
mod places;
mod policies;
mod routes;
mod serving;
mod tls;
mod upkeep;
mod view;

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use analyzer::mesh::Mesh;
use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use flow::Flow;
use flow::delivery::Heading;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tracing::Instrument as _;
use utoipa::{Modify as _, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::{Bind, Token};
use crate::description::Common;
use crate::error::ApiError;
use crate::identity::Identity;
use crate::metrics::{Metrics, Request as Answered, Tally};
pub use crate::places::Bounds;
use crate::places::{Door, Places};
pub use crate::policies::{Policies, Watch, Watched};
pub use crate::routes::ingest::{Collector, Swept, Unavailable, Unreadable, read_delivery};
use crate::routes::{audit, ingest, page, policy, process, readiness};
use crate::tls::Peer;
pub use crate::tls::{Pem, Tls, TlsError};
pub use crate::upkeep::{Task, Upkeep};
use crate::view::MeshView;

/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where agents deliver.
const INGEST: &str = "/api/v1/ingest";

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest request body, in bytes, but for deliveries; no other route reads one.
const BODY: usize = 64 * 1024;

/// What the routes answer from.
#[derive(Clone)]
pub struct State {
    store: Arc<dyn Store>,
    policies: Arc<dyn Policies>,
    bind: Bind,
    collector: Option<Arc<dyn Collector>>,
    agents: Option<Token>,
    certificates: bool,
    under_way: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    turns: Arc<process::Turns>,
    upkeep: Upkeep,
    places: Arc<Places>,
    ids: Arc<(RandomState, AtomicU64)>,
}

impl State {
    /// Takes the store, the policies in force (absent when none were loaded), and who may ask.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, mesh: Option<Arc<Mesh>>, bind: Bind) -> Self {
        Self {
            store,
            policies: Arc::new(mesh),
            bind,
            collector: None,
            agents: None,
            certificates: false,
            under_way: Arc::new(Semaphore::new(ingest::UNDER_WAY)),
            metrics: Arc::default(),
            turns: Arc::default(),
            upkeep: Upkeep::default(),
            places: Arc::new(Places::new(Bounds::default())),
            ids: Arc::default(),
        }
    }

    /// Takes deliveries of agents too, which carry a token of their own where there is one: it opens nothing else.
    #[must_use]
    pub fn collecting(mut self, collector: Arc<dyn Collector>, agents: Option<Token>) -> Self {
        (self.collector, self.agents) = (Some(collector), agents);
        self
    }

    /// Takes deliveries of who shows a verified certificate instead of a token, under the names in it alone.
    #[must_use]
    pub fn certified(mut self) -> Self {
        self.certificates = true;
        self
    }

    /// Takes policies that change while this serves, in place of those it was made with.
    #[must_use]
    pub fn watching(mut self, policies: Arc<dyn Policies>) -> Self {
        self.policies = policies;
        self
    }

    /// Tells among its metrics what of the upkeep failed.
    #[must_use]
    pub fn counting(mut self, upkeep: Upkeep) -> Self {
        self.upkeep = upkeep;
        self
    }

    /// Lets so many connections be open at a time.
    #[must_use]
    pub fn bounded(mut self, bounds: Bounds) -> Self {
        self.places = Arc::new(Places::new(bounds));
        self
    }

    /// Judges, keeps and counts a delivery, whichever way it came.
    ///
    /// # Errors
    ///
    /// When it was not kept; where nothing collects, nothing ever is.
    pub async fn keep(&self, heading: Heading, flows: Vec<Flow>) -> Result<(), Unavailable> {
        let collector = self.collector.as_ref().ok_or(Unavailable)?;
        let tally = Tally::of(&heading, &flows);
        collector.collect(heading, flows).await?;
        self.metrics.kept(tally);
        Ok(())
    }

    async fn mesh_version(&self) -> Result<Option<MeshView>, ApiError> {
        Ok(self.store.meshes().await?.into_iter().next().map(MeshView::from))
    }

    fn request_id(&self) -> String {
        let (random, count) = &*self.ids;
        format!("{:016x}", random.hash_one(count.fetch_add(1, Ordering::Relaxed)))
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "wireproof",
    description = "Which connections of a mesh break their declared Istio policy, why, and what mends it."
))]
struct Description;

/// Describes the API: OpenAPI 3.1, as served at `/api/v1/openapi.json`.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().1
}

fn described() -> (Router<State>, utoipa::openapi::OpenApi) {
    let routes = OpenApiRouter::new()
        .routes(routes!(audit::flows))
        .routes(routes!(audit::flow))
        .routes(routes!(audit::edges))
        .routes(routes!(audit::violations))
        .routes(routes!(audit::summary))
        .routes(routes!(audit::violation))
        .routes(routes!(audit::matrix))
        .routes(routes!(audit::timeline))
        .routes(routes!(audit::overview))
        .routes(routes!(audit::coverage))
        .routes(routes!(policy::effective))
        .routes(routes!(readiness::readiness))
        .layer(RequestBodyLimitLayer::new(BODY));
    let deliveries = OpenApiRouter::new()
        .routes(routes!(ingest::ingest))
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(ingest::DELIVERY));
    let routes = routes.merge(deliveries);
    let (router, mut description) =
        OpenApiRouter::with_openapi(Description::openapi()).nest("/api/v1", routes).split_for_parts();
    Common.modify(&mut description);
    (router, description)
}

/// Builds the router with every route and every guard.
pub fn app(state: State) -> Router {
    let (api, description) = described();
    let description = Arc::new(description);
    api.route("/api/v1/openapi.json", get(move || async move { axum::Json(description) }))
        .route("/", get(page::index))
        .route("/assets/{*path}", get(page::asset))
        .route("/docs", get(page::docs))
        .route("/docs.js", get(page::docs_script))
        .route("/docs.css", get(page::docs_style))
        .route("/livez", get(process::alive))
        .route("/readyz", get(process::ready))
        .route("/metrics", get(process::metrics))
        .route("/version", get(process::version))
        .fallback(async || ApiError::NotFound { what: "such page".into() })
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIMEOUT))
        .layer(middleware::from_fn_with_state(state.clone(), guard))
        .layer(middleware::from_fn_with_state(state.clone(), finish))
        .layer(CompressionLayer::new())
        .with_state(state)
}

/// Serves the router of [`app`] until `shutdown` is done; requests that have begun are finished. With `tls` it speaks TLS only.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    state: State,
    shutdown: impl Future<Output = ()>,
) {
    let door = Door::new(listener, Arc::clone(&state.places));
    let app = app(state);
    match tls {
        None => serving::serve(door, app, |_, _| None, shutdown).await,
        Some(tls) => {
            let peer = |stream: &_, visitor: &_| Some(Peer::of(stream, visitor));
            serving::serve(tls::Secured::new(door, tls), app, peer, shutdown).await;
        }
    }
}

/// Lets a request in: the right host on loopback, the token where there is one. A delivery may come with a verified
/// certificate instead, and is bound to it then.
async fn guard(
    axum::extract::State(state): axum::extract::State<State>,
    mut request: Request,
    next: Next,
) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str));
    if !host.is_some_and(|host| state.bind.answers_to(host)) {
        return ApiError::UnknownHost.into_response();
    }
    let path = request.uri().path();
    let delivery = path == INGEST;
    let guarded = path == "/api" || path.starts_with("/api/") || path == "/metrics";
    let token = match &state.agents {
        Some(token) if delivery => Some(token),
        Some(_) | None => state.bind.token(),
    };
    let certified = delivery && state.certificates;
    if guarded && (token.is_some() || certified) && !token.is_some_and(|token| carries(&request, token)) {
        match request.extensions().get::<ConnectInfo<Peer>>() {
            Some(ConnectInfo(Peer(Some(identity)))) if certified => {
                let bound = Bound(Arc::clone(identity));
                request.extensions_mut().insert(bound);
            }
            Some(_) | None => return ApiError::Unauthorized.into_response(),
        }
    }
    next.run(request).await
}

/// Whose certificate a delivery came in with, in place of a token: it speaks for the agents that it names.
#[derive(Debug, Clone)]
pub(crate) struct Bound(pub(crate) Arc<Identity>);

fn carries(request: &Request, token: &Token) -> bool {
    let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let (scheme, secret) = given.split_at_checked(7).unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"bearer ") && token.matches(secret)
}

/// Counts the answer, names it, writes its problem document and its security headers.
async fn finish(
    axum::extract::State(state): axum::extract::State<State>,
    request: Request,
    next: Next,
) -> Response {
    let id = state.request_id();
    let instance = request.uri().path().to_owned();
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    // What is logged of this request carries its id.
    let span = tracing::error_span!("request", %id);
    let mut response = next.run(request).instrument(span.clone()).await;
    let _within = span.enter();
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let error = response.extensions_mut().remove::<ApiError>().unwrap_or(ApiError::Refused(status));
        if status.is_server_error() {
            tracing::warn!(path = %instance, status = status.as_u16(), "request not answered");
        } else {
            tracing::info!(path = %instance, status = status.as_u16(), "request refused");
        }
        let allow = response.headers_mut().remove(header::ALLOW);
        response = error.problem(instance, id.clone()).into_response();
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    state.metrics.requests.get_or_create(&Answered { method, route, status: status.as_u16() }).inc();
    let headers = response.headers_mut();
    let policy =
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}
