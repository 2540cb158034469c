//! `wireproof replay`.

use clap::Args;

use super::form::Output;
use super::input::{Captures, Declarations};
use super::value::{FailOn, MeshAt, fail_on, mesh_at, share};

#[derive(Debug, Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) captures: Captures,
    #[command(flatten)]
    pub(crate) mesh: Declarations,
    /// Declarations that replaced those of --mesh at a time (RFC 3339), such as 2026-03-01T12:00:00Z=./mesh-new. May be
    /// repeated; a flow is judged by what was in force when it began
    #[arg(long = "mesh-at", value_name = "TIME=PATH", value_parser = mesh_at)]
    pub(crate) mesh_at: Vec<MeshAt>,
    /// How to print the audit
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Exit with status 1 if a finding is at least this bad: info, low, medium, high, critical or never
    #[arg(long, value_name = "SEVERITY", default_value = "low", value_parser = fail_on)]
    pub(crate) fail_on: FailOn,
    /// Exit with status 5 if a smaller share of the TCP flows was seen from its start (0 to 1)
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) min_coverage: Option<f64>,
    /// Exit with status 5 if fewer flows could be held against a declaration: 1 for a pipeline, where an audit that judged
    /// nothing must not pass
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) min_judged: u64,
}

const REPLAY_EXAMPLES: &str = "\
Examples:
  wireproof replay capture.pcap --mesh ./mesh
  wireproof replay *.pcapng --mesh ./mesh -o json --min-coverage 0.95 --min-judged 1 --fail-on high
  tcpdump -i any -U -w - tcp | wireproof replay - --mesh ./mesh";
