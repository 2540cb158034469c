//! The `wireproof` program: reads captures and declarations, audits one against the other, and serves the result.
//!
//! Standard output carries the answer, standard error everything else. The exit statuses are those of [`exit::Status`].

mod args;
mod collect;
mod describe;
mod exit;
mod explain;
mod flows;
mod input;
mod lint;
mod render;
mod replay;
mod serve;
mod store;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Arguments, Command};
use crate::exit::Status;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Flows(options) => flows::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Describe(options) => describe::run(&options),
        Command::Lint(options) => lint::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Store(command) => store::run(&command),
        Command::Completions { shell } => args::completions(shell),
    };
    exit::report(outcome).into()
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}
