//! `wireproof describe`.

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCandidates;

use super::form::Form;
use super::input::Declarations;
use crate::completion;

#[derive(Debug, Args)]
#[command(after_help = DESCRIBE_EXAMPLES)]
pub(crate) struct Describe {
    #[command(flatten)]
    pub(crate) mesh: Declarations,
    /// What to describe
    #[arg(value_enum, value_name = "KIND")]
    pub(crate) kind: Kind,
    /// Its name: namespace/name, or the name alone where only one namespace has it
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(completion::subjects))]
    pub(crate) name: String,
    /// How to print the description
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub(crate) output: Form,
}

/// What can be described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A workload: the pods of one Deployment, StatefulSet ...
    #[value(alias = "wl")]
    Workload,
    /// A Service, or a host of a ServiceEntry
    #[value(alias = "svc")]
    Service,
    /// A namespace
    #[value(alias = "ns")]
    Namespace,
    /// A Gateway of Istio or of the Gateway API
    #[value(alias = "gw")]
    Gateway,
}

const DESCRIBE_EXAMPLES: &str = "\
Examples:
  wireproof describe workload catalog/search --mesh ./mesh
  wireproof describe service catalog/search --mesh ./mesh -o yaml
  wireproof describe namespace payments --mesh ./mesh
  wireproof describe gateway istio-system/public --mesh ./mesh";
