//! `wireproof lint`.

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCandidates;

use super::input::Declarations;
use super::value::{FailOn, fail_on};
use crate::completion;

#[derive(Debug, Args)]
#[command(after_help = LINT_EXAMPLES)]
pub(crate) struct Lint {
    #[command(flatten)]
    pub(crate) mesh: Declarations,
    /// Only findings whose id begins so, such as DR or DR02; several with commas
    #[arg(long, value_name = "ID", value_delimiter = ',', add = ArgValueCandidates::new(completion::ids))]
    pub(crate) select: Vec<String>,
    /// No findings whose id begins so
    #[arg(long, value_name = "ID", value_delimiter = ',', add = ArgValueCandidates::new(completion::ids))]
    pub(crate) ignore: Vec<String>,
    /// Prints what a finding means, how to see it and how to mend it, and nothing else
    #[arg(long, value_name = "ID", exclusive = true, add = ArgValueCandidates::new(completion::ids))]
    pub(crate) explain: Option<String>,
    /// How to print the findings
    #[arg(short, long, value_enum, default_value_t = LintOutput::Text)]
    pub(crate) output: LintOutput,
    /// Exit with status 1 if a finding is at least this bad: info, low, medium, high, critical or never
    #[arg(long, value_name = "SEVERITY", default_value = "low", value_parser = fail_on)]
    pub(crate) fail_on: FailOn,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintOutput {
    /// For people: the offending line under a caret
    #[value(alias = "table")]
    Text,
    /// One JSON object
    Json,
    /// The same as YAML
    Yaml,
    /// A SARIF 2.1.0 log, for code scanning
    Sarif,
    /// Commands that GitHub Actions shows beside the lines
    Github,
}

const LINT_EXAMPLES: &str = "\
Examples:
  wireproof lint --mesh ./mesh
  wireproof lint --mesh ./mesh --select DR,GW --ignore GW12 --fail-on high
  wireproof lint --mesh ./mesh -o sarif > wireproof.sarif
  wireproof lint --explain DR02
  kubectl get peerauthentications,destinationrules,services,pods -A -o yaml | wireproof lint --mesh -";
