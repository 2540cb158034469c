//! `wireproof serve` as an operator knows it: what it and the agent take anew while they run, and what they say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop here")]
#![expect(clippy::print_stderr, reason = "says why it was skipped")]

#[expect(dead_code, reason = "others take root, and kill what they started")]
mod processes;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::processes::{Running, program};

const MESH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/boutique/mesh.yaml");
const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/boutique/capture.pcap");

/// Two tokens, in the place of each other.
const TOKENS: [&str; 2] = ["0123456789abcdef", "fedcba9876543210"];

/// A server whose standard error goes to a file.
struct Server {
    running: Running,
    log: std::path::PathBuf,
    url: String,
}

impl Server {
    fn start(folder: &Path, mesh: &Path, more: &[&str]) -> Self {
        let log = folder.join("log");
        let mut command = Command::new(program("wireproof"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--mesh"]).arg(mesh).args(more);
        command.arg("--store").arg(folder.join("s.sqlite")).env("RUST_LOG", "info");
        let running = Running(command.stderr(File::create(&log).unwrap()).spawn().unwrap());
        let mut server = Self { running, log, url: String::new() };
        server.until("it serves", |server| server.said().contains("serving on "));
        let said = server.said();
        let url = said.split("serving on ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        server.url = url.to_owned();
        server
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn ask(&self, path: &str, token: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = agent.get(format!("{}{path}", self.url));
        let mut answer = request.header("authorization", format!("Bearer {token}")).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    /// Has it look at its files now, rather than within a minute.
    fn hang_up(&self) {
        let id = self.running.0.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    }

    /// Waits until something is so, with a bound on hanging.
    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..300 {
            if is_so(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("never: {what}\n{}", self.said());
    }
}

#[test]
fn a_token_is_changed_while_the_server_serves() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, TOKENS[0]).unwrap();
    let server = Server::start(folder.path(), Path::new(MESH), &["--token-file", token.to_str().unwrap()]);
    let status = |server: &Server, token| server.ask("/api/v1/coverage", token).0;
    assert_eq!((status(&server, TOKENS[0]), status(&server, TOKENS[1])), (200, 401));
    fs::write(&token, "short").unwrap();
    server.hang_up();
    server.until("the old one stays", |server| server.said().contains("the old token stays"));
    assert_eq!(status(&server, TOKENS[0]), 200);
    fs::write(&token, TOKENS[1]).unwrap();
    server.hang_up();
    server.until("the new one counts", |server| status(server, TOKENS[1]) == 200);
    assert_eq!(status(&server, TOKENS[0]), 401);
    assert!(!server.said().contains('\u{1b}'), "colours in a file: {}", server.said());
}

#[test]
fn an_agent_shows_the_token_that_its_file_has_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let (token, shown) = (folder.path().join("token"), folder.path().join("shown"));
    fs::write(&token, TOKENS[0]).unwrap();
    fs::write(&shown, TOKENS[1]).unwrap();
    let server = Server::start(folder.path(), Path::new(MESH), &["--token-file", token.to_str().unwrap()]);
    let log = folder.path().join("agent.log");
    let mut agent = Running(
        Command::new(program("wireproof-agent"))
            .args(["-r", CAPTURE, "--name", "node-a", "--drain", "60s", "--collector", &server.url])
            .arg("--token-file")
            .arg(&shown)
            .arg("--spool")
            .arg(folder.path().join("spool"))
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap(),
    );
    let said = || fs::read_to_string(&log).unwrap();
    server.until("it is refused", |_| said().contains(&format!("{} takes nothing now", server.url)));
    fs::write(&shown, TOKENS[0]).unwrap();
    assert!(agent.0.wait().unwrap().success(), "{}", said());
    assert!(said().contains("takes deliveries again") && !said().contains("for the next run"), "{}", said());
    assert!(server.ask("/api/v1/coverage", TOKENS[0]).1.contains("\"node-a "));
}

#[test]
fn declarations_in_files_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = folder.path().join("mesh");
    fs::create_dir(&mesh).unwrap();
    fs::copy(MESH, mesh.join("mesh.yaml")).unwrap();
    let policy = |mode: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: late, namespace: late}}\n\
             spec: {{mtls: {{mode: {mode}}}}}\n---\napiVersion: v1\nkind: Pod\n\
             metadata: {{name: a, namespace: late, labels: {{security.istio.io/tlsMode: istio}}}}\n\
             spec: {{containers: [{{name: app}}, {{name: istio-proxy}}]}}\nstatus: {{podIP: 10.9.9.9}}\n"
        )
    };
    let server = Server::start(folder.path(), &mesh, &[]);
    let asked = "/api/v1/policies/effective?to=10.9.9.9:80";
    let before = server.ask("/api/v1/overview", "").1;
    fs::write(mesh.join("late.yaml"), policy("STRICT")).unwrap();
    server.hang_up();
    server.until("the new file counts", |server| server.ask(asked, "").1.contains("\"STRICT\""));
    server.until("it is stored", |server| server.ask("/api/v1/overview", "").1 != before);
    // A file that is half written takes nothing away.
    fs::write(mesh.join("late.yaml"), "apiVersion: security.istio.io/v1\nkind: Peer: [").unwrap();
    server.hang_up();
    server.until("it is said", |server| server.said().contains("the declarations before stay"));
    assert!(server.ask(asked, "").1.contains("\"STRICT\""));
    fs::write(mesh.join("late.yaml"), policy("DISABLE")).unwrap();
    server.hang_up();
    server.until("the mended file counts", |server| server.ask(asked, "").1.contains("\"DISABLE\""));
    // So does one of the same length that was given the time of the one before, as a copy is.
    let of_before = fs::metadata(mesh.join("late.yaml")).unwrap().modified().unwrap();
    fs::write(mesh.join("late.yaml"), policy("STRICT ")).unwrap();
    File::options().append(true).open(mesh.join("late.yaml")).unwrap().set_modified(of_before).unwrap();
    server.hang_up();
    server.until("the copy counts", |server| server.ask(asked, "").1.contains("\"STRICT\""));
}

