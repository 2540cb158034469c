//! Commands that ask a cluster, against a test server that answers as a real API server was recorded to.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop here")]

#[path = "../../cluster/tests/watch/server.rs"]
#[expect(dead_code, reason = "the watch's own tests use all of it")]
mod server;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
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
    assert!(live.to_string().contains("peerauthentications.security.istio.io/shop/default"), "{live}");
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
