//! The agent's program. The live source is not there yet, and it says so instead of watching nothing.

use std::io::Write as _;
use std::process::ExitCode;

/// The exit status for an environment that cannot do what was asked.
const ENVIRONMENT: u8 = 4;

fn main() -> ExitCode {
    let message =
        b"wireproof-agent: live capture is not implemented yet; record with `tcpdump -w FILE` and run \
        `wireproof flows FILE`\n";
    // There is nowhere left to report that standard error is closed.
    let _ = std::io::stderr().write_all(message);
    ExitCode::from(ENVIRONMENT)
}
