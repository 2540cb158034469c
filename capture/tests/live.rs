//! Live capture for real: the agent on one end of a veth pair, in network namespaces that the test makes and removes.
//!
//! Making them takes root. Without it the test says so and passes without having tested anything, unless
//! `WIREPROOF_REQUIRE_LIVE` is set, as it is in `make test` when root is at hand.

#![cfg(feature = "agent")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop here")]
#![expect(clippy::print_stderr, reason = "says why it was skipped")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

const SERVER: &str = "192.0.2.12:8080";

#[test]
fn the_agent_sees_a_connection_on_a_veth() {
    let Some(lab) = Lab::make() else { return };

    let agent = Command::new("ip")
        .args([
            "netns",
            "exec",
            &lab.server,
            env!("CARGO_BIN_EXE_wireproof-agent"),
            "-i",
            "eth0",
            "--duration",
            "4s",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the agent starts");
    let server = lab.part(&lab.server, "serve");
    // The client repeats its request until the agent's time is over, so that nothing depends on who starts first.
    let client = lab.part(&lab.client, "ask");

    let output = agent.wait_with_output().expect("the agent ends by itself");
    drop((server, client));
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");

    let flows: Vec<flow::Flow> =
        text.lines().map(|line| serde_json::from_str(line).expect("a flow a line")).collect();
    let ended: Vec<_> = flows.iter().filter(|flow| flow.close != flow::Close::Open).collect();
    assert!(!ended.is_empty(), "no connection was seen\n{errors}");
    for flow in &ended {
        assert_eq!(flow.server.to_string(), SERVER);
        assert_eq!(flow.client.ip.to_string(), "192.0.2.11");
    }
    let whole: Vec<_> = ended.iter().filter(|flow| flow.from_start && flow.answered()).collect();
    assert!(!whole.is_empty(), "no connection was seen from its start: {text}");
    for flow in whole {
        assert_eq!(flow.security.class(), flow::Class::Plaintext);
        assert_eq!(flow.security.evidence(), flow::Evidence::WIRE);
        assert_eq!(flow.protocol, Some(flow::Protocol::Http1));
        let settled =
            flows.iter().filter(|report| report.id == flow.id && report.close == flow::Close::Open).count();
        assert_eq!(settled, 1, "reported once when it settled, under the same id");
    }
}

#[test]
fn without_the_capability_it_says_what_is_missing() {
    let Some(lab) = Lab::make() else { return };
    let output = Command::new("ip")
        .args([
            "netns",
            "exec",
            &lab.server,
            "setpriv",
            "--bounding-set",
            "-all",
            "--inh-caps",
            "-all",
            "--reuid",
            "65534",
        ])
        .args(["--clear-groups", "--regid", "65534"])
        .args([&lab.readable_agent(), "-i", "eth0", "--duration", "1s"])
        .output()
        .expect("setpriv runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{errors}");
    assert!(errors.contains("CAP_NET_RAW"), "{errors}");
}

/// Not a test of its own: what the two ends run inside their namespaces.
#[test]
fn part() {
    match std::env::var("WIREPROOF_LIVE_PART").as_deref() {
        Ok("serve") => {
            let listener = TcpListener::bind(SERVER).unwrap();
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut request = [0; 512];
                let _ = connection.read(&mut request);
                let _ = connection
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            }
        }
        Ok("ask") => {
            // Bounded: more than the agent listens for, and the test kills it at the end.
            for _ in 0..2_000 {
                if let Ok(mut connection) = TcpStream::connect(SERVER) {
                    let _ = connection.write_all(b"GET / HTTP/1.1\r\nHost: live\r\n\r\n");
                    let _ = connection.read_to_end(&mut Vec::new());
                }
                std::thread::park_timeout(std::time::Duration::from_millis(20));
            }
        }
        _ => {}
    }
}

/// Two namespaces joined by a veth pair, removed when dropped.
struct Lab {
    client: String,
    server: String,
    folder: std::path::PathBuf,
}

impl Lab {
    fn make() -> Option<Self> {
        let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        if !root {
            assert!(
                std::env::var_os("WIREPROOF_REQUIRE_LIVE").is_none(),
                "live capture was required, and needs root"
            );
            eprintln!("skipped: making network namespaces needs root");
            return None;
        }
        let name = format!("wp{}-{}", std::process::id(), std::thread::current().name().map_or(0, str::len));
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        let lab = Self { client: format!("{name}-c"), server: format!("{name}-s"), folder };
        ip(&["netns", "add", &lab.client]);
        ip(&["netns", "add", &lab.server]);
        ip(&[
            "link",
            "add",
            "eth0",
            "netns",
            &lab.client,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            &lab.server,
        ]);
        for (namespace, address) in [(&lab.client, "192.0.2.11/24"), (&lab.server, "192.0.2.12/24")] {
            ip(&["-n", namespace, "addr", "add", address, "dev", "eth0"]);
            ip(&["-n", namespace, "link", "set", "eth0", "up"]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        Some(lab)
    }

    /// Runs one end inside a namespace; killed when dropped.
    fn part(&self, namespace: &str, part: &str) -> Killed {
        let this = std::env::current_exe().unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(this)
            .args(["--exact", "part", "--nocapture"])
            .env("WIREPROOF_LIVE_PART", part)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{part}: {error}"));
        Killed(child)
    }

    /// Copies the agent to where an unprivileged user can run it.
    fn readable_agent(&self) -> String {
        let copy = self.folder.join("agent");
        std::fs::copy(env!("CARGO_BIN_EXE_wireproof-agent"), &copy).unwrap();
        copy.display().to_string()
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

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
