//! A mesh of real proxies in network namespaces and a server outside it, two agents on the host's side of the veths, a
//! collector, a store: what they say in the end is what was connected, whatever was killed meanwhile.
//!
//! It takes root and Envoy (`scripts/setup.sh envoy`). Without them the test says so and passes without having tested
//! anything, unless `WIREPROOF_REQUIRE_LIVE` is set, as it is in `make test` when root is at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Collector, TESTDATA};
use crate::processes::{Running, program};

/// How long anything may take before the test gives up. A bound on hanging, not on speed.
const PATIENCE: Duration = Duration::from_secs(180);

/// What is younger dies with an agent: a closed connection waits 5 s for late packets, and its flow a second for others.
const YOUNG: Duration = Duration::from_secs(8);

/// The server outside the mesh: see `testdata/recipe/fleet.py`.
const OUTSIDE: &str = "203.0.113.10";

/// How long the last packets of a connection may take after its client has closed it.
const CLOSING: Duration = Duration::from_secs(3);

/// Both ends of a connection, client first.
type Ends = (String, u16, String, u16);

/// What one round of the mesh connected: see `testdata/recipe/fleet.py`.
#[derive(Debug, Deserialize)]
struct Round {
    clients: Vec<Ends>,
    proxies: Vec<(String, String, u16, u64)>,
}

/// The lines that a process says, read as they come: it must not stop at a full pipe.
fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).for_each(|line| drop(send.send(line)));
    });
    lines
}

struct Mesh {
    child: Child,
    orders: Option<ChildStdin>,
    said: Receiver<String>,
    node: String,
}

impl Mesh {
    fn start(envoy: &Path, out: &Path) -> Self {
        let prefix = format!("wpf{}", std::process::id() % 10_000);
        let mut child = Command::new("python3")
            .args(["fleet.py".as_ref(), out, prefix.as_ref()])
            .current_dir(format!("{TESTDATA}/recipe"))
            .env("ENVOY", envoy)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, said) = (child.stdin.take(), lines(child.stdout.take().unwrap()));
        let mesh = Self { child, orders, said, node: format!("{prefix}-node") };
        assert_eq!(mesh.said.recv_timeout(PATIENCE).as_deref(), Ok("ready"));
        mesh
    }

    fn round(&mut self) -> Round {
        writeln!(self.orders.as_mut().unwrap(), "round").unwrap();
        serde_json::from_str(&self.said.recv_timeout(PATIENCE).unwrap()).unwrap()
    }
}

impl Drop for Mesh {
    /// The mesh takes itself down when nobody orders any more.
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.child.wait();
    }
}

/// One of the two agents: `node-a` has the clients' veths, `node-b` the servers'.
struct Agent {
    child: Running,
    said: Receiver<String>,
}

const NODES: [(&str, &[&str]); 2] = [
    ("node-a", &["veth1", "veth7", "veth8", "veth9"]),
    ("node-b", &["veth0", "veth2", "veth3", "veth4", "veth5", "veth6"]),
];

impl Agent {
    fn start((name, veths): (&str, &[&str]), mesh: &Mesh, collector: &Collector, spools: &Path) -> Self {
        let mut command = Command::new(program("wireproof-agent"));
        command.args(veths.iter().flat_map(|veth| ["-i", veth]));
        command.args([
            "--netns",
            &mesh.node,
            "--collector",
            &collector.url,
            "--name",
            name,
            "--drain",
            "120s",
        ]);
        command.arg("--spool").arg(spools.join(name)).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().unwrap());
        let said = lines(child.0.stderr.take().unwrap());
        let mut agent = Self { child, said };
        let before: Vec<String> = std::iter::from_fn(|| agent.said.recv_timeout(PATIENCE).ok())
            .take_while(|line| !line.contains("watching"))
            .collect();
        assert!(agent.child.0.try_wait().unwrap().is_none(), "{name} did not start: {before:?}");
        agent
    }

    fn kill(&mut self) {
        self.child.kill();
    }

    /// Tells it to end, and waits until all that it saw is delivered.
    fn end(mut self) {
        let told = Command::new("kill").args(["-TERM", &self.child.0.id().to_string()]).status().unwrap();
        assert!(told.success());
        let status = self.child.0.wait().unwrap();
        let said: Vec<String> = self.said.try_iter().collect();
        assert!(status.success(), "{said:?}");
    }
}

