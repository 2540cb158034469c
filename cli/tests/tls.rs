//! `wireproof serve --tls-cert` and `--tls-client-ca`, over real connections, with the agent as it is.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop here")]
#![expect(clippy::print_stderr, reason = "says why it was skipped")]

#[expect(dead_code, reason = "others take root, and kill what they started")]
mod processes;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::processes::program;

const MESH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/boutique/mesh.yaml");
const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/boutique/capture.pcap");

/// Makes a certificate for 127.0.0.1, and its key.
fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    let made = Command::new("openssl")
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
        .args(["-subj", "/CN=wireproof", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

fn serve(folder: &Path, certificate: &Path, key: &Path) -> Command {
    let mut command = Command::new(program("wireproof"));
    command
        .args(["serve", "--mesh", MESH, "--listen", "127.0.0.1:0", "--store"])
        .arg(folder.join("s.sqlite"));
    command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key);
    command
}

/// A client that trusts this certificate.
fn reader(certificate: &Path) -> Agent {
    let trusted = Certificate::from_pem(&std::fs::read(certificate).unwrap()).unwrap();
    let tls = TlsConfig::builder().root_certs(RootCerts::from(vec![trusted])).build();
    Agent::config_builder().tls_config(tls).http_status_as_error(false).build().new_agent()
}

fn openssl(arguments: &[&str]) {
    let done = Command::new("openssl").args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// A CA in a folder.
struct Authority<'a>(&'a Path, &'a str);

impl Authority<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn make(&self) -> PathBuf {
        let path = |end: &str| self.file(&format!("{}.{end}", self.1)).display().to_string();
        openssl(
            &[
                &[
                    "req",
                    "-x509",
                    "-days",
                    "2",
                    "-subj",
                    "/CN=ca",
                    "-keyout",
                    &path("key"),
                    "-out",
                    &path("crt"),
                ],
                &KEY[..],
            ]
            .concat(),
        );
        path("crt").into()
    }

    /// Signs a client's certificate with these names (a subject, alternative names), that is valid for so many days.
    fn sign(&self, name: &str, (subject, alternative): (&str, &str), days: &str) -> (PathBuf, PathBuf) {
        let path = |name: &str, end: &str| self.file(&format!("{name}.{end}")).display().to_string();
        let (request, key, signed, names) =
            (path(name, "csr"), path(name, "key"), path(name, "crt"), path(name, "ext"));
        openssl(&[&["req", "-new", "-subj", subject, "-keyout", &key, "-out", &request], &KEY[..]].concat());
        let alternative =
            if alternative.is_empty() { String::new() } else { format!("subjectAltName={alternative}\n") };
        std::fs::write(&names, format!("{alternative}extendedKeyUsage=clientAuth\n")).unwrap();
        let (ca, ca_key) = (path(self.1, "crt"), path(self.1, "key"));
        openssl(&[
            "x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-days", days, "-extfile",
            &names, "-out", &signed,
        ]);
        (signed.into(), key.into())
    }

    /// Revokes a certificate, and makes the list that says so.
    fn revoke(&self, certificate: &Path) -> PathBuf {
        let path = |end: &str| self.file(&format!("{}.{end}", self.1)).display().to_string();
        let settings = format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase={}\ncrlnumber={}\ndefault_md=sha256\ndefault_crl_days=2\n\
             crl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n",
            path("index"),
            path("number"),
        );
        for (end, text) in [("index", ""), ("number", "01\n"), ("cnf", &settings)] {
            std::fs::write(path(end), text).unwrap();
        }
        let (settings, ca, key, list) = (path("cnf"), path("crt"), path("key"), path("crl"));
        let common = ["ca", "-config", &settings, "-cert", &ca, "-keyfile", &key];
        openssl(&[&common[..], &["-revoke", certificate.to_str().unwrap()]].concat());
        openssl(&[&common[..], &["-gencrl", "-out", &list]].concat());
        list.into()
    }
}

#[test]
fn it_speaks_tls_alone_and_waits_for_no_silent_client() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path(), "tls");
    let (_served, url) = processes::serve(&mut serve(folder.path(), &certificate, &key));
    let address = url.strip_prefix("https://").unwrap();
    // They connect and say nothing.
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();

    assert_eq!(reader(&certificate).get(format!("{url}/livez")).call().unwrap().status(), 200);

    assert!(ureq::get(format!("{url}/livez")).call().is_err(), "nobody vouches for this certificate");
    assert!(ureq::get(format!("http://{address}/livez")).call().is_err(), "plain HTTP is answered");
    drop(silent);
}

