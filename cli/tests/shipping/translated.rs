//! Real connections through a real translation: a client in one network namespace, a pod in another, and between them a node
//! that puts the pod's address in the place of a Service's, or of its own port, as kube-proxy's rules do.
//!
//! It takes root and iptables. Without root the test says so and passes without having tested anything, unless
//! `WIREPROOF_REQUIRE_LIVE` is set, as it is in `make test` when root is at hand.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Collector, agent_of};
use crate::processes::{Running, is_root, program};

const CLIENT: &str = "192.0.2.11";
const NODE: &str = "192.0.2.12";
const NODE_AT_POD: &str = "198.51.100.1";
const POD: &str = "198.51.100.2";
const SERVICE: &str = "203.0.113.7";

pub(crate) const MESH: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: pay}
spec: {mtls: {mode: STRICT}}
---
apiVersion: v1
kind: Service
metadata: {name: ledger, namespace: pay}
spec: {type: NodePort, clusterIP: 203.0.113.7, selector: {app: ledger}, ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: ledger-0, namespace: pay, labels: {app: ledger, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: app, ports: [{containerPort: 8080}]}, {name: istio-proxy, args: [proxy, sidecar]}]}
status: {podIP: 198.51.100.2}
---
apiVersion: v1
kind: Pod
metadata: {name: cron-0, namespace: batch, labels: {app: cron}}
spec: {containers: [{name: app}]}
status: {podIP: 192.0.2.11}
---
apiVersion: v1
kind: Node
metadata: {name: worker}
status: {addresses: [{type: InternalIP, address: 192.0.2.12}, {type: InternalIP, address: 198.51.100.1}]}
";

/// A proxy in user space: it takes a connection and makes one of its own.
const PROXY: &str = "
import socket
listening = socket.create_server(('192.0.2.12', 8081))
while True:
    taken, _ = listening.accept()
    with taken, socket.create_connection(('198.51.100.2', 8080)) as made:
        made.sendall(taken.recv(65536))
        while data := made.recv(65536):
            taken.sendall(data)
";

/// How often something is asked for that must come, a fifth of a second apart: a bound on hanging.
const TRIES: u32 = 300;

fn run(command: &mut Command) -> Output {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    out
}

/// The client's, the node's and the pod's namespace.
struct Lab {
    client: String,
    node: String,
    pod: String,
}

impl Lab {
    fn make() -> Self {
        let name = |end: &str| format!("wpt{}-{end}", std::process::id());
        let lab = Self { client: name("c"), node: name("n"), pod: name("p") };
        for namespace in [&lab.client, &lab.node, &lab.pod] {
            run(Command::new("ip").args(["netns", "add", namespace]));
            lab.ip(namespace, "link set lo up");
        }
        for (namespace, address, link, gateway) in
            [(&lab.client, CLIENT, "client0", NODE), (&lab.pod, POD, "pod0", NODE_AT_POD)]
        {
            lab.ip(namespace, &format!("link add eth0 type veth peer name {link} netns {}", lab.node));
            for (namespace, address, link) in [(namespace, address, "eth0"), (&lab.node, gateway, link)] {
                lab.ip(namespace, &format!("addr add {address}/24 dev {link}"));
                lab.ip(namespace, &format!("link set {link} up"));
            }
            lab.ip(namespace, &format!("route add default via {gateway}"));
        }
        run(lab.inside(&lab.node, "sysctl").args(["-qw", "net.ipv4.ip_forward=1"]));
        for rule in [
            format!("PREROUTING -p tcp -d {SERVICE} --dport 80 -j DNAT --to-destination {POD}:8080"),
            format!("PREROUTING -p tcp -d {NODE} --dport 30080 -j DNAT --to-destination {POD}:8080"),
            // As kube-proxy masks clients of a node's port, to the client's own port.
            "POSTROUTING -p tcp -o pod0 -m conntrack --ctorigdstport 30080 -j MASQUERADE --random-fully"
                .to_owned(),
        ] {
            run(lab.inside(&lab.node, "iptables").args(["-w", "-t", "nat", "-A"]).args(rule.split(' ')));
        }
        lab
    }

