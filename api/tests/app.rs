//! The router without a socket: every route, every guard, and the description that others build against.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop here")]

use std::sync::Arc;

use analyzer::audit::Auditor;
use analyzer::mesh::{Manifest, Mesh};
use analyzer::report::{Judgement, SetAside, Severity};
use api::config::{Bind, Token};
use api::{Bounds, State};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use flow::{Class, Coverage, Endpoint, Timestamp};
use serde_json::Value;
use store::answer::MeshSnapshot;
use store::embedded::Embedded;
use store::sample::{Sample, sample};
use store::{Batch, Store};
use tower::ServiceExt as _;

const TOKEN: &str = "0123456789abcdef";

struct Served {
    app: Router,
    store: Arc<dyn Store>,
    _folder: tempfile::TempDir,
}

impl Served {
    async fn new(address: &str, token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Embedded::open(folder.path().join("s.sqlite")).unwrap());
        let mut late = Sample {
            id: 3,
            start: 300,
            client: "web/front",
            port: 9090,
            class: Class::Tls,
            ..Sample::default()
        }
        .judged();
        late.flow.from_start = false;
        let batch = Batch {
            flows: vec![
                sample(1, 100, Class::Plaintext, Some(("OB01", Severity::Critical))),
                sample(2, 200, Class::Mtls, None),
                late,
            ],
            coverage: [(
                "run".to_owned(),
                Coverage { packets: 9, from_start: 3, mid_stream: 1, ..Coverage::default() },
            )]
            .into(),
            ..Batch::default()
        };
        store.record(batch).await.unwrap();
        let bind =
            Bind::new(address.parse().unwrap(), token.map(|token| Token::parse(token).unwrap())).unwrap();
        let app = api::app(State::new(Arc::clone(&store), Some(Arc::new(mesh())), bind));
        Self { app, store, _folder: folder }
    }

    async fn open() -> Self {
        Self::new("127.0.0.1:8480", None).await
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::get(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost:8480");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.ask(path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn problem(&self, path: &str, status: u16, kind: &str) -> Value {
        let (found, headers, body) = self.ask(path, &[]).await;
        assert_eq!(found.as_u16(), status, "{path}: {body}");
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{path}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["type"], format!("/problems/{kind}"), "{path}");
        assert_eq!(problem["request_id"], headers["x-request-id"].to_str().unwrap());
        problem
    }
}

fn mesh() -> Mesh {
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: ledger-1, namespace: pay, labels: {app: ledger}, ownerReferences: [{kind: StatefulSet, name: ledger, controller: true}]}
spec: {containers: [{name: app}, {name: istio-proxy}]}
status: {podIP: 10.0.0.2}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: pay}
spec: {mtls: {mode: STRICT}}
";
    let (mesh, errors) = Mesh::load(vec![Manifest { file: "mesh.yaml".into(), text: text.into() }]);
    assert!(errors.is_empty(), "{errors:?}");
    mesh
}

#[tokio::test]
async fn every_list_answers_in_its_envelope() {
    let served = Served::open().await;
    for (path, rows) in [("flows", 3), ("edges", 3), ("violations", 1)] {
        let answer = served.json(&format!("/api/v1/{path}")).await;
        assert_eq!(answer["data"].as_array().unwrap().len(), rows, "{path}");
        assert_eq!(answer["next_cursor"], Value::Null, "{path}");
        assert_eq!(answer["meta"]["partial"], true, "{path}: a flow was joined mid-stream");
        assert_eq!(answer["meta"]["coverage"], 2.0 / 3.0, "{path}");
        assert_eq!(answer["meta"]["from"], "1970-01-01T00:01:40.000000000Z", "{path}");
    }
    let overview = &served.json("/api/v1/overview").await["data"];
    assert_eq!(overview["flows"]["plaintext"]["wire"], 1);
    assert_eq!(overview["findings"]["critical"], 1);
    assert_eq!(overview["coverage"]["packets"], 9);
    assert_eq!(overview["mesh"], Value::Null);
    assert_eq!(served.json("/api/v1/matrix").await["data"][0]["from"], "shop");
    assert_eq!(served.json("/api/v1/timeline").await["data"][0]["flows"]["plaintext"], 1);
    assert_eq!(served.json("/api/v1/coverage").await["data"]["sources"]["run"]["packets"], 9);
    assert_eq!(
        served.json("/api/v1/violations/summary").await["data"][0]["cause"],
        "PeerAuthentication/pay/default"
    );
    assert_eq!(served.json("/api/v1/edges?class=tls").await["data"][0]["client"]["workload"], "front");
    assert_eq!(served.json("/version").await["name"], "wireproof");
}