/// What the rounds that agents watched connected, with how often: a port that is free again may be taken again.
#[derive(Default)]
struct Made {
    clients: BTreeMap<Ends, u64>,
    proxies: BTreeMap<(String, String, u16), u64>,
}

impl Made {
    fn seen(&mut self, round: Round) {
        for ends in round.clients {
            *self.clients.entry(ends).or_default() += 1;
        }
        for (client, server, port, count) in round.proxies {
            *self.proxies.entry((client, server, port)).or_default() += count;
        }
    }
}

fn ends(row: &Value) -> Ends {
    let end = |side: &str| {
        let end = &row["flow"][side];
        (end["ip"].as_str().unwrap().to_owned(), u16::try_from(end["port"].as_u64().unwrap()).unwrap())
    };
    let ((client, from), (server, to)) = (end("client"), end("server"));
    (client, from, server, to)
}

/// Counts the connections that the collector has, by their ends.
fn told(rows: &[Value]) -> BTreeMap<Ends, u64> {
    let mut told = BTreeMap::new();
    for row in rows {
        *told.entry(ends(row)).or_default() += 1;
    }
    told
}

/// Waits until the collector has every connection of the clients.
fn until_there(collector: &Collector, made: &Made) {
    const PAUSE: Duration = Duration::from_millis(300);
    let mut tries = PATIENCE.as_millis() / PAUSE.as_millis();
    loop {
        let there = told(&collector.rows());
        let missing: Vec<&Ends> = made
            .clients
            .iter()
            .filter(|(ends, count)| there.get(ends).is_none_or(|there| there < count))
            .map(|(ends, _)| ends)
            .collect();
        if missing.is_empty() {
            return;
        }
        tries = tries.checked_sub(1).unwrap_or_else(|| panic!("never came: {missing:?}"));
        std::thread::sleep(PAUSE);
    }
}

fn agree(collector: &Collector, made: &Made) {
    let rows = collector.rows();
    let told = told(&rows);
    let mut elsewhere = Vec::new();
    for row in &rows {
        let flow = &row["flow"];
        let points: Vec<&str> =
            flow["seen_at"].as_array().unwrap().iter().map(|at| at.as_str().unwrap()).collect();
        if points.len() != 2 || !points[0].starts_with("node-a/veth") || !points[1].starts_with("node-b/veth")
        {
            elsewhere.push((flow["start"].to_string(), ends(row), points));
        }
    }
    assert!(
        elsewhere.is_empty(),
        "each connection passes one veth of each node: {elsewhere:#?} of {told:#?}"
    );
    let clients: BTreeSet<&str> = made.clients.keys().map(|ends| ends.0.as_str()).collect();
    let (direct, others): (BTreeMap<Ends, u64>, BTreeMap<Ends, u64>) =
        told.into_iter().partition(|(ends, _)| clients.contains(ends.0.as_str()));
    assert_eq!(
        direct, made.clients,
        "the clients' connections, none lost, none twice, none that nobody watched"
    );
    let mut proxies: BTreeMap<(String, String, u16), u64> = BTreeMap::new();
    for ((client, _, server, port), count) in others {
        *proxies.entry((client, server, port)).or_default() += count;
    }
    assert_eq!(proxies, made.proxies, "the proxies' connections");
    let edges = collector.get("/api/v1/edges?limit=1000");
    let counted: u64 =
        edges["data"].as_array().unwrap().iter().map(|edge| edge["flows"].as_u64().unwrap()).sum();
    assert_eq!(counted, rows.len() as u64, "edges count otherwise than flows");
    let found = collector.get("/api/v1/violations?limit=1000");
    let found = found["data"].as_array().unwrap();
    assert!(!found.is_empty(), "nothing was found");
    let outside: BTreeSet<&str> = rows
        .iter()
        .filter(|row| row["flow"]["server"]["ip"] == OUTSIDE)
        .map(|row| row["flow"]["class"].as_str().unwrap())
        .collect();
    assert_eq!(outside, BTreeSet::from(["plaintext"]), "what leaves the mesh");
    let broken = rows.iter().filter(|row| row["judgement"] == "violates").count() as u64;
    assert!(found.iter().all(|finding| finding["flows"].as_u64().unwrap() <= broken), "{found:?}");
    // Each agent was killed once: its coverage stands twice, for what it saw before and after.
    let sources = collector.get("/api/v1/coverage").to_string();
    for (name, _) in NODES {
        let runs = sources.matches(&format!("\"{name} ")).count();
        let spool = usize::from(sources.contains(&format!("\"{name} spool\"")));
        assert_eq!(runs - spool, 2, "{sources}");
    }
}

