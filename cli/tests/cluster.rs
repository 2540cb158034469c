//! Commands that ask a cluster, against a test server that answers as a real API server was recorded to.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop here")]
#![expect(clippy::print_stderr, reason = "says why it was skipped")]

#[path = "../../cluster/tests/watch/server.rs"]
#[expect(dead_code, reason = "the watch's own tests use all of it")]
mod server;

#[expect(dead_code, reason = "others take root, and kill what they started")]
mod processes;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use assert_cmd::Command;
use flow::Timestamp;
use serde_json::{Value, json};

use crate::server::Server;

const POLICIES: &str = "security.istio.io/peerauthentications";

fn wireproof() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wireproof"))
}

/// A cluster whose namespace is strict, with a pod that has a secret in its environment and no proxy.
fn cluster() -> Server {
    let server = Server::start();
    server.put("namespaces", json!({"metadata": {"name": "shop"}}));
    server.put(
        "pods",
        json!({"metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "web:1", "ports": [{"containerPort": 8080}],
                "env": [{"name": "PASSWORD", "value": "hidden"}]}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1"}}),
    );
    server.put(POLICIES, strict());
    server
}

fn strict() -> Value {
    json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "shop"}, "spec": {"mtls": {"mode": "STRICT"}}})
}

fn kubeconfig(folder: &Path, server: &Server) -> PathBuf {
    let path = folder.join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": format!("http://{}", server.address())}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    std::fs::write(&path, text.to_string()).unwrap();
    path
}

fn answer(command: &mut Command) -> Value {
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

#[test]
fn a_dump_answers_like_the_cluster_itself_against_a_test_server() {
    let (folder, server) = (tempfile::tempdir().unwrap(), cluster());
    let config = kubeconfig(folder.path(), &server);
    let dump = wireproof().args(["mesh", "dump", "--kubeconfig"]).arg(&config).assert().success();
    let dump = String::from_utf8(dump.get_output().stdout.clone()).unwrap();
    assert!(
        dump.contains("mode: STRICT") && !dump.contains("hidden") && !dump.contains("managedFields"),
        "{dump}"
    );
    let file = folder.path().join("mesh.yaml");
    std::fs::write(&file, dump).unwrap();

    let ids = |answer: &Value| -> Vec<Value> {
        answer["findings"].as_array().unwrap().iter().map(|finding| finding["id"].clone()).collect()
    };
    let live = answer(wireproof().args(["lint", "-o", "json", "--kubeconfig"]).arg(&config));
    let dumped = answer(wireproof().args(["lint", "-o", "json", "--mesh"]).arg(&file));
    assert!(ids(&live).contains(&json!("PA07")), "{live}");
    assert_eq!(ids(&live), ids(&dumped));

    let question = ["--from", "10.9.9.9", "--to", "10.0.0.1:8080", "-o", "json"];
    let live = answer(wireproof().args(["explain", "--kubeconfig"]).arg(&config).args(question));
    assert!(live.to_string().contains("pods/shop/web-0"), "{live}");
}

#[test]
fn a_cluster_that_tells_a_part_gives_no_answer_against_a_test_server() {
    let (folder, server) = (tempfile::tempdir().unwrap(), cluster());
    server.refuse(
        "pods",
        403,
        &json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden",
        "message": "pods is forbidden"})
        .to_string(),
    );
    let config = kubeconfig(folder.path(), &server);
    let refused = wireproof().args(["lint", "--kubeconfig"]).arg(&config).assert().code(4);
    let told = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(told.contains("the permission to list and watch pods in every namespace is missing"), "{told}");
    assert!(refused.get_output().stdout.is_empty());
}

#[test]
fn an_api_server_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = cluster();
    let config = kubeconfig(folder.path(), &server);
    server.stop();
    let refused = wireproof().args(["lint", "--kubeconfig"]).arg(&config).assert().code(4);
    let told = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(
        told.contains("Connection refused") && told.contains(&format!("http://{}", server.address())),
        "{told}"
    );
}

#[test]
fn one_source_of_declarations_is_needed() {
    let refusals = [
        (vec!["lint"], 2),
        (vec!["mesh", "dump"], 2),
        (vec!["lint", "--mesh", ".", "--in-cluster"], 2),
        (vec!["lint", "--mesh", ".", "--kubeconfig", "k"], 2),
        (vec!["lint", "--kubeconfig", "k", "--in-cluster"], 2),
        (vec!["lint", "--mesh", ".", "--context", "c"], 2),
        (vec!["lint", "--kubeconfig", "not-there"], 3),
        (vec!["lint", "--in-cluster"], 3),
    ];
    for (arguments, status) in refusals {
        wireproof().env_remove("KUBERNETES_SERVICE_HOST").args(&arguments).assert().code(status);
    }
}

/// `wireproof serve` on a cluster, killed at its end.
struct Serving {
    _child: processes::Running,
    url: String,
}

impl Serving {
    fn start(folder: &Path, server: &Server) -> Self {
        let mut command = std::process::Command::new(processes::program("wireproof"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--kubeconfig"])
            .arg(kubeconfig(folder, server))
            .arg("--store")
            .arg(folder.join("store.sqlite"));
        let (_child, url) = processes::serve(&mut command);
        Self { _child, url }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.get(format!("{}{path}", self.url)).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).1).unwrap()
    }

