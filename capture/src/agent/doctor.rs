//! Says whether this machine, this account and this program's file can capture, and what is missing.
//!
//! Needs no privilege itself. It opens every interface for a moment, and reads nothing.

use std::fmt;
use std::path::Path;

use landlock::LandlockStatus;
use rustix::thread::CapabilitySet;

use super::confinement;
use crate::source::live::{self, HANDSHAKE, LiveError};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// Whether it is as it should be.
    pub state: State,
    /// What was found, and what mends it.
    pub found: String,
}

/// How good what was found is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// Capturing works without it, less well or less safely.
    Weak,
    /// Capturing does not work.
    Bad,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Good => "ok",
            State::Weak => "note",
            State::Bad => "FAIL",
        };
        write!(f, "{state:<5} {:<14} {}", self.what, self.found)
    }
}

/// Looks at everything. At the end this thread is confined to files that are open, which is how Landlock is looked at.
#[must_use]
pub fn examine() -> Vec<Check> {
    let mut checks = vec![kernel(), libpcap(), capability(), file_capability(), namespaces(), seccomp()];
    checks.extend(interfaces());
    checks.push(snap_length());
    checks.push(landlock());
    checks
}

fn check(what: &str, state: State, found: impl Into<String>) -> Check {
    Check { what: what.to_owned(), state, found: found.into() }
}

fn kernel() -> Check {
    let names = rustix::system::uname();
    check("kernel", State::Good, format!("Linux {}", names.release().to_string_lossy()))
}

fn libpcap() -> Check {
    // The library cannot be asked through its binding; the file that is mapped has its version in its name.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    match maps.lines().filter_map(|line| line.split_whitespace().last()).find(|path| path.contains("libpcap"))
    {
        Some(path) => check("libpcap", State::Good, path.to_owned()),
        None => check("libpcap", State::Good, "linked into this program"),
    }
}

fn holds(capability: CapabilitySet) -> bool {
    rustix::thread::capabilities(None).is_ok_and(|held| held.effective.contains(capability))
}

fn capability() -> Check {
    if holds(CapabilitySet::NET_RAW) {
        return check("CAP_NET_RAW", State::Good, "held; it is given up before the first packet is read");
    }
    let bounded = rustix::thread::capability_is_in_bounding_set(CapabilitySet::NET_RAW);
    let why = if bounded == Ok(false) {
        "not held, and outside the bounding set: whatever started this program must allow it (in Kubernetes: securityContext.capabilities.add: [NET_RAW])"
    } else if rustix::process::getuid().is_root() {
        "not held although this is root: the container or unit that it runs in leaves it out"
    } else {
        "not held: give the program's file the capability (next line), run it from a unit with AmbientCapabilities=CAP_NET_RAW, or run it as root"
    };
    check("CAP_NET_RAW", State::Bad, why)
}

/// Whether the file gives the capability, and if so why that may have no effect.
fn file_capability() -> Check {
    let what = "file";
    let path = std::env::current_exe().unwrap_or_else(|_| "wireproof-agent".into());
    if holds(CapabilitySet::NET_RAW) {
        return check(what, State::Good, format!("{} needs no capability of its own", path.display()));
    }
    let mend = format!("sudo setcap cap_net_raw+ep {}", path.display());
    if !gives_net_raw(&path) {
        return check(what, State::Weak, format!("has no capability: {mend}"));
    }
    let nosuid = rustix::fs::statvfs(&path)
        .is_ok_and(|found| found.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID));
    let why = if nosuid {
        "but its file system is mounted nosuid, which turns capabilities of files off: install it elsewhere"
    } else if rustix::thread::no_new_privs() == Ok(true) {
        "but no_new_privs is set, which turns capabilities of files off (in Kubernetes: allowPrivilegeEscalation: false)"
    } else {
        "but it has not taken effect: start it anew, and outside a user namespace"
    };
    check(what, State::Weak, format!("{} has cap_net_raw, {why}", path.display()))
}

/// Reads the file's `security.capability` (capabilities(7), "File capability extended attribute versioning").
fn gives_net_raw(path: &Path) -> bool {
    let mut block = [0_u8; 64];
    let read = rustix::fs::getxattr(path, c"security.capability", block.as_mut_slice());
    // Version and flags, then the lower half of what is permitted, least significant byte first.
    let permitted = match (read, &block) {
        (Ok(length), [_, _, _, _, p0, p1, p2, p3, ..]) if length >= 8 => {
            u32::from_le_bytes([*p0, *p1, *p2, *p3])
        }
        _ => 0,
    };
    CapabilitySet::from_bits_retain(u64::from(permitted)).contains(CapabilitySet::NET_RAW)
}

fn namespaces() -> Check {
    if holds(CapabilitySet::SYS_ADMIN) {
        check("--netns", State::Good, "other network namespaces can be entered (CAP_SYS_ADMIN)")
    } else {
        check(
            "--netns",
            State::Weak,
            "cannot be used: entering a network namespace takes CAP_SYS_ADMIN; nothing else does",
        )
    }
}

fn seccomp() -> Check {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if actions.split_whitespace().any(|action| action == "kill_process") {
        check("seccomp", State::Good, "filters of system calls are there")
    } else {
        check(
            "seccomp",
            State::Bad,
            "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER), and the agent does not run without",
        )
    }
}

fn interfaces() -> Vec<Check> {
    let names = match live::interfaces() {
        Ok(names) => names,
        Err(error) => return vec![check("interfaces", State::Bad, error.to_string())],
    };
    let mut checks: Vec<Check> = Vec::new();
    for name in names.into_iter().chain(["any".to_owned()]) {
        let settings = live::Settings {
            interfaces: vec![name.clone()],
            follow: false,
            filter: None,
            snap_length: HANDSHAKE,
            buffer: 1 << 20,
            immediate: false,
            namespace: None,
        };
        let (state, found) = match live::Opened::open(&settings) {
            Ok(_) => (State::Good, format!("can be opened{}", size(&name))),
            Err(LiveError::Permission(_)) => (State::Bad, "cannot be opened without CAP_NET_RAW".to_owned()),
            Err(error) => (State::Weak, error.to_string()),
        };
        checks.push(check(&name, state, found));
    }
    checks
}

fn size(name: &str) -> String {
    let read = |file: &str| std::fs::read_to_string(format!("/sys/class/net/{name}/{file}")).ok();
    match (read("mtu"), read("operstate")) {
        (Some(mtu), Some(state)) => format!(", mtu {}, {}", mtu.trim(), state.trim()),
        _ => String::new(),
    }
}

fn snap_length() -> Check {
    check(
        "--snaplen",
        State::Good,
        format!(
            "handshakes need {HANDSHAKE}; offloading makes super-packets of 64 KiB and more, whatever the mtu says, of which the default keeps 16384"
        ),
    )
}

fn landlock() -> Check {
    let what = "Landlock";
    match confinement::restrict_files(&super::Needs::default()) {
        Ok((_, LandlockStatus::Available { effective_abi, kernel_abi })) => {
            let version = kernel_abi.unwrap_or(effective_abi as i32);
            check(what, State::Good, format!("ABI {version}"))
        }
        Ok((_, LandlockStatus::NotEnabled)) => check(
            what,
            State::Weak,
            "is built into the kernel and turned off (lsm= on its command line): files are kept from the agent by seccomp alone",
        ),
        Ok((_, LandlockStatus::NotImplemented)) => check(
            what,
            State::Weak,
            "is not in this kernel (5.13 and later have it): files are kept from the agent by seccomp alone",
        ),
        Err(error) => check(what, State::Bad, error),
    }
}
