//! What agents deliver, by HTTP: who may, what is kept, and what is said where it is not.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::sync::Arc;

use api::config::{Bind, Token};
use api::{Collector, State, Unavailable};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use flow::delivery::Heading;
use flow::{Class, Coverage};
use store::Store;
use store::embedded::Embedded;
use store::sample::sample;
use tower::ServiceExt as _;

const TOKEN: &str = "0123456789abcdef";

/// Keeps what it is given, or does not.
#[derive(Default)]
struct Kept {
    deliveries: std::sync::Mutex<Vec<(Heading, usize)>>,
    fails: Option<Unavailable>,
}

#[async_trait::async_trait]
impl Collector for Kept {
    async fn collect(&self, heading: Heading, flows: Vec<flow::Flow>) -> Result<(), Unavailable> {
        match self.fails {
            Some(error) => Err(error),
            None => {
                self.deliveries.lock().unwrap().push((heading, flows.len()));
                Ok(())
            }
        }
    }
}

fn heading(flows: u64) -> Heading {
    Heading {
        version: flow::delivery::VERSION,
        agent: "node-a".into(),
        run: "1".into(),
        sequence: 7,
        flows,
        coverage: Coverage { packets: 5, ..Coverage::default() },
        undelivered: 0,
    }
}

fn lines(heading: &Heading, flows: &[flow::Flow]) -> Vec<u8> {
    let mut lines = serde_json::to_string(heading).unwrap();
    for flow in flows {
        lines.push('\n');
        lines.push_str(&serde_json::to_string(flow).unwrap());
    }
    lines.into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut out, bytes).unwrap();
    out.finish().unwrap()
}

/// Delivers to a server that collects; returns the status, and what was kept.
async fn deliver(
    fails: Option<Unavailable>,
    token: Option<&str>,
    headers: &[(header::HeaderName, &str)],
    body: Vec<u8>,
) -> (StatusCode, HeaderMap, Vec<(Heading, usize)>) {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(folder.path().join("s.sqlite")).unwrap());
    let bind = Bind::new("127.0.0.1:8480".parse().unwrap(), Some(Token::parse(TOKEN).unwrap())).unwrap();
    let kept = Arc::new(Kept { fails, ..Kept::default() });
    let agents = token.map(|token| Token::parse(token).unwrap());
    let app = api::app(State::new(store, None, bind).collecting(kept.clone(), agents));
    let mut request = Request::post("/api/v1/ingest").header(header::HOST, "localhost");
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let answer = app.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let deliveries = kept.deliveries.lock().unwrap().clone();
    (answer.status(), answer.headers().clone(), deliveries)
}

const AGENTS: &str = "agents-0123456789";
const AS_AGENT: (header::HeaderName, &str) = (header::AUTHORIZATION, "Bearer agents-0123456789");

