//! Two network namespaces joined by a veth pair, the agent in one of them, and what both ends say.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use flow::{Close, Flow};

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_wireproof-agent");
pub(crate) const SERVER: &str = "192.0.2.12:8080";
pub(crate) const CLIENT_ADDRESS: &str = "192.0.2.11";
pub(crate) const SERVER_ADDRESS: &str = "192.0.2.12";

/// How long something is waited for that must come: a bound for a broken agent, never reached by a good one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two namespaces joined by a veth pair, removed when dropped.
pub(crate) struct Lab {
    pub(crate) client: String,
    pub(crate) server: String,
    pub(crate) folder: PathBuf,
}

impl Lab {
    /// Makes the namespaces. Without root there is no lab, which fails where live capture is required.
    pub(crate) fn make() -> Option<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        if !root {
            assert!(
                std::env::var_os("WIREPROOF_REQUIRE_LIVE").is_none(),
                "live capture was required, and needs root"
            );
            eprintln!("skipped: making network namespaces needs root");
            return None;
        }
        let name = format!("wp{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        let lab = Self { client: format!("{name}-c"), server: format!("{name}-s"), folder };
        for namespace in [&lab.client, &lab.server] {
            ip(&["netns", "add", namespace]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        lab.join("eth0");
        Some(lab)
    }

    /// Joins the two namespaces by a pair whose end at the server has this name.
    pub(crate) fn join(&self, name: &str) {
        ip(&[
            "link",
            "add",
            "eth0",
            "netns",
            &self.client,
            "type",
            "veth",
            "peer",
            "name",
            name,
            "netns",
            &self.server,
        ]);
        for (namespace, address, link) in
            [(&self.client, CLIENT_ADDRESS, "eth0"), (&self.server, SERVER_ADDRESS, name)]
        {
            ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", link]);
            ip(&["-n", namespace, "link", "set", link, "up"]);
        }
    }

    /// Takes the pair away.
    pub(crate) fn part(&self, name: &str) {
        ip(&["-n", &self.server, "link", "del", name]);
    }

    /// A command inside a namespace.
    pub(crate) fn inside(&self, namespace: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, program]).current_dir(&self.folder);
        command
    }

    /// Runs one of this program's own parts (see `part` in `main.rs`) inside a namespace until it is dropped.
    pub(crate) fn run_part(&self, namespace: &str, part: &str) -> Killed {
        let this = std::env::current_exe().unwrap();
        let mut command = self.inside(namespace, this.to_str().unwrap());
        let child = command
            .args(["part", "--exact"])
            .env("WIREPROOF_LIVE_PART", part)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Killed(child)
    }

    /// Runs the agent in the server's namespace until it watches.
    pub(crate) fn agent(&self, arguments: &[&str]) -> Agent {
        let mut command = self.inside(&self.server, AGENT);
        command.args(arguments);
        Agent::start(command)
    }

    /// A copy of the agent that every account may read and run.
    pub(crate) fn readable_agent(&self) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let copy = self.folder.join("wireproof-agent");
        std::fs::copy(AGENT, &copy).unwrap();
        for path in [&self.folder, &copy] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        copy
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.client, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A running agent.
pub(crate) struct Agent {
    child: Child,
    lines: Receiver<Line>,
    pub(crate) flows: Vec<Flow>,
    pub(crate) said: Vec<String>,
}

enum Line {
    Flow(Box<Flow>),
    Said(String),
}

impl Agent {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the agent starts");
        let (flows, lines) = channel();
        let said = flows.clone();
        let (out, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let flow = serde_json::from_str(&line).expect("a flow a line");
                if flows.send(Line::Flow(Box::new(flow))).is_err() {
                    return;
                }
            }
        });
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                if said.send(Line::Said(line)).is_err() {
                    return;
                }
            }
        });
        let mut agent = Self { child, lines, flows: Vec::new(), said: Vec::new() };
        agent.until_said("watching");
        agent
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the agent says something that contains `text`.
    pub(crate) fn until_said(&mut self, text: &str) {
        while !self.said.iter().any(|line| line.contains(text)) {
            self.next(text);
        }
    }

    /// Waits for a flow, counted from the first one on.
    pub(crate) fn until_flow(&mut self, what: &str, wanted: impl Fn(&Flow) -> bool) -> Flow {
        loop {
            if let Some(flow) = self.flows.iter().find(|flow| wanted(flow)) {
                return flow.clone();
            }
            self.next(what);
        }
    }

    fn next(&mut self, what: &str) {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(Line::Flow(flow)) => self.flows.push(*flow),
            Ok(Line::Said(line)) => self.said.push(line),
            Err(_) => panic!("waited for '{what}' in vain\n{:#?}\n{:#?}", self.said, self.flows),
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end.
    pub(crate) fn ended(mut self) -> (ExitStatus, Vec<Flow>, String) {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            match line {
                Line::Flow(flow) => self.flows.push(*flow),
                Line::Said(line) => self.said.push(line),
            }
        }
        let status = self.child.wait().unwrap();
        (status, std::mem::take(&mut self.flows), self.said.join("\n"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What is left of flows once reports made when they settled are set aside.
pub(crate) fn at_their_end(flows: &[Flow]) -> Vec<&Flow> {
    flows.iter().filter(|flow| flow.close != Close::Open).collect()
}

/// Reads a capture file whole; returns its flows and how many frames it holds.
pub(crate) fn read(file: &Path) -> (Vec<Flow>, u64) {
    let mut engine = capture::engine::Engine::default();
    let mut reader = capture::source::file::Reader::new(std::fs::File::open(file).unwrap()).unwrap();
    while let Some(frame) = reader.next() {
        engine.frame(&frame.unwrap());
    }
    engine.finish();
    let flows = std::iter::from_fn(|| engine.poll()).collect();
    (flows, engine.coverage().packets)
}

/// Answers every request at the server's address, and keeps the connection open until the client closes it.
pub(crate) fn serve(port: u16) {
    let listener = TcpListener::bind((SERVER_ADDRESS, port)).unwrap();
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        std::thread::spawn(move || {
            let mut request = [0; 512];
            while connection.read(&mut request).is_ok_and(|count| count > 0) {
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
    }
}

/// Asks again and again, a new connection each time, so that nothing depends on who starts first.
pub(crate) fn ask(port: u16) {
    // Bounded: more than any test listens for, and it is killed at the end.
    for _ in 0..2_000 {
        if let Ok(mut connection) = TcpStream::connect((SERVER_ADDRESS, port)) {
            let _ = connection.write_all(b"GET / HTTP/1.1\r\nHost: live\r\n\r\n");
            let _ = connection.read(&mut [0; 512]);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Asks once, and keeps the connection open.
pub(crate) fn hold() {
    let mut held = Vec::new();
    for _ in 0..2_000 {
        if held.is_empty()
            && let Ok(mut connection) = TcpStream::connect(SERVER)
        {
            let _ = connection.write_all(b"GET / HTTP/1.1\r\nHost: live\r\n\r\n");
            held.push(connection);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Sends more datagrams than a small ring holds.
pub(crate) fn flood() {
    let socket = UdpSocket::bind((CLIENT_ADDRESS, 9)).unwrap();
    for _ in 0..20_000 {
        let _ = socket.send_to(&[0; 1200], (SERVER_ADDRESS, 9));
    }
}
