//! The system calls that a confined agent may make.
//!
//! Any other one ends the process at once with SIGSYS, which the shell, systemd and the kernel's log all show: an agent
//! that went on with a failed call could lose flows in silence.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use thiserror::Error;

use super::confinement::Needs;

/// Why the filter could not be put in force.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct SeccompError(String);

/// Calls allowed with any arguments.
const ANY: &[i64] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Files and sockets that are open already.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fcntl,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    // Time, signals, locks, the end.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_tkill,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getrandom,
    libc::SYS_rseq,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Calls that take a path: with a folder Landlock says which, without one they fail.
const PATHS: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    // What a panic's backtrace asks.
    libc::SYS_getcwd,
    libc::SYS_readlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// Calls that write to a descriptor, their first argument.
const WRITES: &[i64] = &[libc::SYS_write, libc::SYS_writev, libc::SYS_pwrite64];

/// What the names of interfaces (SIOCGIFNAME, SIOCGIFINDEX), libpcap's look at one that went down (SIOCGIFFLAGS) and the
/// standard library's look at a terminal (TCGETS) ask.
const REQUESTS: &[u64] = &[0x8910, 0x8933, 0x8913, 0x5401];

pub(super) fn restrict(needs: &Needs<'_>) -> Result<(), SeccompError> {
    if needs.recording.is_none() && needs.spool.is_none() && needs.metrics.is_none() {
        // The C library and the standard library go on without files that they look for; so these calls only fail.
        // Of two filters the stricter answer counts, and the last one in force forbids a further one.
        let paths = PATHS.iter().map(|call| (*call, Vec::new())).collect();
        apply(paths, SeccompAction::Allow, SeccompAction::Errno(libc::EACCES.unsigned_abs()))?;
    }
    let mut allowed: BTreeMap<i64, Vec<SeccompRule>> = ANY.iter().map(|call| (*call, Vec::new())).collect();
    allowed.extend(PATHS.iter().map(|call| (*call, Vec::new())));
    let requests = REQUESTS
        .iter()
        .map(|request| rule(vec![argument(1, SeccompCmpOp::Eq, *request)?]))
        .collect::<Result<_, _>>()?;
    allowed.insert(libc::SYS_ioctl, requests);
    // libpcap gives its ring back (SOL_PACKET, PACKET_RX_RING) when it closes a socket.
    let ring = vec![argument(1, SeccompCmpOp::Eq, 263)?, argument(2, SeccompCmpOp::Eq, 5)?];
    allowed.insert(libc::SYS_setsockopt, vec![rule(ring)?]);
    // No memory ever becomes code.
    let executable = u64::try_from(libc::PROT_EXEC).unwrap_or(4);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let plain = argument(2, SeccompCmpOp::MaskedEq(executable), 0)?;
        allowed.insert(call, vec![rule(vec![plain])?]);
    }
    // What is written to a packet socket goes out on the wire.
    for call in WRITES {
        let elsewhere: Vec<_> = needs
            .sockets
            .iter()
            .map(|socket| argument(0, SeccompCmpOp::Ne, u64::try_from(*socket).unwrap_or(u64::MAX)))
            .collect::<Result<_, _>>()?;
        allowed.insert(*call, if elsewhere.is_empty() { Vec::new() } else { vec![rule(elsewhere)?] });
    }
    apply(allowed, SeccompAction::KillProcess, SeccompAction::Allow)
}

fn apply(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<(), SeccompError> {
    let target = TargetArch::try_from(std::env::consts::ARCH).map_err(text)?;
    let filter = SeccompFilter::new(rules, otherwise, matching, target).map_err(text)?;
    let program: BpfProgram = filter.try_into().map_err(text)?;
    seccompiler::apply_filter(&program).map_err(text)
}

fn argument(number: u8, compare: SeccompCmpOp, value: u64) -> Result<SeccompCondition, SeccompError> {
    // The kernel takes descriptors, protections and requests from the lower half of the register alone.
    SeccompCondition::new(number, SeccompCmpArgLen::Dword, compare, value).map_err(text)
}

fn rule(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, SeccompError> {
    SeccompRule::new(conditions).map_err(text)
}

fn text(error: impl std::fmt::Display) -> SeccompError {
    SeccompError(error.to_string())
}