    /// Waits until an answer is as wanted.
    fn until(&self, path: &str, wanted: impl Fn(u16, &str) -> bool) {
        let mut last = (0, String::new());
        for _ in 0..600 {
            last = self.get(path);
            if wanted(last.0, &last.1) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{path}: {last:?}");
    }

    /// Delivers one plaintext flow, as an agent does.
    fn deliver(&self, id: char, start: Timestamp) -> u16 {
        let end = Timestamp::from_nanos(start.as_nanos() + 1_000_000);
        let heading = json!({"version": 1, "agent": "node-a", "run": "1", "sequence": u32::from(id), "flows": 1,
            "coverage": flow::Coverage::default(), "undelivered": 0});
        let flow = json!({"id": id.to_string().repeat(32), "start": start, "end": end, "transport": "tcp",
            "client": {"ip": "10.0.0.9", "port": 40000}, "server": {"ip": "10.0.0.1", "port": 8080},
            "tunnel": [], "seen_at": [], "class": "plaintext", "proof": "wire", "reason": null, "protocol": "http/1.1",
            "upgrade": null, "tls": null, "from_start": true, "close": "fin",
            "packets": {"client": 6, "server": 4}, "bytes": {"client": 76, "server": 121}});
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let posted = agent
            .post(format!("{}/api/v1/ingest", self.url))
            .header("content-type", "application/x-ndjson")
            .send(format!("{heading}\n{flow}\n"));
        posted.unwrap().status().as_u16()
    }

    fn judged(&self, id: char) -> Value {
        self.json(&format!("/api/v1/flows/{}", id.to_string().repeat(32)))["data"].clone()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server takes changes at its own time, and so do these flows"
)]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap())
}

fn meshed(name: &str) -> Value {
    json!({"metadata": {"name": format!("{name}-0"), "namespace": "shop", "labels": {"app": name, "security.istio.io/tlsMode": "istio"}},
        "spec": {"containers": [{"name": "app", "image": "web:1", "ports": [{"containerPort": 8080}]},
            {"name": "istio-proxy", "image": "proxyv2:1.30.0", "args": ["proxy", "sidecar"]}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1"}})
}

#[test]
fn a_flow_is_judged_by_what_the_cluster_declared_when_it_began_against_a_test_server() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.put("namespaces", json!({"metadata": {"name": "shop"}}));
    server.put("pods", meshed("web"));
    server.put(POLICIES, strict());
    server.refuse(
        "nodes",
        403,
        &json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden",
        "message": "nodes is forbidden"})
        .to_string(),
    );
    let serving = Serving::start(folder.path(), &server);

    // Without one kind nothing is judged; the agent keeps what it has.
    serving.until("/metrics", |_, text| {
        text.lines().any(|line| {
            line.strip_prefix("wireproof_watch_errors_total{kind=\"nodes\"} ")
                .is_some_and(|count| count != "0")
        })
    });
    assert_eq!(serving.get("/readyz").0, 503);
    assert_eq!(serving.deliver('a', now()), 503);
    server.refuse_nothing();
    serving.until("/readyz", |status, _| status == 200);
    let metrics = serving.get("/metrics").1;
    assert!(metrics.contains("wireproof_policy_objects{kind=\"pods\"} 1"), "{metrics}");
    assert!(metrics.contains("wireproof_policy_snapshot_timestamp_seconds 1"), "{metrics}");

    let before = now();
    // The policy changes, and another pod gets the address.
    let asked = "/api/v1/policies/effective?from=10.0.0.9&to=10.0.0.1:8080";
    serving.until(asked, |_, text| text.contains("STRICT"));
    let mut permissive = strict();
    permissive["spec"]["mtls"]["mode"] = "PERMISSIVE".into();
    server.put(POLICIES, permissive);
    server.delete("pods", "shop", "web-0");
    server.put("pods", meshed("other"));
    serving.until(asked, |_, text| text.contains("PERMISSIVE") && text.contains("other"));
    let after = now();
    assert_eq!((serving.deliver('b', before), serving.deliver('c', after)), (200, 200));
    let (old, new) = (serving.judged('b'), serving.judged('c'));
    assert_eq!((&old["server"]["workload"], &new["server"]["workload"]), (&json!("web"), &json!("other")));
    assert_eq!(old["judgement"], "violates", "{old}");
    let cited = old["violations"][0]["because"].to_string();
    assert!(cited.contains("peerauthentications.security.istio.io/shop/default"), "{cited}");
    assert_ne!(new["violations"][0]["id"], old["violations"][0]["id"], "{new}");

    // A restart forgets none of it: what was in force then is in the store.
    drop(serving);
    let serving = Serving::start(folder.path(), &server);
    serving.until("/readyz", |status, _| status == 200);
    assert_eq!(serving.deliver('d', before), 200);
    assert_eq!(serving.judged('d')["server"]["workload"], "web");
    assert_eq!(serving.judged('d')["judgement"], "violates");
}