/// What happens with the files while it serves must show outside: who is refused its certificate tells nobody here.
#[test]
fn a_certificate_that_ended_and_files_of_no_use_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (certificate, key) = certificate(folder, "tls");
    let file = |name: &str| folder.join(name).display().to_string();
    let (request, ended, names) = (file("ended.csr"), file("ended.crt"), file("ended.ext"));
    std::fs::write(&names, "subjectAltName=IP:127.0.0.1\n").unwrap();
    let mine = key.display().to_string();
    openssl(&["req", "-new", "-key", &mine, "-subj", "/CN=wireproof", "-out", &request]);
    openssl(&[
        "x509", "-req", "-in", &request, "-signkey", &mine, "-days", "-1", "-extfile", &names, "-out", &ended,
    ]);
    let good = std::fs::read(&certificate).unwrap();
    std::fs::copy(&ended, &certificate).unwrap();
    let token = folder.join("token");
    std::fs::write(&token, "reader-0123456789\n").unwrap();
    let (served, url) = processes::serve(serve(folder, &certificate, &key).arg("--token-file").arg(&token));
    // It is not believed, and asked all the same.
    let tls = TlsConfig::builder().disable_verification(true).build();
    let reader = Agent::config_builder().tls_config(tls).build().new_agent();
    let failures = || {
        let ask = reader.get(format!("{url}/metrics")).header("authorization", "Bearer reader-0123456789");
        let metrics = ask.call().unwrap().body_mut().read_to_string().unwrap();
        let name = "wireproof_upkeep_failures_total{task=\"read-credentials\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(name)?.parse::<u32>().ok()).unwrap()
    };
    let process = rustix::process::Pid::from_child(&served.0);
    let look = || rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
    while failures() < 1 {}
    std::fs::write(&certificate, &good).unwrap();
    let before = failures();
    look();
    while self::reader(&certificate).get(format!("{url}/livez")).call().is_err() {}
    assert_eq!(failures(), before);
    for wrong in [&certificate, &token] {
        let right = std::fs::read(wrong).unwrap();
        std::fs::write(wrong, "short").unwrap();
        // Each look counts, not the first alone.
        for more in 1..=2 {
            let before = failures();
            look();
            while failures() == before {}
            assert_eq!(failures(), before + 1, "{} {more}", wrong.display());
        }
        std::fs::write(wrong, right).unwrap();
    }
}

/// A connection has its place before its handshake is over, and gives it up when there is none.
#[test]
fn connections_without_a_handshake_have_places_too() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path(), "tls");
    let mut command = serve(folder.path(), &certificate, &key);
    let (_served, url) =
        processes::serve(command.args(["--max-clients", "9", "--max-clients-per-address", "8"]));
    let address = url.strip_prefix("https://").unwrap();
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
    let ask = || reader(&certificate).get(format!("{url}/metrics")).call();
    assert!(ask().is_err(), "there is a ninth place");
    drop(silent);
    let mut answer = loop {
        if let Ok(answer) = ask() {
            break answer;
        }
    };
    let metrics = answer.body_mut().read_to_string().unwrap();
    assert!(metrics.contains("wireproof_connections_refused_total{bound=\"address\"} "), "{metrics}");
    assert!(metrics.contains("wireproof_connections_refused_total{bound=\"all\"} 0"), "{metrics}");
}

#[test]
fn an_address_that_others_reach_is_refused_without_a_token_as_usage() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program("wireproof"))
        .args(["serve", "--mesh", MESH, "--listen", "0.0.0.0:0", "--store"])
        .arg(folder.path().join("s.sqlite"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("0.0.0.0:0 is reachable from other machines: give a token file"), "{said}");
}

#[test]
fn what_cannot_be_a_certificate_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (good, key) = certificate(folder.path(), "tls");
    let (_, other) = certificate(folder.path(), "other");
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    for (certificate, key, expected) in [
        (&folder.path().join("missing"), &key, "missing: cannot be read"),
        (&empty, &key, "the certificate cannot be read as PEM"),
        (&good, &empty, "the key cannot be read as PEM"),
        (&good, &other, "cannot be used"),
    ] {
        let output = serve(folder.path(), certificate, key).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let output = serve(folder.path(), &good, &key).arg("--tls-client-ca").arg(&empty).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("empty: the CA of clients' certificates cannot be used"), "{said}");
}

