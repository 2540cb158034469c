//! `wireproof readiness`.

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::form::Form;
use super::input::{Captures, Declarations};
use crate::completion;

#[derive(Debug, Args)]
#[command(after_help = READINESS_EXAMPLES)]
pub(crate) struct Readiness {
    #[command(flatten)]
    pub(crate) captures: Captures,
    #[command(flatten)]
    pub(crate) mesh: Declarations,
    /// The namespace that becomes STRICT. Without it and --workload, the whole mesh
    #[arg(short, long, value_name = "NAME", add = ArgValueCandidates::new(completion::namespaces))]
    pub(crate) namespace: Option<String>,
    /// The workload that becomes STRICT
    #[arg(short, long, value_name = "NAMESPACE/NAME", conflicts_with = "namespace",
        add = ArgValueCandidates::new(completion::workloads))]
    pub(crate) workload: Option<String>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub(crate) output: Form,
}

const READINESS_EXAMPLES: &str = "\
Examples:
  wireproof readiness capture.pcap --mesh ./mesh -n orders
  wireproof readiness monday.pcap tuesday.pcap --mesh ./mesh -w orders/checkout -o json
  wireproof readiness capture.pcap --mesh ./mesh -n orders -o json | jq -r .proposal.yaml

Exit status 1 says that something seen would break; 0 says no more than that nothing seen would.";
