//! The process that empties the spool: started before the agent gives up its privileges, ended by closing its standard
//! input.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

/// What ends the agent, in order: Ctrl-C, the service manager, the terminal that is closed.
pub const ENDS: [i32; 3] =
    [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];

/// The process that sends.
#[derive(Debug)]
pub struct Sender(Child);

impl Sender {
    /// Starts this very program again with these arguments; it must end when its standard input does.
    ///
    /// # Errors
    ///
    /// When the system cannot start it.
    pub fn start(arguments: impl IntoIterator<Item = OsString>) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null());
        command.spawn().map(Self)
    }

    /// Stands for one that waits for its end and sends nothing.
    #[cfg(test)]
    pub(super) fn that_sends_nothing() -> Self {
        Self(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    #[cfg(test)]
    pub(super) fn that_fails() -> Self {
        Self(Command::new("false").stdin(Stdio::piped()).spawn().unwrap())
    }

    /// Tells whether it still runs. The agent ends with it: whoever keeps the agent running starts both again, and what
    /// was spooled is there still.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn check(&mut self) -> io::Result<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => {
                Err(io::Error::other(format!("the process that sends ended by itself: {status}")))
            }
        }
    }

    /// Lets it send what is left for as long as its patience lasts, and waits for its end. It says itself what is left.
    ///
    /// # Errors
    ///
    /// When it did not end well.
    pub fn finish(&mut self) -> io::Result<()> {
        drop(self.0.stdin.take());
        let status = self.0.wait()?;
        // A service manager signals all processes of a unit at once, this one perhaps before it takes no notice: what is in
        // the spool waits for the next run.
        let with_the_agent = status.signal().is_some_and(|signal| ENDS.contains(&signal));
        if status.success() || with_the_agent {
            Ok(())
        } else {
            Err(io::Error::other(format!("the process that sends ended with {status}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_the_agent_may_end_what_sends_first() {
        for (signal, well) in [("TERM", true), ("INT", true), ("HUP", true), ("KILL", false)] {
            let mut sender = Sender::that_sends_nothing();
            let id = sender.0.id().to_string();
            assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
            assert_eq!(sender.finish().is_ok(), well, "{signal}");
        }
    }
}
