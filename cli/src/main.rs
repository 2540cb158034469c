//! The `wireproof` program: reads captures and declarations, audits one against the other, and serves the result.
//!
//! Standard output carries the answer, standard error everything else. The exit statuses are those of [`exit::Status`].

mod agent;
mod args;
mod certificate;
mod collect;
mod completion;
mod describe;
mod exit;
mod explain;
mod flows;
mod in_force;
mod input;
mod lint;
mod looks;
mod mesh;
mod readiness;
mod render;
mod replay;
mod serve;
mod standard_input;
mod store;
mod sweep;
mod token;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Arguments, Command};
use crate::exit::{Fatal, Status};

/// A collector makes and frees some hundred small pieces of memory a flow, on other threads than it made them: a third of its time with the
/// system's allocator, a seventh with this one. A table of connections takes a fifth more with it, so it is chosen at build time.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    completion::answer();
    let arguments = Arguments::parse();
    if arguments.command.reads_standard_input_twice() {
        let message = "standard input (-) can be read only once: name a file for the captures or for --mesh";
        return exit::report(Err(Fatal::usage(anyhow::anyhow!(message)))).into();
    }
    let outcome = match arguments.command {
        Command::Flows(options) => flows::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Describe(options) => describe::run(&options),
        Command::Lint(options) => lint::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Readiness(options) => readiness::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Mesh(command) => mesh::run(&command),
        Command::Store(command) => store::run(&command),
        Command::Completions { shell } => completion::print(shell),
    };
    exit::report(outcome).into()
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}
