//! What a running agent can no longer do, and what it needs to begin with.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use capture::agent::{Needs, confine};

use crate::lab::{AGENT, Agent, Lab};

#[test]
fn a_running_agent_holds_nothing() {
    let Some(lab) = Lab::make() else { return };
    for arguments in [["-i", "eth0"].as_slice(), &["-i", "any", "--write", "trace.pcapng"]] {
        let agent = lab.agent(arguments);
        let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&field(set), 16).unwrap(), 0, "{set}");
        }
        assert_eq!(field("NoNewPrivs"), "1");
        assert_eq!(field("Seccomp:"), "2");
        assert_eq!(field("Threads"), "1");
    }
}

#[test]
fn the_capability_of_the_file_is_enough() {
    let Some(lab) = Lab::make() else { return };
    let copy = lab.readable_agent();
    let set =
        Command::new("setcap").arg("cap_net_raw+ep").arg(&copy).output().expect("libcap2-bin is installed");
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    for interface in ["eth0", "any"] {
        let mut command = lab.inside(&lab.server, "setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(&copy).args(["-i", interface, "--duration", "60s"]);
        let mut agent = Agent::start(command);
        let parts = (lab.run_part(&lab.server, "serve"), lab.run_part(&lab.client, "ask"));
        agent.until_flow("a flow", |flow| flow.from_start);
        let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
        assert!(status.contains("CapEff:\t0000000000000000") && status.contains("Uid:\t65534"), "{status}");
        agent.signal("INT");
        assert_eq!(agent.ended().0.code(), Some(0));
        drop(parts);
    }
}

/// As `deploy/systemd/wireproof-agent.service` starts it: no root, no capability of the file, `no_new_privs`.
#[test]
fn the_ambient_capability_of_a_unit_is_enough() {
    let Some(lab) = Lab::make() else { return };
    let mut command = lab.inside(&lab.server, "setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]);
    command.args(["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw", "--bounding-set", "-all,+net_raw"]);
    command.arg(lab.readable_agent()).args(["-i", "any"]);
    let mut agent = Agent::start(command);
    let parts = (lab.run_part(&lab.server, "serve"), lab.run_part(&lab.client, "ask"));
    agent.until_flow("a flow", |flow| flow.from_start);
    drop(parts);
}

#[test]
fn without_the_capability_it_says_what_is_missing() {
    let Some(lab) = Lab::make() else { return };
    let copy = lab.readable_agent();
    let nobody = |arguments: &[&str]| {
        let mut command = lab.inside(&lab.server, "setpriv");
        command.args([
            "--bounding-set",
            "-all",
            "--inh-caps",
            "-all",
            "--reuid",
            "65534",
            "--regid",
            "65534",
        ]);
        command.arg("--clear-groups").arg(&copy).args(arguments).output().expect("setpriv runs")
    };
    let output = nobody(&["-i", "eth0", "--duration", "1s"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("CAP_NET_RAW"), "{said}");

    let output = nobody(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{said}");
    for part in [
        "FAIL  CAP_NET_RAW",
        "bounding set",
        "setcap cap_net_raw+ep",
        "kernel",
        "libpcap",
        "Landlock",
        "seccomp",
        "eth0",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn the_doctor_finds_nothing_wrong_where_nothing_is() {
    let Some(lab) = Lab::make() else { return };
    let output = lab.inside(&lab.server, AGENT).arg("doctor").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains("FAIL"), "{said}");
    assert!(said.lines().any(|line| line.contains("eth0") && line.contains("can be opened")), "{said}");
}

/// Reading a file takes no privilege, and is confined all the same.
#[test]
fn a_file_is_read_in_confinement_too() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/boutique/capture.pcap");
    let output = Command::new(AGENT).arg("-r").arg(case).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!output.stdout.is_empty());
}

#[test]
fn a_forbidden_system_call_ends_the_process_at_once() {
    const SIGSYS: i32 = 31;
    for call in ["connect", "spawn", "write-to-a-packet-socket"] {
        let status = confined(call);
        assert_eq!(status.signal(), Some(SIGSYS), "{call}: {status}");
    }
}

#[test]
fn files_are_out_of_reach() {
    // What a part found, as its exit status: see `part`.
    assert_eq!(confined("open").code(), Some(10));
    assert_eq!(confined("folder").code(), Some(10));
}

#[test]
fn a_panic_is_still_reported() {
    let output = run_confined("panic");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101), "{said}");
    assert!(said.contains("said in confinement") && said.contains("stack backtrace"), "{said}");
}

/// The variable that tells such a process which folder it is given.
const FOLDER: &str = "WIREPROOF_LIVE_FOLDER";

/// Does one thing in a confined process of its own.
fn confined(what: &str) -> ExitStatus {
    run_confined(what).status
}

fn run_confined(what: &str) -> std::process::Output {
    let this = std::env::current_exe().unwrap();
    // Made and removed here: who is confined to a folder cannot remove it.
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(this);
    command.args(["part", "--exact"]).env("WIREPROOF_LIVE_PART", what).env(FOLDER, folder.path());
    command.env("RUST_BACKTRACE", "1").output().unwrap()
}

/// What the processes above do. A status of 10 is as it should be.
pub(crate) fn part(what: &str) {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let socket = ours.as_raw_fd();
    let needs = match what {
        "folder" => Needs { recording: Some(&folder), ..Needs::default() },
        "write-to-a-packet-socket" => Needs { sockets: &[socket], ..Needs::default() },
        _ => Needs::default(),
    };
    let (_proof, notes) = confine(&needs).unwrap();
    let denied = |result: std::io::Result<std::fs::File>| {
        result.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    let good = match what {
        "connect" => std::net::TcpStream::connect("127.0.0.1:1").is_ok(),
        "spawn" => Command::new("true").status().is_ok(),
        "write-to-a-packet-socket" => ours.write_all(b"a frame").is_ok(),
        "panic" => panic!("said in confinement"),
        "open" => {
            denied(std::fs::File::open("/etc/passwd"))
                && denied(std::fs::File::create("/tmp/wp-out-of-reach"))
        }
        "folder" => {
            let inside = folder.join("a");
            let works = std::fs::File::create(&inside).is_ok()
                && std::fs::rename(&inside, folder.join("b")).is_ok()
                && std::fs::remove_file(folder.join("b")).is_ok();
            // Without Landlock nothing but permissions keeps it in its folder, and it says so.
            let kept = !notes.is_empty()
                || denied(std::fs::File::open("/etc/passwd"))
                    && denied(std::fs::File::create(std::env::temp_dir().join("wp-out-of-reach")));
            works && kept
        }
        _ => false,
    };
    drop(theirs);
    std::process::exit(if good { 10 } else { 11 });
}
