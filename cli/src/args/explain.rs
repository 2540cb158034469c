//! `wireproof explain`.

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::form::Form;
use super::input::Declarations;
use crate::completion;

#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) mesh: Declarations,
    /// The client: an address, namespace/name of a workload, Service or pod, or a pod's or host's name alone
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(completion::ends))]
    pub(crate) from: String,
    /// The destination: an address, or a name as for --from, or a host of a ServiceEntry; with :PORT unless --port says it
    #[arg(long, value_name = "NAME:PORT", add = ArgValueCandidates::new(completion::ends))]
    pub(crate) to: String,
    /// The destination's port: a Service's, else a container's. May be left out where there is only one
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// The server name in the ClientHello, where the answer depends on it
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub(crate) output: Form,
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  wireproof explain --mesh ./mesh --from web/frontend --to catalog/search --port 9090
  wireproof explain --mesh ./mesh --from web/frontend --to search.catalog.svc.cluster.local:9090
  wireproof explain --mesh ./mesh --from web/frontend --to api.example.com:443 -o yaml
  wireproof explain --mesh ./mesh --from 10.1.4.9 --to 10.1.7.3:8080 -o json

A name that several kinds share is told apart by the kind: service/web/frontend, workload/web/frontend, pod/web/frontend-5d9c7.
Two addresses give one object in JSON; names give an object with `outcomes`, one for each distinct answer.";