/// Why a file cannot be read need not lie in the file: here the process may open no more.
#[test]
fn declarations_that_could_not_be_read_again_are_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = folder.path().join("mesh.yaml");
    fs::copy(MESH, &mesh).unwrap();
    let server = Server::start(folder.path(), &mesh, &[]);
    let failures = |server: &Server| {
        let (_, metrics) = server.ask("/metrics", "");
        let name = "wireproof_upkeep_failures_total{task=\"read-declarations\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok()).unwrap()
    };
    assert_eq!(failures(&server), 0);
    let may_open = |files| {
        let limits = Rlimit { current: Some(files), ..getrlimit(Resource::Nofile) };
        prlimit(Some(Pid::from_child(&server.running.0)), Resource::Nofile, limits).unwrap().current.unwrap()
    };
    let namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: late}\n";
    fs::OpenOptions::new().append(true).open(&mesh).unwrap().write_all(namespace.as_bytes()).unwrap();
    let before = may_open(4);
    server.hang_up();
    server.until("it is said", |server| server.said().contains("the declarations before stay"));
    assert!(!server.said().contains("the declarations changed"));
    may_open(before);
    server.until("they are read", |server| server.said().contains("the declarations changed"));
    assert!(failures(&server) >= 1);
}

#[test]
fn declarations_that_the_store_does_not_take_are_stored_later() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = folder.path().join("mesh");
    fs::create_dir(&mesh).unwrap();
    fs::copy(MESH, mesh.join("mesh.yaml")).unwrap();
    let server = Server::start(folder.path(), &mesh, &[]);
    let stored = |server: &Server| server.ask("/api/v1/overview", "").1;
    let before = stored(&server);
    // Another program writes, and takes its time.
    let script = "import sqlite3, sys\nstore = sqlite3.connect(sys.argv[1])\nstore.execute('BEGIN IMMEDIATE')\n\
                  print(flush=True)\nsys.stdin.read()";
    let mut other = Command::new("python3")
        .args(["-c", script])
        .arg(folder.path().join("s.sqlite"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(&mut other.stdout.take().unwrap(), &mut [0]).unwrap();
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: late}\n";
    fs::write(mesh.join("late.yaml"), namespace).unwrap();
    server.hang_up();
    server.until("it is said", |server| server.said().contains("the declarations are not stored yet"));
    assert_eq!(stored(&server), before);
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
    server.hang_up();
    server.until("they are stored", |server| stored(server) != before);
}

