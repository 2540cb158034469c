//! Real connections, and what the agent says of them.

use std::process::{Command, Stdio};

use flow::{Class, Close, Evidence, Protocol};

use crate::lab::{CLIENT_ADDRESS, Killed, Lab, SERVER, SERVER_ADDRESS, at_their_end};

#[test]
fn the_agent_sees_a_connection_on_a_veth() {
    let Some(lab) = Lab::make() else { return };
    let mut agent = lab.agent(&["-i", "eth0", "--duration", "60s"]);
    let parts = (lab.run_part(&lab.server, "serve"), lab.run_part(&lab.client, "ask"));
    agent.until_flow("a whole flow", |flow| flow.close != Close::Open && flow.from_start && flow.answered());
    agent.signal("INT");
    let (status, flows, said) = agent.ended();
    drop(parts);
    assert_eq!(status.code(), Some(0), "{said}");

    let ended = at_their_end(&flows);
    for flow in &ended {
        assert_eq!(flow.server.to_string(), SERVER);
        assert_eq!(flow.client.ip.to_string(), CLIENT_ADDRESS);
        assert_eq!(flow.seen_at, ["eth0"]);
    }
    for flow in ended.iter().filter(|flow| flow.from_start && flow.answered()) {
        assert_eq!(flow.security.class(), Class::Plaintext);
        assert_eq!(flow.security.evidence(), Evidence::WIRE);
        assert_eq!(flow.protocol, Some(Protocol::Http1));
        let settled =
            flows.iter().filter(|report| report.id == flow.id && report.close == Close::Open).count();
        assert_eq!(settled, 1, "reported once when it settled, under the same id");
    }
}

/// OpenSSL's own server and client: TLS 1.2 and 1.3, with and without a client certificate.
#[test]
fn tls_and_mutual_tls_are_told_apart() {
    let Some(lab) = Lab::make() else { return };
    let certificate = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=live", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(&lab.folder)
        .output()
        .expect("openssl is installed");
    assert!(certificate.status.success(), "{}", String::from_utf8_lossy(&certificate.stderr));

    let mut agent = lab.agent(&["-i", "eth0", "--duration", "60s"]);
    let mut servers = Vec::new();
    // Port, version, whether the server asks for a certificate, and what the wire then shows.
    let cases = [
        ("8441", "-tls1_2", false, Class::Tls),
        ("8442", "-tls1_2", true, Class::Mtls),
        ("8443", "-tls1_3", false, Class::Tls),
        ("8444", "-tls1_3", true, Class::Mtls),
    ];
    for (port, version, mutual, class) in cases {
        let mut server = lab.inside(&lab.server, "openssl");
        server.args(["s_server", "-quiet", "-www", "-cert", "cert.pem", "-key", "key.pem", version]);
        server.args(["-accept", &format!("{SERVER_ADDRESS}:{port}")]);
        if mutual {
            server.args(["-Verify", "1", "-CAfile", "cert.pem"]);
        }
        let server = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        servers.push(Killed(server));
        loop {
            let mut client = lab.inside(&lab.client, "sh");
            let certificate = if mutual { "-cert cert.pem -key key.pem" } else { "" };
            let connect = format!(
                "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -connect {SERVER_ADDRESS}:{port} {version} {certificate}"
            );
            let output = client.args(["-c", &connect]).output().unwrap();
            // The server may not listen yet.
            if String::from_utf8_lossy(&output.stdout).contains("HTTP/1.0 200") {
                break;
            }
        }
        let number: u16 = port.parse().unwrap();
        let flow = agent.until_flow(port, |flow| flow.server.port == number && flow.from_start);
        assert_eq!(flow.security.class(), class, "{port} {version}: {flow:?}");
    }
    drop(servers);
}

#[test]
fn told_to_stop_it_reports_open_flows_and_sums_up() {
    for signal in ["INT", "TERM", "HUP"] {
        let Some(lab) = Lab::make() else { return };
        let mut agent = lab.agent(&["-i", "eth0", "--duration", "60s"]);
        let parts = (lab.run_part(&lab.server, "serve"), lab.run_part(&lab.client, "hold"));
        agent.until_flow("a settled flow", |flow| flow.close == Close::Open);
        agent.signal(signal);
        let (status, flows, said) = agent.ended();
        drop(parts);
        assert_eq!(status.code(), Some(0), "{said}");
        let last = flows.last().unwrap();
        assert_eq!(last.close, Close::CaptureEnd);
        assert_eq!(last.security.class(), Class::Plaintext);
        assert!(said.contains("1 flows (plaintext 1)"), "{said}");
        assert!(said.contains("eth0: ") && said.contains(" 0 dropped by the kernel"), "{said}");
    }
}

#[test]
fn packets_that_the_kernel_drops_are_counted() {
    let Some(lab) = Lab::make() else { return };
    let agent = lab.agent(&["-i", "eth0", "--buffer-size", "1", "--coverage", "coverage.json"]);
    assert!(agent.said.iter().any(|line| line.contains("the ring of 1 MiB is small")), "{:?}", agent.said);
    agent.signal("STOP");
    assert!(lab.run_part(&lab.client, "flood").0.wait().unwrap().success());
    agent.signal("CONT");
    agent.signal("INT");
    let (status, _, said) = agent.ended();
    assert_eq!(status.code(), Some(0), "{said}");

    let coverage = std::fs::read(lab.folder.join("coverage.json")).unwrap();
    let coverage: flow::Coverage = serde_json::from_slice(&coverage).unwrap();
    let dropped = coverage.kernel_dropped.unwrap();
    assert!(dropped > 1_000, "{coverage:?}\n{said}");
    assert!(said.contains(&format!("{dropped} dropped by the kernel")), "{said}");
    // What is read and what is dropped is all that came: at least what was sent.
    assert!(coverage.packets + dropped >= 20_000, "{coverage:?}\n{said}");
}

#[test]
fn immediate_mode_and_filters_work() {
    let Some(lab) = Lab::make() else { return };
    let mut agent =
        lab.agent(&["-i", "eth0", "--immediate", "--filter", "tcp dst port 8080", "--duration", "60s"]);
    assert!(agent.said.iter().any(|line| line.contains("hides the answers")), "{:?}", agent.said);
    let parts = (lab.run_part(&lab.server, "serve"), lab.run_part(&lab.client, "ask"));
    agent.until_flow("a flow", |flow| flow.from_start);
    agent.signal("INT");
    let (_, flows, said) = agent.ended();
    drop(parts);
    assert!(flows.iter().all(|flow| !flow.answered()), "{said}");

    let mut wrong = lab.inside(&lab.server, crate::lab::AGENT);
    let output = wrong.args(["-i", "eth0", "--filter", "tcp port and"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be read"));
}
