//! `wireproof serve --tls-cert`, over a real connection.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

const MESH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/boutique/mesh.yaml");

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("wireproof"));
    command
        .args(["serve", "--mesh", MESH, "--listen", "127.0.0.1:0", "--store"])
        .arg(folder.join("s.sqlite"));
    command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key);
    command
}

#[test]
fn it_speaks_tls_alone_and_waits_for_no_silent_client() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path(), "tls");
    let mut served = Served(serve(folder.path(), &certificate, &key).stderr(Stdio::piped()).spawn().unwrap());
    let url = BufReader::new(served.0.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("serving on ")?.1.split(' ').next()?.to_owned()))
        .unwrap_or_else(|| panic!("it did not start"));
    let address = url.strip_prefix("https://").unwrap();
    // They connect and say nothing.
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();

    let trusted = Certificate::from_pem(&std::fs::read(&certificate).unwrap()).unwrap();
    let tls = TlsConfig::builder().root_certs(RootCerts::from(vec![trusted])).build();
    let agent: Agent = Agent::config_builder().tls_config(tls).build().new_agent();
    assert_eq!(agent.get(format!("{url}/livez")).call().unwrap().status(), 200);

    assert!(ureq::get(format!("{url}/livez")).call().is_err(), "nobody vouches for this certificate");
    assert!(ureq::get(format!("http://{address}/livez")).call().is_err(), "plain HTTP is answered");
    drop(silent);
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
}
