//! Agents, a collector and its store as the processes that they are: what is captured arrives, once, whatever is killed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop here")]
#![expect(clippy::print_stderr, reason = "says why it was skipped")]

mod edges;
mod fleet;
mod kills;
mod moment;
#[path = "../processes/mod.rs"]
mod processes;
mod translated;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::processes::{Running, program, serve};

const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata");

/// A collector with an embedded store, killed at its end.
struct Collector {
    child: Running,
    url: String,
}

impl Collector {
    /// Starts one on this store; on this port, or on one of its own choice.
    fn start(store: &Path, port: u16) -> Self {
        Self::of(Path::new(&format!("{TESTDATA}/boutique/mesh.yaml")), store.to_str().unwrap(), port)
    }

    /// The same, with these declarations; the store may be a ClickHouse.
    fn of(mesh: &Path, store: &str, port: u16) -> Self {
        let mut command = Command::new(program("wireproof"));
        command
            .arg("serve")
            .arg("--mesh")
            .arg(mesh)
            .args(["--store", store])
            .env("WIREPROOF_STORE_PASSWORD", "writer-secret")
            .args(["--listen", &format!("127.0.0.1:{port}")]);
        let (child, url) = serve(&mut command);
        Self { child, url }
    }

    fn port(&self) -> u16 {
        self.url.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    fn get(&self, path: &str) -> Value {
        let mut answer = ureq::get(format!("{}{path}", self.url)).call().unwrap();
        serde_json::from_reader(answer.body_mut().as_reader()).unwrap()
    }

    /// All flows in the store, over all pages.
    fn rows(&self) -> Vec<Value> {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/api/v1/flows?limit=1000{cursor}"));
            rows.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return rows,
            }
        }
    }

    /// Their ids.
    fn flows(&self) -> Vec<String> {
        self.rows().iter().map(|row| row["flow"]["id"].as_str().unwrap().to_owned()).collect()
    }

    /// How many flows each edge and each finding counts.
    fn totals(&self) -> Vec<u64> {
        let counts = |path: &str| {
            let page = self.get(path);
            let mut counts: Vec<u64> =
                page["data"].as_array().unwrap().iter().map(|row| row["flows"].as_u64().unwrap()).collect();
            counts.sort_unstable();
            counts
        };
        [counts("/api/v1/edges?limit=1000"), counts("/api/v1/violations?limit=1000")].concat()
    }

    fn kill(&mut self) {
        self.child.kill();
    }
}

fn agent(capture: &Path, url: &str, spool: &Path, drain: &str) -> Command {
    agent_of("node-a", capture, url, spool, drain)
}

fn agent_of(node: &str, capture: &Path, url: &str, spool: &Path, drain: &str) -> Command {
    let mut command = Command::new(program("wireproof-agent"));
    command.arg("-r").arg(capture).args(["--collector", url, "--name", node, "--drain", drain]);
    command.arg("--spool").arg(spool).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// What `wireproof flows` finds in a capture.
fn ids(capture: &Path) -> BTreeSet<String> {
    let out =
        Command::new(program("wireproof")).args(["flows", "-o", "ndjson"]).arg(capture).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect()
}

fn boutique() -> PathBuf {
    PathBuf::from(format!("{TESTDATA}/boutique/capture.pcap"))
}

#[test]
fn what_an_agent_sees_is_judged_and_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(&folder.path().join("store.sqlite"), 0);
    for run in 1..=2 {
        let out = agent(&boutique(), &collector.url, &folder.path().join("spool"), "30s").output().unwrap();
        assert!(out.status.success(), "run {run}: {}", String::from_utf8_lossy(&out.stderr));
    }
    let stored = collector.flows();
    assert_eq!(stored.iter().cloned().collect::<BTreeSet<_>>(), ids(&boutique()));
    assert_eq!(stored.len(), ids(&boutique()).len(), "a flow is there twice");
    let violations = collector.get("/api/v1/violations");
    assert!(!violations["data"].as_array().unwrap().is_empty(), "nothing was judged");
    let sources = collector.get("/api/v1/coverage");
    assert!(sources.to_string().contains("node-a "), "{sources}");
}

