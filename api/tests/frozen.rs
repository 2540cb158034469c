//! A store that takes questions and does not answer them, as a server does that was stopped in the middle.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use analyzer::mesh::Mesh;
use analyzer::report::{Finding, Judged};
use api::State;
use api::config::Bind;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use flow::{FlowId, Timestamp};
use futures::future::join_all;
use store::answer::{
    Edge, MatrixCell, MeshSnapshot, MeshVersion, Page, Sources, Tally, TimelineBucket, Totals,
};
use store::error::StoreError;
use store::query::{Paging, Query};
use store::sightings::Sought;
use store::{Batch, Store};
use tokio::time::Instant;
use tower::ServiceExt as _;

/// Counts the questions that are before it, and how many were at once.
#[derive(Debug, Default)]
struct Frozen {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Asked<'a>(&'a Frozen);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Frozen {
    async fn never<T>(&self) -> Result<T, StoreError> {
        let now = self.now.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.most.fetch_max(now, Ordering::Relaxed);
        let _asked = Asked(self);
        pending().await
    }
}

#[async_trait::async_trait]
impl Store for Frozen {
    async fn record(&self, _: Batch) -> Result<(), StoreError> {
        self.never().await
    }
    async fn flows(&self, _: &Query, _: &Paging) -> Result<Page<Judged>, StoreError> {
        self.never().await
    }
    async fn flow(&self, _: FlowId) -> Result<Option<Judged>, StoreError> {
        self.never().await
    }
    async fn sightings(&self, _: &[Sought]) -> Result<Vec<Judged>, StoreError> {
        self.never().await
    }
    async fn edges(&self, _: &Query, _: &Paging) -> Result<Page<Edge>, StoreError> {
        self.never().await
    }
    async fn violations(&self, _: &Query, _: &Paging) -> Result<Page<Finding>, StoreError> {
        self.never().await
    }
    async fn violation(&self, _: &str) -> Result<Option<Finding>, StoreError> {
        self.never().await
    }
    async fn violations_summary(&self, _: &Query) -> Result<Vec<Tally>, StoreError> {
        self.never().await
    }
    async fn matrix(&self, _: &Query) -> Result<Vec<MatrixCell>, StoreError> {
        self.never().await
    }
    async fn totals(&self, _: &Query) -> Result<Totals, StoreError> {
        self.never().await
    }
    async fn timeline(&self, _: &Query, _: u32) -> Result<Vec<TimelineBucket>, StoreError> {
        self.never().await
    }
    async fn coverage(&self) -> Result<Sources, StoreError> {
        self.never().await
    }
    async fn put_mesh(&self, _: &MeshSnapshot) -> Result<(), StoreError> {
        self.never().await
    }
    async fn latest_mesh(&self) -> Result<Option<MeshSnapshot>, StoreError> {
        self.never().await
    }
    async fn mesh_at(&self, _: Timestamp) -> Result<Option<MeshSnapshot>, StoreError> {
        self.never().await
    }
    async fn meshes(&self) -> Result<Vec<MeshVersion>, StoreError> {
        self.never().await
    }
    async fn keep(&self, _: Option<Duration>, _: Timestamp) -> Result<(), StoreError> {
        self.never().await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.never().await
    }
}

fn app(store: &Arc<Frozen>) -> Router {
    let (mesh, _) = Mesh::load(Vec::new());
    let bind = Bind::new("127.0.0.1:8480".parse().unwrap(), None).unwrap();
    let store: Arc<dyn Store> = Arc::clone(store) as _;
    api::app(State::new(store, Some(Arc::new(mesh)), bind))
}

/// Asks, and says how many seconds the answer took.
async fn ask(app: &Router, path: &str, scraper: Option<&str>) -> (u64, StatusCode, String) {
    let mut request = Request::get(path).header("host", "localhost");
    if let Some(seconds) = scraper {
        request = request.header("x-prometheus-scrape-timeout-seconds", seconds);
    }
    let begun = Instant::now();
    let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (begun.elapsed().as_secs(), status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_told_soon() {
    let app = app(&Arc::default());
    let (seconds, status, _) = ask(&app, "/readyz", None).await;
    assert_eq!((seconds, status), (4, StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(ask(&app, "/livez", None).await.0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_scrape_has_what_this_process_counts_and_says_what_is_missing() {
    let app = app(&Arc::default());
    for (scraper, expected) in
        [(None, 4), (Some("10"), 5), (Some("3"), 1), (Some("soon"), 4), (Some("-1"), 4)]
    {
        let (seconds, status, text) = ask(&app, "/metrics", scraper).await;
        assert_eq!((seconds, status), (expected, StatusCode::OK), "{scraper:?}");
        let lines: Vec<&str> = text.lines().collect();
        for line in ["wireproof_store_up 0", "wireproof_agents 0", "# EOF"] {
            assert!(lines.contains(&line), "{line} is not in\n{text}");
        }
        // A count of nothing would be an answer.
        assert!(!text.contains("wireproof_flows"), "{text}");
        assert!(!text.contains("wireproof_violations"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_do_not_pile_up() {
    let store = Arc::<Frozen>::default();
    let app = app(&store);
    for path in ["/readyz", "/metrics"] {
        let answers = join_all((0..50).map(|_| ask(&app, path, None))).await;
        assert!(answers.iter().all(|(seconds, ..)| *seconds == 4), "{path}");
    }
    let [now, most] = [&store.now, &store.most].map(|count| count.load(Ordering::Relaxed));
    assert_eq!((now, most), (0, 1));
}
