//! Captures from standard input, which a Ctrl-C ends rather than the program: in `tcpdump -w - | wireproof replay -` both get it,
//! and what was captured until then is what was asked for.

use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::SIGINT;

/// How long after the Ctrl-C the writer may take to end too: what it had in hand still counts.
const GRACE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The exit status of a program that Ctrl-C ended, as shells give it.
const INTERRUPTED: i32 = 130;

/// Standard input up to its end, or to the first Ctrl-C. The second one ends the program.
pub(crate) struct StandardInput {
    /// Readable once there was a Ctrl-C.
    signalled: UnixStream,
    interrupted: bool,
}

impl StandardInput {
    /// Takes Ctrl-C over.
    pub(crate) fn open() -> io::Result<Self> {
        let (signalled, tell) = UnixStream::pair()?;
        let again = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register_conditional_shutdown(SIGINT, INTERRUPTED, Arc::clone(&again))?;
        signal_hook::flag::register(SIGINT, again)?;
        signal_hook::low_level::pipe::register(SIGINT, tell)?;
        Ok(Self { signalled, interrupted: false })
    }
}

impl Read for StandardInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = io::stdin();
        let input = input.as_fd();
        if !self.interrupted {
            let [_, signalled] = readable([input, self.signalled.as_fd()], None)?;
            if signalled {
                self.interrupted = true;
                anstream::eprintln!(
                    "wireproof: Ctrl-C: this is what was read until then (once more ends at once)"
                );
            }
        }
        if self.interrupted && readable([input], Some(&GRACE))? == [false] {
            return Ok(0);
        }
        Ok(rustix::io::read(input, buffer)?)
    }
}

/// Waits until one of them can be read, or is at its end; tells which.
fn readable<const N: usize>(files: [BorrowedFd<'_>; N], most: Option<&Timespec>) -> io::Result<[bool; N]> {
    let mut asked = files.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN));
    loop {
        match poll(&mut asked, most) {
            Ok(_) => return Ok(asked.map(|file| !file.revents().is_empty())),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