/// Writes a capture again as another clock would have stamped it.
fn later(capture: &Path, seconds: u32, to: &Path) -> PathBuf {
    let mut bytes = std::fs::read(capture).unwrap();
    assert!(
        bytes.starts_with(&0xa1b2_c3d4_u32.to_le_bytes()),
        "{} is no pcap of microseconds",
        capture.display()
    );
    let number = |bytes: &[u8], at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    let mut at = 24;
    while at < bytes.len() {
        let moved = number(&bytes, at) + seconds;
        bytes[at..at + 4].copy_from_slice(&moved.to_le_bytes());
        at += 16 + number(&bytes, at + 8) as usize;
    }
    std::fs::write(to, bytes).unwrap();
    to.to_owned()
}

#[test]
fn what_two_agents_saw_is_one_flow_where_the_opening_tells() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(&folder.path().join("store.sqlite"), 0);
    let ship = |node: &str, capture: &Path| {
        let spool = folder.path().join(node);
        let out = agent_of(node, capture, &collector.url, &spool, "30s").output().unwrap();
        assert!(out.status.success(), "{node}: {}", String::from_utf8_lossy(&out.stderr));
    };
    ship("node-a", &boutique());
    let alone = collector.totals();
    let skewed = later(&boutique(), 2, &folder.path().join("skewed.pcap"));
    for _ in 0..2 {
        ship("node-b", &skewed);
        ship("node-a", &boutique());
    }
    let rows = collector.rows();
    let opened = |row: &Value| row["flow"]["transport"] == "tcp" && row["flow"]["from_start"] == true;
    let (opened, others): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(|row| opened(row));
    assert!(!opened.is_empty());
    for row in &opened {
        let points: Vec<&str> =
            row["flow"]["seen_at"].as_array().unwrap().iter().map(|at| at.as_str().unwrap()).collect();
        let of = |node: &str| points.iter().any(|point| point.split('/').next() == Some(node));
        assert!(of("node-a") && of("node-b"), "{row}");
    }
    assert_eq!(
        rows.len(),
        ids(&boutique()).len() + others.len() / 2,
        "only what was not seen from its start is there twice"
    );
    if others.is_empty() {
        assert_eq!(collector.totals(), alone, "edges or findings count what was seen twice");
    }
    // The same packets long after are other connections.
    ship("node-c", &later(&boutique(), 60, &folder.path().join("later.pcap")));
    assert_eq!(collector.rows().len(), rows.len() + ids(&boutique()).len());
}

#[test]
fn flows_wait_in_the_spool_while_the_collector_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let (store, spool) = (folder.path().join("store.sqlite"), folder.path().join("spool"));
    let mut collector = Collector::start(&store, 0);
    collector.kill();
    let out = agent(&boutique(), &collector.url, &spool, "1s").output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && said.contains("wait in"), "{said}");
    let collector = Collector::start(&store, collector.port());
    let empty = PathBuf::from(format!("{TESTDATA}/wire/postgres-declined.pcap"));
    assert!(agent(&empty, &collector.url, &spool, "30s").status().unwrap().success());
    let stored: BTreeSet<String> = collector.flows().into_iter().collect();
    assert!(stored.is_superset(&ids(&boutique())));
    assert!(stored.is_superset(&ids(&empty)));
}

#[test]
fn what_the_spool_loses_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (store, spool) = (folder.path().join("store.sqlite"), folder.path().join("spool"));
    let mut collector = Collector::start(&store, 0);
    collector.kill();
    let out = agent(&boutique(), &collector.url, &spool, "0s").output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // A delivery that is damaged on the disk is as lost as one that had to give way.
    for entry in std::fs::read_dir(&spool).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "delivery") {
            let mut bytes = std::fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let collector = Collector::start(&store, collector.port());
    let small = PathBuf::from(format!("{TESTDATA}/wire/postgres-declined.pcap"));
    // The first run finds the damage, the second one tells of it.
    for _ in 0..2 {
        assert!(agent(&small, &collector.url, &spool, "30s").status().unwrap().success());
    }
    let coverage = collector.get("/api/v1/coverage");
    // Reports are lost: a flow is reported when its security settles, and when it ends.
    let out = Command::new(program("wireproof-agent")).arg("-r").arg(boutique()).output().unwrap();
    let lost = String::from_utf8(out.stdout).unwrap().lines().count();
    assert!(lost > 0);
    assert!(coverage.to_string().contains(&format!("\"undelivered\":{lost}")), "{lost}: {coverage}");
}
