//! Gives up what the agent no longer needs once its sources are open: capabilities, files, sockets, most system calls.
//!
//! The order matters: the bounding set can only be emptied with a capability, and Landlock and seccomp want
//! `no_new_privs`. What holds afterwards holds for the rest of the process's life.

use std::os::fd::RawFd;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::thread::{CapabilitySet, CapabilitySets};
use thiserror::Error;

use super::seccomp;

/// Shows that the process is confined: nothing outside this module can make one.
#[derive(Debug)]
pub struct Proof(());

/// What still has to work afterwards.
#[derive(Debug, Default)]
pub struct Needs<'a> {
    /// The folder in which a recording's files are made, renamed and removed; absent if there is none.
    pub recording: Option<&'a Path>,
    /// The folder in which files are read as well; absent if there is none.
    pub spool: Option<&'a Path>,
    /// The folder in which the metrics' file is made and renamed; absent if there is none.
    pub metrics: Option<&'a Path>,
    /// Sockets that are read and never written to.
    pub sockets: &'a [RawFd],
}

/// Why the process could not be confined.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfineError {
    /// Threads that exist already would keep what the calling one gives up.
    #[error("the process has {0} threads and must have one when it gives up its privileges")]
    Threads(usize),
    /// The kernel refused to take a capability away.
    #[error("giving up capabilities: {0}")]
    Capabilities(std::io::Error),
    /// The kernel refused `no_new_privs`.
    #[error("setting no_new_privs: {0}")]
    NoNewPrivileges(std::io::Error),
    /// Landlock is there, and refused the rules.
    #[error("Landlock: {0}")]
    Landlock(String),
    /// The kernel refused the filter of system calls.
    #[error("seccomp: {0}")]
    Seccomp(#[from] seccomp::SeccompError),
}

/// The rights that this program restricts: those of Linux 6.12. Older kernels restrict what they know.
const KNOWN: ABI = ABI::V6;

/// Confines the calling thread, and the threads that it starts later; cannot be undone.
///
/// Returns the proof, and what the kernel could not do, as sentences: an old kernel's Landlock knows less, or there is
/// none. Everything else must succeed.
///
/// # Errors
///
/// Returns which step the kernel refused; the process may then be confined in part and must not go on.
pub fn confine(needs: &Needs<'_>) -> Result<(Proof, Vec<String>), ConfineError> {
    give_up_capabilities().map_err(|errno| ConfineError::Capabilities(errno.into()))?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| ConfineError::NoNewPrivileges(errno.into()))?;
    let (status, _) = restrict_files(needs).map_err(ConfineError::Landlock)?;
    let mut notes = Vec::new();
    match status {
        RulesetStatus::FullyEnforced => {}
        RulesetStatus::PartiallyEnforced => {
            notes.push("this kernel's Landlock restricts only part of what later ones do".to_owned());
        }
        RulesetStatus::NotEnforced => notes.push(
            "this kernel has no Landlock: files are kept from the agent by their permissions and by seccomp alone"
                .to_owned(),
        ),
    }
    seccomp::restrict(needs)?;
    Ok((Proof(()), notes))
}

/// Confines the process that sends: it keeps the network, reads files as its account may, and writes in the spool alone.
/// Returns what the kernel could not do, as a sentence.
///
/// # Errors
///
/// Returns which step the kernel refused; the process must then end.
pub fn confine_sender(spool: &Path) -> Result<Option<String>, ConfineError> {
    give_up_capabilities().map_err(|errno| ConfineError::Capabilities(errno.into()))?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| ConfineError::NoNewPrivileges(errno.into()))?;
    let writes = AccessFs::from_write(KNOWN);
    let rules = Ruleset::default()
        .handle_access(writes)
        .and_then(|rules| rules.scope(Scope::from_all(KNOWN)))
        .and_then(Ruleset::create)
        .map_err(|error| ConfineError::Landlock(error.to_string()))?;
    let folder = PathFd::new(spool).map_err(|error| ConfineError::Landlock(error.to_string()))?;
    let status = rules
        .add_rule(PathBeneath::new(folder, writes))
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|error| ConfineError::Landlock(error.to_string()))?;
    let enforced = status.ruleset != RulesetStatus::NotEnforced;
    Ok((!enforced).then(|| {
        "this kernel has no Landlock: the sender is kept from files by their permissions".to_owned()
    }))
}

/// Empties all five sets of capabilities; the bounding set only where that is permitted, since it takes a capability.
fn give_up_capabilities() -> rustix::io::Result<()> {
    let held = rustix::thread::capabilities(None)?;
    if held.effective.contains(CapabilitySet::SETPCAP) {
        // The kernel may know more than this program does, and answers EINVAL after its last.
        for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                Err(rustix::io::Errno::INVAL) => break,
                Err(errno) => return Err(errno),
            }
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )
}

/// Restricts files to what the folders need, and TCP, abstract sockets and signals to nothing.
pub(super) fn restrict_files(needs: &Needs<'_>) -> Result<(RulesetStatus, LandlockStatus), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(KNOWN)))
        .and_then(|rules| rules.scope(Scope::from_all(KNOWN)))
        .and_then(Ruleset::create)
        .map_err(|error| text(&error))?;
    let written: BitFlags<AccessFs> =
        AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    for (folder, rights) in
        [(needs.recording, written), (needs.metrics, written), (needs.spool, written | AccessFs::ReadFile)]
    {
        let Some(folder) = folder else { continue };
        let folder = PathFd::new(folder).map_err(|error| text(&error))?;
        rules = rules.add_rule(PathBeneath::new(folder, rights)).map_err(|error| text(&error))?;
    }
    let status = rules.restrict_self().map_err(|error| text(&error))?;
    Ok((status.ruleset, status.landlock))
}