    fn ip(&self, namespace: &str, arguments: &str) {
        run(Command::new("ip").args(["-n", namespace]).args(arguments.split(' ')));
    }

    fn inside(&self, namespace: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, program]).stdin(Stdio::null());
        command
    }

    fn background(&self, namespace: &str, arguments: &[&str]) -> Running {
        let mut command = self.inside(namespace, "python3");
        Running(command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Asks once from the client's namespace; tells whether there was an answer.
    fn ask(&self, at: &str) -> bool {
        let text = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=20).read()";
        let mut command = self.inside(&self.client, "python3");
        command.args(["-c", text, &format!("http://{at}/")]).output().unwrap().status.success()
    }

    /// Captures on one of the node's interfaces while `work` is done.
    fn capture(&self, files: &[(&str, PathBuf)], work: impl FnOnce()) {
        let agents: Vec<Running> = files
            .iter()
            .map(|(link, file)| {
                let mut command = self.inside(&self.node, program("wireproof-agent").to_str().unwrap());
                command.args(["-i", link, "--immediate", "--write"]).arg(file).stdout(Stdio::null());
                let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
                let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
                assert!(lines.any(|line| line.contains("watching")), "the agent did not start");
                // It must not stop at a full pipe.
                std::thread::spawn(move || lines.for_each(drop));
                Running(child)
            })
            .collect();
        work();
        for mut agent in agents {
            run(Command::new("kill").args(["-INT", &agent.0.id().to_string()]));
            assert!(agent.0.wait().unwrap().success());
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.client, &self.node, &self.pod] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

/// Captures two connections to the Service, two to the node's port, one to the pod by its own address and one through the proxy.
fn captured(lab: &Lab, folder: &Path) -> [PathBuf; 2] {
    let _server = lab.background(&lab.pod, &["-m", "http.server", "8080", "--bind", POD]);
    let _proxy = lab.background(&lab.node, &["-c", PROXY]);
    let (node_port, proxy) = (format!("{NODE}:30080"), format!("{NODE}:8081"));
    for at in [SERVICE, &node_port, &proxy] {
        assert!(
            (0..TRIES).any(|_| lab.ask(at) || {
                std::thread::sleep(Duration::from_millis(200));
                false
            }),
            "{at} never answered"
        );
    }
    let files = [("client0", folder.join("client.pcapng")), ("pod0", folder.join("pod.pcapng"))];
    lab.capture(&files, || {
        for at in [SERVICE, SERVICE, &node_port, &node_port, &format!("{POD}:8080"), &proxy] {
            assert!(lab.ask(at), "{at}");
        }
        // The last packets of a connection may come after its client has closed it.
        std::thread::sleep(Duration::from_secs(1));
    });
    files.map(|(_, file)| file)
}

fn end(flow: &Value, side: &str) -> String {
    format!("{}:{}", flow[side]["ip"].as_str().unwrap(), flow[side]["port"])
}

/// How many flows there are to each server, by whether they have another side and how they are judged.
fn counts(rows: &[Value]) -> BTreeMap<(String, bool, String), u64> {
    let mut counts = BTreeMap::new();
    for row in rows {
        let word = row["judgement"].as_str().unwrap().to_owned();
        *counts.entry((end(&row["flow"], "server"), !row["translated"].is_null(), word)).or_default() += 1;
    }
    counts
}

#[test]
fn a_connection_through_a_translation_is_judged_once() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mesh = folder.path().join("mesh.yaml");
    std::fs::write(&mesh, MESH).unwrap();
    let lab = Lab::make();
    let [client, pod] = captured(&lab, folder.path());
    let wireproof = |command: &str| {
        let mut program = Command::new(program("wireproof"));
        program.arg(command).args([&client, &pod]);
        program
    };

    // The handshake's name is that of the other side, and of no other flow.
    let out = run(wireproof("flows").args(["-o", "ndjson"]));
    let mut handshakes: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in String::from_utf8(out.stdout).unwrap().lines() {
        let flow: Value = serde_json::from_str(line).unwrap();
        handshakes.entry(flow["tcp_handshake"].as_str().unwrap().to_owned()).or_default().push(flow);
    }
    let mut ends: Vec<Vec<String>> = handshakes
        .values()
        .map(|flows| {
            let mut servers: Vec<_> = flows.iter().map(|flow| end(flow, "server")).collect();
            servers.sort();
            servers
        })
        .collect();
    ends.sort();
    let (node_port, service, behind) =
        (format!("{NODE}:30080"), format!("{SERVICE}:80"), format!("{POD}:8080"));
    let expected = [
        vec![format!("{NODE}:8081")],
        vec![node_port.clone(), behind.clone()],
        vec![node_port.clone(), behind.clone()],
        vec![behind.clone()],
        vec![behind.clone()],
        vec![behind.clone(), service.clone()],
        vec![behind.clone(), service.clone()],
    ];
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(ends, expected);
    let text = String::from_utf8(run(wireproof("flows").env("NO_COLOR", "1")).stdout).unwrap();
    assert_eq!(text.matches(&format!("-> {behind}\n")).count(), 4, "{text}");

    // A violation a connection: of the client where its address is kept, of the node where it is masked.
    let out = wireproof("replay").arg("--mesh").arg(&mesh).args(["-o", "json"]).output().unwrap();
    let audit: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (&audit["summary"]["translated"], &audit["summary"]["set_aside"]["translated"]),
        (&8.into(), &4.into())
    );
    let broken = |findings: &Value| {
        let mut found: Vec<_> = findings
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["id"] == "OB01")
            .map(|finding| {
                (
                    finding["client"]["workload"].as_str().unwrap_or_default().to_owned(),
                    finding["port"].as_u64(),
                    finding["flows"].as_u64(),
                )
            })
            .collect();
        found.sort();
        found
    };
    // The third connection of each is the one to the pod's own address, and the proxy's.
    let told = [("cron".to_owned(), Some(8080), Some(3)), ("node/worker".to_owned(), Some(8080), Some(3))];
    assert_eq!(broken(&audit["findings"]), told);

    // Whoever of two agents is the first to deliver, and again.
    for order in [[("a", &client), ("b", &pod)], [("b", &pod), ("a", &client)]] {
        let place = folder.path().join(order[0].0);
        std::fs::create_dir(&place).unwrap();
        let collector = Collector::of(&mesh, place.join("store.sqlite").to_str().unwrap(), 0);
        for (name, capture) in order.iter().chain(&order) {
            let spool = place.join(name);
            run(&mut agent_of(name, capture, &collector.url, &spool, "30s"));
        }
        let rows = collector.rows();
        let expected = [
            ((format!("{NODE}:30080"), true, "exempt".to_owned()), 2),
            ((format!("{NODE}:8081"), false, "undecided".to_owned()), 1),
            ((behind.clone(), false, "violates".to_owned()), 2),
            ((behind.clone(), true, "violates".to_owned()), 4),
            ((service.clone(), true, "exempt".to_owned()), 2),
        ];
        let mut found = counts(&rows);
        // The connection to the pod's own address was seen by both, and is one.
        let own = found.remove(&(behind.clone(), false, "violates".to_owned()));
        let mut expected: BTreeMap<_, _> = expected.into_iter().collect();
        assert_eq!(own, expected.remove(&(behind.clone(), false, "violates".to_owned())));
        assert_eq!(found, expected, "{} first", order[0].0);
        assert_eq!(broken(&collector.get("/api/v1/violations")["data"]), told);
        let overview = &collector.get("/api/v1/overview")["data"];
        assert_eq!(overview["judgements"], json!({"violates": 6, "undecided": 1}));
        assert_eq!(overview["translated"], 4);
        for row in rows.iter().filter(|row| !row["translated"].is_null()) {
            let other =
                collector.get(&format!("/api/v1/flows/{}", row["translated"]["id"].as_str().unwrap()));
            assert_eq!(other["data"]["translated"]["id"], row["flow"]["id"]);
            assert_eq!(other["data"]["flow"]["server"], row["translated"]["server"]);
        }
    }
}