#[tokio::test]
async fn a_delivery_is_kept_whole() {
    let flows = [sample(1, 100, Class::Plaintext, None).flow, sample(2, 200, Class::Mtls, None).flow];
    let body = lines(&heading(2), &flows);
    let zipped = [AS_AGENT, (header::CONTENT_ENCODING, "gzip")];
    for (headers, body) in [(&zipped[..1], body.clone()), (&zipped, gzip(&body))] {
        let (status, _, kept) = deliver(None, Some(AGENTS), headers, body).await;
        assert_eq!((status, kept), (StatusCode::OK, vec![(heading(2), 2)]));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_for_good_and_half_of_it_is_not_kept() {
    let flow = sample(1, 100, Class::Plaintext, None).flow;
    let newer = Heading { version: 99, ..heading(0) };
    let other_s = Heading { agent: "node-a/veth1".into(), ..heading(0) };
    let mut cut = gzip(&lines(&heading(1), std::slice::from_ref(&flow)));
    cut.truncate(cut.len() / 2);
    let zip = (header::CONTENT_ENCODING, "gzip");
    for (headers, body) in [
        (vec![AS_AGENT], Vec::new()),
        (vec![AS_AGENT], b"{}".to_vec()),
        (vec![AS_AGENT], lines(&other_s, &[])),
        (vec![AS_AGENT], lines(&heading(2), std::slice::from_ref(&flow))),
        (
            vec![AS_AGENT],
            [lines(&heading(2), std::slice::from_ref(&flow)), b"\n{\"id\":1}".to_vec()].concat(),
        ),
        (vec![AS_AGENT, zip.clone()], cut),
        (vec![AS_AGENT, zip], b"no gzip".to_vec()),
    ] {
        let (status, _, kept) = deliver(None, Some(AGENTS), &headers, body.clone()).await;
        assert_eq!(
            (status, kept.len()),
            (StatusCode::UNPROCESSABLE_ENTITY, 0),
            "{}",
            String::from_utf8_lossy(&body)
        );
    }
    // A later server reads it: the agent keeps it.
    let (status, ..) = deliver(None, Some(AGENTS), &[AS_AGENT], lines(&newer, &[])).await;
    assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
    let odd = (header::CONTENT_ENCODING, "br");
    let (status, ..) = deliver(None, Some(AGENTS), &[AS_AGENT, odd], lines(&heading(0), &[])).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, ..) = deliver(None, Some(AGENTS), &[AS_AGENT], vec![b' '; 17 * 1024 * 1024]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let bomb = gzip(&vec![b' '; 100 * 1024 * 1024]);
    let (status, ..) =
        deliver(None, Some(AGENTS), &[AS_AGENT, (header::CONTENT_ENCODING, "gzip")], bomb).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[test]
fn a_form_of_another_version_is_named_whatever_else_is_in_it() {
    let mut other: &[u8] = br#"{"version":3,"node":{"name":"node-a"},"batch":7}"#;
    let refused = api::read_delivery(&mut other).map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "the form has version 3, this server reads 1 to 2");
}

#[tokio::test]
async fn a_server_that_cannot_keep_it_now_says_when_to_come_again() {
    let body = lines(&heading(0), &[]);
    let (status, ..) = deliver(Some(Unavailable), Some(AGENTS), &[AS_AGENT], body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn no_more_deliveries_are_read_at_a_time_than_fit_into_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(folder.path().join("s.sqlite")).unwrap());
    let bind = Bind::new("127.0.0.1:8480".parse().unwrap(), None).unwrap();
    let app = api::app(State::new(store, None, bind).collecting(Arc::new(Kept::default()), None));
    let post = |body: Body| {
        app.clone()
            .oneshot(Request::post("/api/v1/ingest").header(header::HOST, "localhost").body(body).unwrap())
    };
    // Agents that begin to send and do not go on. Each tells when it is read.
    let (tell, mut read) = tokio::sync::mpsc::unbounded_channel();
    let endless = || {
        let tell = tell.clone();
        Body::from_stream(futures::stream::poll_fn(move |_| {
            let _ = tell.send(());
            std::task::Poll::<Option<Result<Vec<u8>, std::io::Error>>>::Pending
        }))
    };
    let slow: Vec<_> = (0..8).map(|_| tokio::spawn(post(endless()))).collect();
    for _ in &slow {
        read.recv().await.unwrap();
    }
    // A bound on hanging: a server that reads this one too never answers.
    let answer =
        tokio::time::timeout(std::time::Duration::from_secs(20), post(endless())).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
    assert!(read.try_recv().is_err(), "its body was read");
    for gone in slow {
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
    }
    let answer = post(Body::from(lines(&heading(0), &[]))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "the places are not given back");
}

#[tokio::test]
async fn agents_carry_a_token_of_their_own() {
    let body = lines(&heading(0), &[]);
    let reader = (header::AUTHORIZATION, "Bearer 0123456789abcdef");
    let check = async |token, headers: &[_], expected| {
        assert_eq!(deliver(None, token, headers, body.clone()).await.0, expected, "{token:?} {headers:?}");
    };
    check(Some(AGENTS), &[AS_AGENT], StatusCode::OK).await;
    check(Some(AGENTS), std::slice::from_ref(&reader), StatusCode::UNAUTHORIZED).await;
    check(Some(AGENTS), &[], StatusCode::UNAUTHORIZED).await;
    check(None, &[reader], StatusCode::OK).await;
    check(None, &[AS_AGENT], StatusCode::UNAUTHORIZED).await;
    check(None, &[], StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn metrics_tell_of_agents_and_their_deliveries() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(folder.path().join("s.sqlite")).unwrap());
    let bind = Bind::new("127.0.0.1:8480".parse().unwrap(), None).unwrap();
    let app = api::app(State::new(store, None, bind).collecting(Arc::new(Kept::default()), None));
    let flows = [sample(1, 100, Class::Plaintext, None).flow, sample(2, 200, Class::Mtls, None).flow];
    let ended = flows.iter().filter(|flow| flow.close != flow::Close::Open).count();
    assert!(ended > 0, "an open flow is not counted: there is nothing to see here");
    let told = Heading {
        coverage: Coverage {
            packets: 5,
            kernel_dropped: Some(3),
            from_start: 2,
            skipped: [("not-ip".to_owned(), 4)].into(),
            ..Coverage::default()
        },
        undelivered: 6,
        ..heading(2)
    };
    for (body, status) in [(lines(&told, &flows), 200), (b"{}".to_vec(), 422)] {
        let post = Request::post("/api/v1/ingest").header(header::HOST, "localhost");
        let answer = app.clone().oneshot(post.body(Body::from(body)).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status);
    }
    let get = Request::get("/metrics").header(header::HOST, "localhost").body(Body::empty()).unwrap();
    let answer = app.oneshot(get).await.unwrap().into_body();
    let text = String::from_utf8(to_bytes(answer, usize::MAX).await.unwrap().to_vec()).unwrap();
    let newest = flows.iter().map(|flow| flow.end.as_nanos()).max().unwrap() as f64 / 1e9;
    for line in [
        "wireproof_agents 1",
        "wireproof_ingest_deliveries_total{result=\"kept\"} 1",
        "wireproof_ingest_deliveries_total{result=\"refused\"} 1",
        "wireproof_ingest_flows_total{class=\"plaintext\",proof=\"wire\"} 1",
        "wireproof_agent_packets_total{agent=\"node-a\"} 5",
        "wireproof_agent_dropped_packets_total{agent=\"node-a\"} 3",
        "wireproof_agent_undelivered_flows_total{agent=\"node-a\"} 6",
        "wireproof_agent_name_conflicts_total{agent=\"node-a\"} 0",
        "wireproof_agent_tcp_flows_total{agent=\"node-a\",opening=\"seen\"} 2",
        "wireproof_agent_unused_total{agent=\"node-a\",reason=\"not-ip\"} 4",
        "wireproof_agent_last_delivery_timestamp_seconds{agent=\"node-a\"} ",
        &format!("wireproof_agent_newest_flow_timestamp_seconds{{agent=\"node-a\"}} {newest:.1}"),
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line} is not in\n{text}");
    }
}
