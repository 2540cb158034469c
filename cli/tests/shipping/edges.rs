//! Edges that outlive their flows, as `wireproof serve` keeps them.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Collector, TESTDATA, boutique};
use crate::fleet::Server;
use crate::processes::{program, serve};

fn audited(store: &str, more: &[&str]) -> Collector {
    let mut command = Command::new(program("wireproof"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--store", store, "--mesh"]);
    command.arg(format!("{TESTDATA}/boutique/mesh.yaml")).arg("--input").arg(boutique()).args(more);
    let (child, url) = serve(command.env("WIREPROOF_STORE_PASSWORD", "writer-secret"));
    Collector { child, url }
}

/// Has the server change something in the database of a store.
fn run(store: &str, sql: &str) {
    let (server, database) = store.split_once('@').unwrap().1.split_once('/').unwrap();
    let request = ureq::post(format!("http://{server}/?database={database}"));
    let request = request.header("x-clickhouse-user", "writer").header("x-clickhouse-key", "writer-secret");
    request.send(sql).unwrap();
}

#[test]
fn edges_are_kept_when_their_flows_are_forgotten() {
    let Some((_server, store)) = Server::start("edges") else { return };
    let folder = tempfile::tempdir().unwrap();
    let whole = audited(folder.path().join("s.sqlite").to_str().unwrap(), &[]);
    let collector = audited(&store, &["--keep", "24h", "--keep-edges", "400d"]);
    let mut tries = 600;
    // The capture is older than a day.
    while collector.get("/api/v1/coverage")["meta"]["flows_from"].is_null() || !collector.flows().is_empty() {
        tries -= 1;
        assert!(tries > 0, "the flows are still there");
        std::thread::sleep(Duration::from_millis(100));
    }
    for path in ["/api/v1/edges?limit=1000", "/api/v1/matrix", "/api/v1/violations/summary"] {
        assert_eq!(collector.get(path)["data"], whole.get(path)["data"], "{path}");
    }
    assert_eq!(whole.get("/api/v1/coverage")["meta"]["flows_from"], Value::Null);
    let examples = |collector: &Collector| collector.get("/api/v1/violations")["data"][0]["examples"].clone();
    assert_eq!((examples(&collector), examples(&whole).is_array()), (Value::Array(vec![]), true));
    let mut metrics = ureq::get(format!("{}/metrics", collector.url)).call().unwrap();
    let metrics = metrics.body_mut().read_to_string().unwrap();
    assert!(
        metrics.contains("wireproof_flows{") && !metrics.contains("wireproof_violations_open{"),
        "{metrics}"
    );
    let said = Command::new(program("wireproof"))
        .args(["store", "status", "--store", &store])
        .env("WIREPROOF_STORE_PASSWORD", "writer-secret")
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("flows    0\n") && said.contains("         9600 h of edges\n"), "{said}");
}

/// Nothing is forgotten that is not summed up, and that is not in the log alone.
#[test]
fn days_that_cannot_be_summed_up_are_counted() {
    let Some((_server, store)) = Server::start("unsummed") else { return };
    let folder = tempfile::tempdir().unwrap();
    drop(audited(&store, &[]));
    // A table that can be read, and has no partitions.
    run(&store, "CREATE TABLE fixed AS edge ENGINE = Memory");
    run(&store, "EXCHANGE TABLES fixed AND edge");
    let collector = audited(&store, &["--keep", "24h", "--keep-edges", "400d"]);
    let count = |task: &str| {
        let mut metrics = ureq::get(format!("{}/metrics", collector.url)).call().unwrap();
        let metrics = metrics.body_mut().read_to_string().unwrap();
        let name = format!("wireproof_upkeep_failures_total{{task=\"{task}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).unwrap()
    };
    let mut tries = 600;
    while count("sum-days") == 0 {
        tries -= 1;
        assert!(tries > 0, "nothing failed");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!((count("sum-days"), count("forget")), (1, 0));
    let whole = audited(folder.path().join("s.sqlite").to_str().unwrap(), &[]);
    assert_eq!(collector.flows().len(), whole.flows().len(), "what is not summed up stays");
}

#[test]
fn edges_without_a_time_of_their_own_are_an_error_of_usage() {
    for (more, why) in [
        (&["--keep-edges", "400d"][..], "--keep <TIME>"),
        (&["--keep", "23h", "--keep-edges", "30d"][..], "a day at least"),
        (&["--keep", "30d", "--keep-edges", "30d"][..], "must be longer than --keep"),
        (&["--keep", "30d", "--keep-edges", "400d"][..], "is for a store in ClickHouse"),
    ] {
        let said = Command::new(program("wireproof"))
            .args(["serve", "--store", "never.sqlite", "--mesh"])
            .arg(format!("{TESTDATA}/boutique/mesh.yaml"))
            .args(more)
            .output()
            .unwrap();
        let (status, said) = (said.status.code(), String::from_utf8(said.stderr).unwrap());
        assert!(status == Some(2) && said.contains(why), "{status:?}: {said}");
    }
}