#[tokio::test]
async fn a_connection_seen_on_both_sides_of_a_translation_counts_once() {
    let served = Served::open().await;
    let mut aside = sample(4, 200, Class::Mtls, None);
    aside.judgement = Judgement::Exempt;
    aside.set_aside = Some(SetAside::Translated);
    served.store.record(Batch { flows: vec![aside], ..Batch::default() }).await.unwrap();
    let overview = &served.json("/api/v1/overview").await["data"];
    assert_eq!((&overview["flows"]["mtls"]["exact"], &overview["translated"]), (&1.into(), &1.into()));
    assert_eq!(overview["judgements"]["exempt"], Value::Null);
    let coverage = &served.json("/api/v1/coverage").await["data"];
    assert_eq!((&coverage["connections"], &coverage["translated"]), (&3.into(), &1.into()));
    for total in [&coverage["total"], &overview["coverage"]] {
        let told = ["flows", "from_start", "mid_stream", "packets"].map(|name| total[name].as_u64().unwrap());
        assert_eq!(told, [3, 2, 1, 9]);
    }
    assert_eq!(
        (&coverage["ratio"], &coverage["sources"]["run"]["from_start"]),
        (&Value::from(2.0 / 3.0), &Value::from(3))
    );
    assert_eq!(served.json("/api/v1/flows").await["data"].as_array().unwrap().len(), 4);
    let (_, _, metrics) = served.ask("/metrics", &[]).await;
    for line in ["wireproof_flows{class=\"mtls\",proof=\"exact\"} 1", "wireproof_flows_translated 1"] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn one_flow_and_one_finding_are_found_by_name() {
    let served = Served::open().await;
    let flow = served.json(&format!("/api/v1/flows/{:032x}", 1)).await;
    assert_eq!(flow["data"]["flow"]["class"], "plaintext");
    let key = served.json("/api/v1/violations").await["data"][0]["key"].as_str().unwrap().to_owned();
    assert_eq!(served.json(&format!("/api/v1/violations/{key}")).await["data"]["id"], "OB01");
    served.problem(&format!("/api/v1/flows/{:032x}", 9), 404, "not-found").await;
    served.problem(&format!("/api/v1/flows/%2B{:031x}", 1), 400, "bad-value").await;
    let problem = served.problem("/api/v1/flows/nine", 400, "bad-value").await;
    assert_eq!(problem["errors"][0]["pointer"], "path/id", "{problem}");
    served.problem("/api/v1/violations/0", 404, "not-found").await;
    served.problem("/api/v1/nothing", 404, "not-found").await;
    served.problem("/nothing", 404, "not-found").await;
}

#[tokio::test]
async fn filters_narrow_and_wrong_ones_are_refused() {
    let served = Served::open().await;
    for (query, rows) in [
        ("class=plaintext&class=tls", 2),
        ("to_namespace=pay", 3),
        ("from_workload=web%2Ffront", 1),
        ("severity=critical", 1),
        ("judgement=conforms&port=9090", 1),
        ("id=ob01", 1),
        ("since=1970-01-01T00:03:20Z", 2),
        ("until=1970-01-01T00:03:20Z", 1),
        // As it stands in the answers, with its signs written out and, as people paste it, without.
        ("community_id=1%3AwRMtbTX%2B%2BeajkWGJNFUlbK3rrGk%3D", 2),
        ("community_id=1:wRMtbTX++eajkWGJNFUlbK3rrGk=", 2),
        ("community_id=1:wCb3OG7yAFWelaUydu0D%2B125CLM=", 0),
    ] {
        let found = served.json(&format!("/api/v1/flows?{query}")).await;
        assert_eq!(found["data"].as_array().unwrap().len(), rows, "{query}");
    }
    let problem = served.problem("/api/v1/flows?from_ns=shop", 400, "unknown-filter").await;
    assert!(problem["detail"].as_str().unwrap().contains("did you mean 'from_namespace'?"), "{problem}");
    assert_eq!(problem["errors"][0]["pointer"], "query/from_ns");
    for path in [
        "flows?class=cleartext",
        "flows?port=http",
        "flows?community_id=1:wCb3OG7yAFWelaUydu0D",
        "flows?since=yesterday",
        "flows?limit=0",
        "edges?limit=1001",
        "violations?severity=bad",
        "flows?protocol=",
        "flows?id=OB99",
        "violations?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "readiness?since=2026-01-02T00:00:00Z&until=2026-01-02T00:00:00Z",
    ] {
        served.problem(&format!("/api/v1/{path}"), 400, "bad-value").await;
    }
    for path in
        ["coverage?class=tls", "matrix?limit=1", "violations/summary?cursor=x", "policies/effective?form=1"]
    {
        served.problem(&format!("/api/v1/{path}"), 400, "unknown-filter").await;
    }
    served.problem("/api/v1/flows?cursor=x", 400, "bad-cursor").await;
    // Only the last would count, and nobody would know.
    for (path, twice) in [
        ("flows?limit=1&limit=2", "limit"),
        ("violations?cursor=x&cursor=y", "cursor"),
        ("edges?since=2026-01-01T00:00:00Z&class=tls&since=2026-01-02T00:00:00Z", "since"),
        ("matrix?until=2026-01-01T00:00:00Z&until=2026-01-01T00:00:00Z", "until"),
        ("readiness?since=2026-01-01T00:00:00Z&since=2026-01-02T00:00:00Z", "since"),
        ("policies/effective?to=10.0.0.2:8080&sni=a.example&sni=b.example", "sni"),
    ] {
        let problem = served.problem(&format!("/api/v1/{path}"), 400, "bad-value").await;
        assert_eq!(problem["errors"][0]["pointer"], format!("query/{twice}"), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("more than once"), "{problem}");
    }
}

#[tokio::test]
async fn an_offset_may_be_written_with_a_bare_plus() {
    let served = Served::open().await;
    for path in ["flows", "timeline", "overview", "readiness"] {
        let asked = |plus: &str| {
            format!("/api/v1/{path}?since=1970-01-01T02:00:00{plus}02:00&until=1970-01-01%2001:30:00Z")
        };
        let written = served.json(&asked("%2B")).await;
        assert_eq!(written, served.json(&asked("+")).await, "{path}");
    }
}

#[tokio::test]
async fn pages_follow_their_link_while_flows_arrive() {
    let served = Served::open().await;
    let (mut path, mut ids) = (String::from("/api/v1/flows?limit=1&class=mtls&class=plaintext"), Vec::new());
    for id in 10.. {
        let (status, headers, body) = served.ask(&path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let page: Value = serde_json::from_str(&body).unwrap();
        ids.push(page["data"][0]["flow"]["id"].as_str().unwrap().to_owned());
        let later = sample(id, 1000, Class::Mtls, None);
        served.store.record(Batch { flows: vec![later], ..Batch::default() }).await.unwrap();
        let Some(link) = headers.get(header::LINK) else { break };
        let cursor = page["next_cursor"].as_str().unwrap();
        path = link.to_str().unwrap().split(['<', '>']).nth(1).unwrap().to_owned();
        assert!(path.ends_with(cursor), "{path}");
    }
    assert_eq!(ids, [format!("{:032x}", 2), format!("{:032x}", 1)]);
}

#[tokio::test]
async fn policies_are_explained_by_address_and_by_workload() {
    let served = Served::open().await;
    for query in ["from=10.0.0.1&to=10.0.0.2:8080", "workload=pay%2Fledger&port=8080"] {
        let found = &served.json(&format!("/api/v1/policies/effective?{query}")).await["data"];
        assert_eq!(found["server_mode"], "STRICT", "{query}");
        assert_eq!(found["server_mode_from"], "PeerAuthentication/pay/default", "{query}");
        assert!(!found["because"].as_array().unwrap().is_empty(), "{query}");
    }
    served.problem("/api/v1/policies/effective?workload=pay%2Fother&port=1", 404, "not-found").await;
    for query in ["", "?from=10.0.0.1", "?workload=pay%2Fledger", "?to=10.0.0.2:1&port=1", "?to=10.0.0.2"] {
        served.problem(&format!("/api/v1/policies/effective{query}"), 400, "bad-value").await;
    }
}

#[tokio::test]
async fn who_would_break_is_told_from_the_flows_in_the_store() {
    let served = Served::open().await;
    let found = &served.json("/api/v1/readiness?namespace=pay").await["data"];
    assert_eq!((&found["scope"], &found["all"]), (&"namespace pay".into(), &true.into()));
    assert_eq!(found["workloads"][0]["name"], "pay/ledger");
    assert_eq!(found["looked_at"], 3);
    assert_eq!(found["proposal"]["resource"], "PeerAuthentication/pay/default");
    let later =
        &served.json("/api/v1/readiness?workload=pay%2Fledger&since=2030-01-01T00:00:00Z").await["data"];
    assert_eq!((&later["looked_at"], &later["workloads"][0]["state"]), (&0.into(), &"no-traffic".into()));
    let problem = served.problem("/api/v1/readiness?namespace=pays", 404, "not-found").await;
    assert!(problem["detail"].as_str().unwrap().contains("did you mean pay?"), "{problem}");
    served.problem("/api/v1/readiness?namespace=pay&workload=pay%2Fledger", 400, "bad-value").await;
    served.problem("/api/v1/readiness?to_namespace=pay", 400, "unknown-filter").await;
}

#[tokio::test]
async fn flows_to_a_service_entrys_own_address_are_looked_at() {
    let served = Served::open().await;
    let text = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: books, namespace: pay}
spec: {hosts: [books.corp], addresses: [240.0.0.1], location: MESH_INTERNAL, resolution: STATIC, workloadSelector: {labels: {app: books}}, ports: [{number: 8080, name: http, protocol: HTTP}]}
---
apiVersion: v1
kind: Pod
metadata: {name: books, namespace: pay, labels: {app: books, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app}, {name: istio-proxy}]}
status: {podIP: 10.0.0.7}
";
    let manifests = vec![Manifest { file: "mesh.yaml".into(), text: text.into() }];
    let (mesh, errors) = Mesh::load(manifests);
    assert_eq!(errors, []);
    let mesh = Arc::new(mesh);
    let mut seen = sample(9, 900, Class::Plaintext, None).flow;
    seen.server = Endpoint { ip: "240.0.0.1".parse().unwrap(), port: 8080 };
    let judged = Auditor::new(Arc::clone(&mesh)).judge(&seen);
    assert_eq!(judged.server.namespace, None, "it is known by its host alone");
    served.store.record(Batch { flows: vec![judged], ..Batch::default() }).await.unwrap();
    let bind = Bind::new("127.0.0.1:8480".parse().unwrap(), None).unwrap();
    let app = api::app(State::new(Arc::clone(&served.store), Some(mesh), bind));
    let served = Served { app, ..served };
    for scope in ["namespace=pay", "workload=pay%2Fbooks", ""] {
        let found = &served.json(&format!("/api/v1/readiness?{scope}")).await["data"];
        assert_eq!(found["workloads"][0]["flows"], 1, "{scope}: {found}");
    }
}