#[test]
fn an_agent_delivers_with_a_certificate_of_its_own_and_under_its_own_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (certificate, key) = certificate(folder, "tls");
    let (ours, others) = (Authority(folder, "ca"), Authority(folder, "other-ca"));
    let ca = ours.make();
    others.make();
    let token = folder.join("token");
    std::fs::write(&token, "reader-0123456789\n").unwrap();
    let (_served, url) = processes::serve(
        serve(folder, &certificate, &key).arg("--tls-client-ca").arg(&ca).arg("--token-file").arg(&token),
    );
    let reader = reader(&certificate);
    let ask = |path: &str, token: &str| {
        let request = reader.get(format!("{url}{path}"));
        let request = if token.is_empty() {
            request
        } else {
            request.header("authorization", format!("Bearer {token}"))
        };
        request.call().unwrap()
    };
    let sources = || ask("/api/v1/coverage", "reader-0123456789").body_mut().read_to_string().unwrap();
    assert_eq!(ask("/livez", "").status(), 200, "readers need no certificate");
    assert_eq!(ask("/api/v1/flows", "").status(), 401);

    // Each has a spool of its own, so that nothing is left of the one before.
    let ship = |name: &str, identity: Option<&(PathBuf, PathBuf)>, more: &[&str]| {
        let mut agent = Command::new(program("wireproof-agent"));
        agent.args(["-r", CAPTURE, "--collector", &url, "--name", name, "--drain", "3s"]).args(more);
        agent.arg("--spool").arg(tempfile::tempdir_in(folder).unwrap().keep());
        if let Some((certificate, key)) = identity {
            agent.arg("--client-cert").arg(certificate).arg("--client-key").arg(key);
        }
        let output = agent.stdout(Stdio::null()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let server = ["--collector-ca", certificate.to_str().unwrap()];
    let node = ("/CN=ignored", "DNS:node-a,DNS:*.nodes.example");
    let good = ours.sign("good", node, "2");
    let wrong_ca = others.sign("wrong-ca", node, "2");
    let expired = ours.sign("expired", node, "-1");
    let common = ours.sign("common", ("/CN=node-c", "URI:spiffe://mesh/ns/a/sa/node-u"), "2");
    for (name, identity, expected) in [
        ("node-a", None, "status 401"),
        ("node-a", Some(&wrong_ca), " takes nothing now ("),
        ("node-a", Some(&expired), " takes nothing now ("),
        (
            "node-b",
            Some(&good),
            "status 403: the certificate is for node-a, *.nodes.example, the delivery is of the agent node-b",
        ),
        ("ignored", Some(&good), "status 403"),
        ("node-u", Some(&common), "status 403"),
    ] {
        let said = ship(name, identity, &server);
        assert!(said.contains(expected) && said.contains("wait in"), "{name}: {said}");
    }
    assert!(sources().contains("\"sources\":{}"), "{}", sources());
    // A server that nobody vouches for gets nothing, and neither does the holder of a certificate who asks.
    let said = ship("node-a", Some(&good), &[]);
    assert!(said.contains("wait in"), "{said}");
    for (name, identity) in [("node-a", &good), ("b.nodes.example", &good), ("node-c", &common)] {
        let said = ship(name, Some(identity), &server);
        assert!(!said.contains("takes nothing"), "{name}: {said}");
        assert!(sources().contains(&format!("\"{name} ")), "{}", sources());
    }
    // With the token the name is the agent's to say, as it is without certificates.
    let shown = ["--token-file", token.to_str().unwrap()];
    let said = ship("node-t", Some(&good), &[&server[..], &shown[..]].concat());
    assert!(!said.contains("takes nothing") && sources().contains("\"node-t "), "{said}");
}

#[test]
fn without_any_token_a_certificate_is_asked_of_agents_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path(), "tls");
    let ca = Authority(folder.path(), "ca").make();
    let (_served, url) =
        processes::serve(serve(folder.path(), &certificate, &key).arg("--tls-client-ca").arg(&ca));
    let reader = reader(&certificate);
    assert_eq!(reader.get(format!("{url}/api/v1/flows")).call().unwrap().status(), 200);
    let refused = reader.post(format!("{url}/api/v1/ingest")).send("").unwrap();
    assert_eq!(refused.status(), 401);
}

#[test]
fn a_certificate_that_its_ca_revoked_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (certificate, key) = certificate(folder, "tls");
    let authority = Authority(folder, "ca");
    let ca = authority.make();
    let good = authority.sign("good", ("/CN=ignored", "DNS:node-a"), "2");
    let revoked = authority.sign("revoked", ("/CN=ignored", "DNS:node-a"), "2");
    let list = authority.revoke(&revoked.0);
    let both = [std::fs::read(&ca).unwrap(), std::fs::read(list).unwrap()].concat();
    std::fs::write(&ca, both).unwrap();
    let (_served, url) = processes::serve(serve(folder, &certificate, &key).arg("--tls-client-ca").arg(&ca));
    let ship = |(certificate_of, key_of): &(PathBuf, PathBuf)| {
        let output = Command::new(program("wireproof-agent"))
            .args(["-r", CAPTURE, "--collector", &url, "--name", "node-a", "--drain", "3s", "--collector-ca"])
            .arg(&certificate)
            .arg("--spool")
            .arg(tempfile::tempdir_in(folder).unwrap().keep())
            .arg("--client-cert")
            .arg(certificate_of)
            .arg("--client-key")
            .arg(key_of)
            .stdout(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let said = ship(&revoked);
    assert!(said.contains(" takes nothing now (") && said.contains("wait in"), "{said}");
    let said = ship(&good);
    assert!(!said.contains("takes nothing") && !said.contains("wait in"), "{said}");
}