#[test]
fn a_proxy_in_the_environment_is_not_shown_what_goes_to_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Path::new(MESH), &[]);
    let shipped = Command::new(program("wireproof-agent"))
        .args(["-r", CAPTURE, "--name", "node-a", "--drain", "3s", "--collector", &server.url])
        .arg("--spool")
        .arg(folder.path().join("spool"))
        // Nobody is there.
        .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:9")))
        .stdout(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&shipped.stderr);
    assert!(shipped.status.success() && !said.contains("takes nothing now"), "{said}");
    assert!(server.ask("/api/v1/coverage", "").1.contains("\"node-a "));
}

#[test]
fn what_cannot_be_a_collector_or_a_token_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    let token = folder.path().join("token");
    fs::write(&token, TOKENS[0]).unwrap();
    for (collector, token, status, expected) in [
        ("ftp://collector", &token, 2, "a URL such as"),
        ("http://192.0.2.1:8480", &token, 2, "over https only"),
        ("https://collector:8480", &empty, 4, "holds no token"),
    ] {
        let output = Command::new(program("wireproof-agent"))
            .args(["-r", CAPTURE, "--drain", "0s", "--collector", collector, "--token-file"])
            .arg(token)
            .arg("--spool")
            .arg(folder.path().join("spool"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn what_the_store_did_not_answer_is_in_the_log_under_the_requests_id() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Path::new(MESH), &[]);
    for file in ["s.sqlite", "s.sqlite-wal"] {
        fs::write(folder.path().join(file), "no database any more".repeat(4096)).unwrap();
    }
    let (status, problem) = server.ask("/api/v1/flows", "");
    assert_eq!(status, 503, "{problem}");
    let problem: serde_json::Value = serde_json::from_str(&problem).unwrap();
    let id = problem["request_id"].as_str().unwrap();
    let said = server.said();
    let line = said.lines().find(|line| line.contains("store does not answer"));
    assert!(line.is_some_and(|line| line.contains(id)), "{id} is not in\n{said}");
}

#[test]
fn an_agent_whose_clock_is_ahead_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Path::new(MESH), &[]);
    // Captured thirty years from now, by the clock of the one who captured.
    let mut capture = fs::read(CAPTURE).unwrap();
    let mut at = 24;
    while at + 16 <= capture.len() {
        let word = |place: usize| u32::from_le_bytes(capture[place..place + 4].try_into().unwrap());
        let length = usize::try_from(word(at + 8)).unwrap();
        let later = word(at).saturating_add(1_000_000_000).to_le_bytes();
        capture[at..at + 4].copy_from_slice(&later);
        at += 16 + length;
    }
    let ahead = folder.path().join("ahead.pcap");
    fs::write(&ahead, capture).unwrap();
    for (name, capture) in [("node-a", Path::new(CAPTURE)), ("node-b", &ahead)] {
        let shipped = Command::new(program("wireproof-agent"))
            .args(["--name", name, "--drain", "30s", "--collector", &server.url, "-r"])
            .arg(capture)
            .arg("--spool")
            .arg(folder.path().join(name))
            .output()
            .unwrap();
        assert!(shipped.status.success());
    }
    let said = server.said();
    let named: Vec<_> = said.lines().filter(|line| line.contains("clock is ahead")).collect();
    assert_eq!(named.len(), 1, "{said}");
    assert!(named[0].contains("node-b"), "{said}");
}

#[test]
fn what_sends_leaves_signals_to_the_agent_while_it_waits_for_another_one_s_spool() {
    let folder = tempfile::tempdir().unwrap();
    let send = || {
        let mut sender = Command::new(program("wireproof-agent"));
        // Nobody collects there.
        sender
            .args(["send", "--collector", "http://127.0.0.1:9", "--drain", "0s", "--spool"])
            .arg(folder.path());
        Running(sender.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    };
    let catches = |sender: &Running| {
        let status = fs::read_to_string(format!("/proc/{}/status", sender.0.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & (1 << (15 - 1)) != 0
    };
    let wait = |what: &str, sender: &Running| {
        for _ in 0..300 {
            if catches(sender) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{what} is ended by SIGTERM");
    };
    let first = send();
    wait("the first", &first);
    let second = send();
    wait("the second", &second);
    drop((first, second));
}