/// A ClickHouse server of a test's own, by its name.
pub(crate) struct Server(&'static str);

impl Server {
    fn script(&self, verb: &str) -> String {
        let out = Command::new("bash")
            .args(["scripts/clickhouse.sh", verb, self.0])
            .current_dir(format!("{TESTDATA}/.."))
            .output()
            .unwrap();
        assert!(out.status.success(), "clickhouse.sh {verb}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Returns it and the store's address; absent where such tests are to be skipped.
    pub(crate) fn start(name: &'static str) -> Option<(Self, String)> {
        if std::env::var_os("WIREPROOF_SKIP_CLICKHOUSE").is_some_and(|skip| skip == "1") {
            eprintln!("skipped: WIREPROOF_SKIP_CLICKHOUSE is set");
            return None;
        }
        let server = Self(name);
        let said = server.script("up");
        let url = said.lines().find_map(|line| line.strip_prefix("CLICKHOUSE_URL=")).unwrap();
        let store = format!("{url}/{name}");
        Some((server, store))
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&self) {
        self.script("kill");
    }

    /// Starts it again, with the data that it had.
    pub(crate) fn revive(&self) {
        self.script("up");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.script("down");
    }
}

fn envoy() -> Option<PathBuf> {
    let named = std::env::var_os("ENVOY").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    named.or_else(|| cache.map(|cache| cache.join("wireproof-envoy/bin/envoy"))).filter(|path| path.exists())
}

/// Runs the story over a mesh that is up: everything is killed once, and what was watched is there in the end.
fn survive(
    mesh: &mut Mesh,
    out: &Path,
    spools: &Path,
    store: &str,
    restart: &mut dyn FnMut(&mut dyn FnMut()),
) {
    let manifests = out.join("mesh.yaml");
    let mut made = Made::default();
    let mut collector = Collector::of(&manifests, store, 0);
    let port = collector.port();
    let mut agents = NODES.map(|node| Agent::start(node, mesh, &collector, spools));
    made.seen(mesh.round());
    until_there(&collector, &made);

    // Without a collector flows wait, and outlive the agent that saw them.
    collector.kill();
    made.seen(mesh.round());
    std::thread::sleep(YOUNG);
    agents.iter_mut().for_each(Agent::kill);

    // Nobody watches.
    mesh.round();
    // Nor when the last of them is closed: Envoy waits a second for the other end.
    std::thread::sleep(CLOSING);

    collector = Collector::of(&manifests, store, port);
    agents = NODES.map(|node| Agent::start(node, mesh, &collector, spools));
    made.seen(mesh.round());
    until_there(&collector, &made);

    // The store goes away under a collector that runs, and under one that is killed with it.
    restart(&mut || made.seen(mesh.round()));
    collector.kill();
    let collector = Collector::of(&manifests, store, port);
    made.seen(mesh.round());
    until_there(&collector, &made);
    agents.into_iter().for_each(Agent::end);
    agree(&collector, &made);
}

#[test]
fn what_a_fleet_says_is_what_was_connected() {
    let required = std::env::var_os("WIREPROOF_REQUIRE_LIVE").is_some();
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    let Some(envoy) = envoy().filter(|_| root) else {
        assert!(!required, "root and Envoy are needed: scripts/setup.sh envoy");
        eprintln!("skipped: root and Envoy are needed");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("mesh");
    let mut mesh = Mesh::start(&envoy, &out);
    let file = folder.path().join("store.sqlite");
    survive(&mut mesh, &out, &folder.path().join("spools"), file.to_str().unwrap(), &mut |round| round());
    let Some((server, store)) = Server::start("fleet") else { return };
    survive(&mut mesh, &out, &folder.path().join("other-spools"), &store, &mut |round| {
        server.kill();
        round();
        server.revive();
    });
}
