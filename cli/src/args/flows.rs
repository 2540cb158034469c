//! `wireproof flows`.

use clap::{Args, ValueEnum};

use super::input::Captures;

#[derive(Debug, Args)]
#[command(after_help = FLOWS_EXAMPLES)]
pub(crate) struct Flows {
    #[command(flatten)]
    pub(crate) captures: Captures,
    /// How to print the flows
    #[arg(short, long, value_enum, default_value_t = FlowsOutput::Table)]
    pub(crate) output: FlowsOutput,
    /// Also report connections that carried no payload byte
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FlowsOutput {
    /// For people
    #[value(alias = "text")]
    Table,
    /// One JSON object a line
    Ndjson,
}

const FLOWS_EXAMPLES: &str = "\
Examples:
  wireproof flows capture.pcap
  wireproof flows trace.*.pcapng -o ndjson --threads 4
  tcpdump -i any -U -w - tcp | wireproof flows - -o ndjson";