#[tokio::test]
async fn without_policies_the_server_is_not_ready() {
    let served = Served::open().await;
    let bind = || Bind::new("127.0.0.1:8480".parse().unwrap(), None).unwrap();
    let bare = Served { app: api::app(State::new(Arc::clone(&served.store), None, bind())), ..served };
    assert_eq!(bare.ask("/livez", &[]).await.0, StatusCode::OK);
    bare.problem("/readyz", 503, "unavailable").await;
    bare.problem("/api/v1/policies/effective?to=10.0.0.2:1", 409, "no-mesh").await;
    bare.store.put_mesh(&MeshSnapshot::new(Timestamp::from_nanos(7), Vec::new())).await.unwrap();
    assert_eq!(bare.ask("/readyz", &[]).await.0, StatusCode::OK);
    assert_eq!(
        bare.json("/api/v1/overview").await["data"]["mesh"]["taken_at"],
        "1970-01-01T00:00:00.000000007Z"
    );
}

#[tokio::test]
async fn a_token_guards_the_api_and_the_metrics() {
    let served = Served::new("0.0.0.0:8480", Some(TOKEN)).await;
    let good = format!("Bearer {TOKEN}");
    for path in ["/api/v1/flows", "/api/v1/openapi.json", "/api/v1/nothing", "/metrics"] {
        served.problem(path, 401, "unauthorized").await;
        for wrong in ["Bearer wrong", "Basic 0123456789abcdef", "Bearer", "", "Bearer 0123456789abcdef0"] {
            let (status, headers, _) = served.ask(path, &[("authorization", wrong)]).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {wrong}");
            assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer");
        }
        let (status, _, _) = served.ask(path, &[("authorization", &good), ("host", "any.example")]).await;
        assert_ne!(status, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/", "/docs", "/livez", "/readyz", "/version"] {
        assert_eq!(served.ask(path, &[]).await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_foreign_host_is_not_answered_on_loopback() {
    let served = Served::open().await;
    for (host, status) in
        [("evil.example", 421), ("evil.example:8480", 421), ("127.0.0.1:8480", 200), ("[::1]:1", 200)]
    {
        assert_eq!(served.ask("/api/v1/overview", &[("host", host)]).await.0.as_u16(), status, "{host}");
    }
}

#[tokio::test]
async fn answers_carry_their_guards() {
    let served = Served::open().await;
    for path in ["/", "/docs", "/api/v1/overview", "/nothing"] {
        let (_, headers, _) = served.ask(path, &[]).await;
        assert!(
            headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'self'"),
            "{path}"
        );
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
    }
    let (_, headers, _) = served.ask("/", &[]).await;
    let tag = headers[header::ETAG].to_str().unwrap().to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        assert_eq!(
            served.ask("/", &[("if-none-match", &known)]).await.0,
            StatusCode::NOT_MODIFIED,
            "{known}"
        );
    }
    assert_eq!(served.ask("/", &[("if-none-match", "\"other\"")]).await.0, StatusCode::OK);
    let post = Request::post("/api/v1/flows").header("host", "localhost").body(Body::empty()).unwrap();
    assert_eq!(served.app.clone().oneshot(post).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn metrics_count_flows_findings_and_requests() {
    let served = Served::open().await;
    served.json("/api/v1/overview").await;
    let (_, _, text) = served.ask("/metrics", &[]).await;
    for line in [
        "wireproof_flows{class=\"plaintext\",proof=\"wire\"} 1",
        "wireproof_violations_open{id=\"OB01\",severity=\"critical\",namespace=\"pay\"} 1",
        "wireproof_judgements{judgement=\"violates\"} 1",
        "wireproof_edge_newest_timestamp_seconds{class=\"plaintext\"} 100.0",
        "wireproof_agents 0",
        "wireproof_coverage_ratio 0.666",
        "wireproof_http_requests_total{method=\"GET\",route=\"/api/v1/overview\",status=\"200\"} 1",
        "wireproof_build_info{version=",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    // The sample's flows are of 1970.
    assert!(!text.contains("wireproof_violations_recent{"), "{text}");
}

#[tokio::test]
async fn the_description_is_the_one_that_is_kept() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let now = format!("{}\n", api::openapi().to_pretty_json().unwrap());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == now, "the API's description changed: run with UPDATE=1 and review api/openapi.json");
    let served: Value = Served::open().await.json("/api/v1/openapi.json").await;
    assert_eq!(served, serde_json::from_str::<Value>(&kept).unwrap());
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(served["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    for (path, item) in served["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key("default"), "{method} {path}: {responses:?}");
            for (_, response) in responses.iter().filter(|(status, _)| !status.starts_with('2')) {
                let kinds: Vec<_> = response["content"].as_object().unwrap().keys().collect();
                assert_eq!(kinds, ["application/problem+json"], "{method} {path}");
            }
        }
    }
}

/// With the clock stopped, time passes when there is nothing else to do: the server's patience ends at once.
#[tokio::test(start_paused = true)]
async fn who_never_ends_a_request_s_head_or_asks_no_more_is_not_waited_for() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (address, _, _folder) = listening(Bounds::default()).await;
    for (sent, expected) in [
        ("", ""),
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", ""),
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", "ok\n"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.ends_with(expected) && answer.is_empty() == expected.is_empty(), "{sent:?}: {answer}");
    }
}

/// A server on loopback with these bounds, and where it is.
async fn listening(bounds: Bounds) -> (std::net::SocketAddr, Router, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(folder.path().join("s.sqlite")).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = State::new(store, None, Bind::new(address, None).unwrap()).bounded(bounds);
    let app = api::app(state.clone());
    tokio::spawn(async move { api::serve(listener, None, state, std::future::pending()).await });
    (address, app, folder)
}

/// All of 127.0.0.0/8 is this machine.
async fn connected(from: [u8; 4], to: std::net::SocketAddr) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

const ASKED: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A question with a long answer, and how many of those are more than the system holds where nobody reads them.
const DOCUMENT: &[u8] = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
const REQUESTS: usize = 400;

/// Tells whether a connection is answered; one without a place is closed.
async fn answered(stream: &mut tokio::net::TcpStream) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut answer = [0; 15];
    stream.write_all(ASKED).await.is_ok() && stream.read_exact(&mut answer).await.is_ok()
}

#[tokio::test]
async fn connections_past_a_bound_are_refused_and_counted() {
    let (address, app, folder) = listening(Bounds { in_all: 3, of_one: 2 }).await;
    let mut open = Vec::new();
    for (from, fits) in [(1, true), (1, true), (1, false), (2, true), (2, false), (3, false)] {
        let mut stream = connected([127, 0, 0, from], address).await;
        assert_eq!(answered(&mut stream).await, fits, "one more of 127.0.0.{from}");
        open.extend(fits.then_some(stream));
    }
    let store = Arc::new(Embedded::open(folder.path().join("t.sqlite")).unwrap());
    let served = Served { app, store, _folder: folder };
    let (_, _, metrics) = served.ask("/metrics", &[]).await;
    for line in [
        "wireproof_connections 3",
        "wireproof_connections_refused_total{bound=\"address\"} 1",
        "wireproof_connections_refused_total{bound=\"all\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    // A place that is given up is there for another one.
    drop(open.remove(0));
    while !answered(&mut connected([127, 0, 0, 3], address).await).await {
        tokio::task::yield_now().await;
    }
}

/// Who asks and does not read the answers is not waited for, as above.
#[tokio::test(start_paused = true)]
async fn who_takes_no_answers_has_no_place_for_ever() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (address, _, _folder) = listening(Bounds::default()).await;
    let mut stream = connected([127, 0, 0, 1], address).await;
    stream.write_all(&DOCUMENT.repeat(REQUESTS)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(400)).await;
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers).await;
    let count = answers.windows(8).filter(|bytes| bytes == b"HTTP/1.1").count();
    assert!((1..REQUESTS).contains(&count), "{count} answers");
}

