//! How a run ended, as scripts see it.

use std::io;

/// The exit status; documented in docs/cli.md and stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nothing at or above `--fail-on`.
    Clean,
    /// Findings at or above `--fail-on`.
    Findings,
    /// An input could not be read, or only in part.
    Input,
    /// What was asked for cannot be: a name that nothing has.
    Usage,
    /// The environment is in the way: a port in use, a store that cannot be opened.
    Environment,
    /// Less coverage than `--min-coverage` asks for: the result is not to be trusted.
    Coverage,
}

impl Status {
    /// Returns the number that the process exits with. 2 is clap's too.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Findings => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Environment => 4,
            Self::Coverage => 5,
        }
    }

    /// Returns the one of two that says more: an unreadable input outweighs thin coverage, which outweighs findings.
    pub(crate) fn worse(self, other: Self) -> Self {
        let rank = |status| match status {
            Self::Clean => 0,
            Self::Findings => 1,
            Self::Coverage => 2,
            Self::Input => 3,
            Self::Environment => 4,
            Self::Usage => 5,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// An error that ends the run, with the status that it ends with.
#[derive(Debug)]
pub(crate) struct Fatal {
    status: Status,
    error: anyhow::Error,
}

impl Fatal {
    /// A request that cannot be met as it was made.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { status: Status::Usage, error: error.into() }
    }

    /// An input that cannot be read at all.
    pub(crate) fn input(error: impl Into<anyhow::Error>) -> Self {
        Self { status: Status::Input, error: error.into() }
    }

    /// Something outside the inputs that is in the way.
    pub(crate) fn environment(error: impl Into<anyhow::Error>) -> Self {
        Self { status: Status::Environment, error: error.into() }
    }
}

impl std::fmt::Display for Fatal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&said_once(&self.error))
    }
}

impl From<io::Error> for Fatal {
    fn from(error: io::Error) -> Self {
        Self::environment(error)
    }
}

impl From<serde_json::Error> for Fatal {
    fn from(error: serde_json::Error) -> Self {
        Self::environment(error)
    }
}

/// Prints a fatal error and returns the status to exit with. A reader that closed the pipe is no error.
pub(crate) fn report(outcome: Result<Status, Fatal>) -> Status {
    match outcome {
        Ok(status) => status,
        Err(fatal) if is_closed_pipe(&fatal.error) => Status::Clean,
        Err(fatal) => {
            anstream::eprintln!("wireproof: {fatal}");
            fatal.status
        }
    }
}

/// Goes on without error where what reads the answer has closed the pipe, as `head` does: the status is that of the whole answer.
pub(crate) fn unless_closed(written: Result<(), Fatal>) -> Result<(), Fatal> {
    match written {
        Err(fatal) if is_closed_pipe(&fatal.error) => Ok(()),
        written => written,
    }
}

/// The error and its causes, without what a cause says over again.
fn said_once(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
            || cause
                .downcast_ref::<serde_json::Error>()
                .is_some_and(|json| json.io_error_kind() == Some(io::ErrorKind::BrokenPipe))
    })
}
