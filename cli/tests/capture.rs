//! `wireproof serve --capture`: one process that does everything, and the confined agent that it starts; and an agent that
//! ships while its disk is full.
//!
//! It takes root, which makes the network namespaces. Without it a test says so and passes without having tested
//! anything, unless `WIREPROOF_REQUIRE_LIVE` is set, as it is in `make test` when root is at hand.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop here")]
#![expect(clippy::print_stderr, reason = "says why it was skipped")]

#[expect(dead_code, reason = "here, what serves says more than where, and is killed by its end alone")]
mod processes;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::processes::{Running, is_root, program};

const MESH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/boutique/mesh.yaml");

/// web/frontend, and legacy/inventory, for which STRICT is declared and which nothing enforces.
const CLIENT: &str = "10.20.2.21";
const SERVER: &str = "10.20.6.61";

/// How long something is waited for that must come: a bound on hanging.
const PATIENCE: Duration = Duration::from_secs(120);

fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).output().unwrap();
    assert!(done.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A client's and a server's pod, joined by a veth pair.
struct Pods(String);

impl Pods {
    fn make() -> Self {
        let pods = Self(format!("wps{}", std::process::id()));
        let (client, server) = (pods.client(), pods.server());
        for namespace in [&client, &server] {
            ip(&["netns", "add", namespace]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        ip(&[
            "link", "add", "eth0", "netns", &client, "type", "veth", "peer", "name", "eth0", "netns", &server,
        ]);
        for (namespace, address) in [(&client, CLIENT), (&server, SERVER)] {
            ip(&["-n", namespace, "addr", "add", &format!("{address}/16"), "dev", "eth0"]);
            ip(&["-n", namespace, "link", "set", "eth0", "up"]);
        }
        pods
    }

    fn client(&self) -> String {
        format!("{}-c", self.0)
    }

    fn server(&self) -> String {
        format!("{}-s", self.0)
    }

    fn inside(namespace: &str, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program);
        command
    }

    /// A server of plaintext, once it answers.
    fn serve(&self) -> Running {
        let mut command = Self::inside(&self.server(), Path::new("python3"));
        command.args(["-m", "http.server", "8080", "--bind", SERVER]);
        let serving = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let serving = Running(serving);
        until("the pod serves", || self.ask().then_some(()));
        serving
    }

    /// Connects once, in plaintext; tells whether there was an answer.
    fn ask(&self) -> bool {
        Self::get(&self.client(), &format!("http://{SERVER}:8080/")).is_some()
    }

    fn get(namespace: &str, url: &str) -> Option<String> {
        let text = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())";
        let out = Self::inside(namespace, Path::new("python3")).args(["-c", text, url]).output().unwrap();
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        for namespace in [self.client(), self.server()] {
            let _ = Command::new("ip").args(["netns", "del", &namespace]).status();
        }
    }
}

/// Asks until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    const PAUSE: Duration = Duration::from_millis(200);
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("it never came that {what}");
}

/// Starts a program whose standard error is read as it comes.
fn start(command: &mut Command) -> (Running, Receiver<String>) {
    let mut child = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let (send, said) = channel();
    let lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(send.send(line))));
    (child, said)
}

/// Waits until something is said, and returns what stands behind it.
fn until_said(said: &Receiver<String>, text: &str) -> String {
    loop {
        let line = said.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it never said '{text}'"));
        if let Some((_, rest)) = line.split_once(text) {
            return rest.to_owned();
        }
    }
}

/// `serve --capture any` in the server's pod.
struct Serving {
    child: Running,
    said: Receiver<String>,
    url: String,
    namespace: String,
}

impl Serving {
    fn start(pods: &Pods, folder: &Path) -> Self {
        let mut command = Pods::inside(&pods.server(), &program("wireproof"));
        command.args(["serve", "--mesh", MESH, "--capture", "any", "--listen", "127.0.0.1:0", "--store"]);
        let (child, said) = start(command.arg(folder.join("store.sqlite")));
        let (mut url, mut watching) = (None, false);
        while url.is_none() || !watching {
            let line = said.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it did not start"));
            watching |= line.contains("watching any, without privileges");
            let place = line.split_once("serving on ").and_then(|(_, rest)| rest.split(' ').next());
            url = url.or_else(|| place.map(str::to_owned));
        }
        Self { child, said, url: url.unwrap(), namespace: pods.server() }
    }

    fn get(&self, path: &str) -> Value {
        let text = Pods::get(&self.namespace, &format!("{}{path}", self.url)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// How many flows the finding has, which is that inventory takes plaintext.
    fn found(&self) -> Option<u64> {
        let page = self.get("/api/v1/violations?id=OB01");
        let finding = page["data"].as_array().unwrap().first()?;
        assert_eq!((&finding["class"], &finding["port"]), (&"plaintext".into(), &8080.into()), "{finding}");
        assert_eq!(finding["server"]["workload"], "inventory", "{finding}");
        finding["flows"].as_u64()
    }

    /// The process of the agent.
    fn agent(&self) -> Option<String> {
        let id = self.child.0.id();
        let out = Command::new("pgrep").args(["-P", &id.to_string()]).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let children: Vec<&str> = text.split_whitespace().collect();
        assert!(children.len() < 2, "{children:?}");
        children.first().map(|id| (*id).to_owned())
    }
}

/// What the kernel says of the capabilities that each thread of a process holds.
fn capabilities(id: &str) -> Vec<String> {
    let mut held = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{id}/task")).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            let line = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
            held.push(line.trim().to_owned());
        }
    }
    held
}

fn signal(id: &str, name: &str) {
    assert!(Command::new("kill").args([name, id]).status().unwrap().success());
}