/// Nor does one keep the server from ending.
#[tokio::test(start_paused = true)]
async fn who_takes_no_answers_is_not_waited_for_at_the_end() {
    use tokio::io::AsyncWriteExt as _;
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(folder.path().join("s.sqlite")).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = State::new(store, None, Bind::new(address, None).unwrap());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(api::serve(listener, None, state, async move { drop(ended.await) }));
    let mut stream = connected([127, 0, 0, 1], address).await;
    stream.write_all(&DOCUMENT.repeat(REQUESTS)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    end.send(()).unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(29), served).await.unwrap().unwrap();
}

/// One that asks again and again is ended with an answer, not in the middle of one.
#[tokio::test(start_paused = true)]
async fn an_old_connection_ends_with_an_answer() {
    use tokio::io::AsyncReadExt as _;
    let (address, _, _folder) = listening(Bounds::default()).await;
    let mut stream = connected([127, 0, 0, 1], address).await;
    let mut rest = vec![0; 4096];
    for turn in 0..16 {
        assert!(answered(&mut stream).await, "turn {turn}");
        let read = stream.read(&mut rest).await.unwrap();
        let said = String::from_utf8_lossy(&rest[..read]).to_lowercase();
        assert_eq!(said.contains("connection: close"), turn == 15, "turn {turn}: {said}");
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    }
    assert_eq!(stream.read(&mut rest).await.unwrap(), 0);
}