#[test]
fn one_program_watches_judges_keeps_and_serves_and_has_no_capability() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pods = Pods::make();
    let _server = pods.serve();
    let mut serving = Serving::start(&pods, folder.path());
    let id = serving.child.0.id().to_string();
    let first = serving.agent().unwrap();
    for process in [&id, &first] {
        let held = capabilities(process);
        assert!(held.len() >= 4 && held.iter().all(|set| set == "0000000000000000"), "{process}: {held:?}");
    }
    assert!(pods.ask());
    let before = until("the finding is there", || serving.found());

    // An agent that dies is missed, and another one takes its place.
    signal(&first, "-KILL");
    let said = until("it says so", || serving.said.try_iter().find(|line| line.contains("interrupted")));
    assert!(said.contains("was ended by signal 9; it is started again"), "{said}");
    let damage = until("the coverage shows it", || {
        let coverage = serving.get("/api/v1/coverage");
        let damage = coverage["data"]["total"]["damaged"].as_array().unwrap().first()?.as_str()?.to_owned();
        Some(damage)
    });
    assert!(damage.contains("the capture was interrupted"), "{damage}");
    until("another one watches", || serving.said.try_iter().find(|line| line.contains("watching any")));
    assert_ne!(serving.agent().unwrap(), first);
    assert!(pods.ask());
    until("flows are seen again", || serving.found().filter(|flows| *flows > before));
    let metrics = Pods::get(&serving.namespace, &format!("{}/metrics", serving.url)).unwrap();
    assert!(metrics.contains("\nwireproof_agents 1\n"), "{metrics}");

    // What is open at the end is kept, and nobody is left behind.
    let second = serving.agent().unwrap();
    signal(&id, "-TERM");
    assert!(serving.child.0.wait().unwrap().success());
    assert!(!Path::new(&format!("/proc/{second}")).exists(), "the agent is still there");
}

/// A folder with a disk of its own, as small as a spool may be.
struct Disk(PathBuf);

impl Disk {
    fn make(folder: &Path) -> Self {
        let disk = Self(folder.join("disk"));
        std::fs::create_dir(&disk.0).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&disk.0).status();
        assert!(mounted.unwrap().success());
        disk
    }

    /// Fills it to the last byte.
    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        assert!(std::fs::write(&filler, vec![0; 2 * 1024 * 1024]).is_err(), "the disk is not full");
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn an_agent_outlives_a_full_disk_and_loses_nothing_that_fits_into_memory() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::make(folder.path());
    let filler = disk.fill();
    let pods = Pods::make();
    let _server = pods.serve();
    let mut command = Pods::inside(&pods.server(), &program("wireproof"));
    command.args(["serve", "--mesh", MESH, "--listen", "127.0.0.1:0", "--store"]);
    let (collector, said) = start(command.arg(folder.path().join("store.sqlite")));
    let url = until_said(&said, "serving on ").split(' ').next().unwrap().to_owned();
    let mut command = Pods::inside(&pods.server(), &program("wireproof-agent"));
    command.args(["-i", "eth0", "--name", "node", "--collector", &url, "--spool"]).arg(&disk.0);
    let (mut agent, said) = start(&mut command);
    until_said(&said, "watching");
    let serving = Serving { child: collector, said: channel().1, url, namespace: pods.server() };
    for _ in 0..3 {
        assert!(pods.ask());
    }
    until_said(&said, "cannot be written (No space left on device");
    assert_eq!(serving.found(), None);
    std::fs::remove_file(filler).unwrap();
    until_said(&said, "the spool is written again");
    until("all three are there", || serving.found().filter(|flows| *flows == 3));
    signal(&agent.0.id().to_string(), "-TERM");
    assert!(agent.0.wait().unwrap().success());
}

#[test]
fn flows_do_not_go_on_in_half_a_line_that_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let (path, capture) = (
        folder.path().join("flows.ndjson"),
        concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/boutique/capture.pcap"),
    );
    let run = || {
        let mut command = Command::new(program("wireproof-agent"));
        let said = command.args(["-r", capture, "-o"]).arg(&path).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        std::fs::read_to_string(&path).unwrap()
    };
    let flows = run();
    assert!(flows.lines().count() > 40);
    assert_eq!(run(), flows.repeat(2), "nothing stands between two runs");
    std::fs::write(&path, "{\"id\":\"16").unwrap();
    assert_eq!(run(), format!("{{\"id\":\"16\n{flows}"));
}

#[test]
fn what_capturing_lacks_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |program: &Path, before: &[&str], more: &[&str]| {
        let mut command = match before {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.args(["serve", "--mesh", MESH, "--listen", "127.0.0.1:0", "--capture", "any", "--store"]);
        let output = command.arg(folder.path().join("s.sqlite")).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let wireproof = program("wireproof");
    let (status, said) = serve(&wireproof, &[], &["--agent", "/nowhere/wireproof-agent"]);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("/nowhere/wireproof-agent is not there") && said.contains("--agent"), "{said}");
    // Beside a copy of the program there is none.
    let alone = folder.path().join("wireproof");
    std::fs::copy(&wireproof, &alone).unwrap();
    let (status, said) = serve(&alone, &[], &[]);
    assert_eq!(status, Some(4), "{said}");
    assert!(
        said.contains(&format!("{} is not there", folder.path().join("wireproof-agent").display())),
        "{said}"
    );
    if !is_root() {
        return;
    }
    let without = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw"];
    let (status, said) = serve(&wireproof, &without, &[]);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("needs the capability CAP_NET_RAW") && said.contains("setcap"), "{said}");
    assert!(said.contains("nothing can be captured") && said.contains("doctor"), "{said}");
    let (status, said) = serve(&wireproof, &[], &["--capture-filter", "tcp prot 80"]);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("nothing can be captured") && said.contains("prot"), "{said}");
}
