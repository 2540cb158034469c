//! `wireproof mesh`.

use clap::Subcommand;

use super::input::Cluster;

#[derive(Debug, Subcommand)]
pub(crate) enum MeshCommand {
    /// Prints every object of a cluster that decides answers, as YAML for --mesh: no Secret, and no pod's environment
    #[command(after_help = DUMP_EXAMPLES)]
    Dump(Cluster),
}

const DUMP_EXAMPLES: &str = "\
Examples:
  wireproof mesh dump --kubeconfig ~/.kube/config > mesh.yaml
  wireproof mesh dump --in-cluster | wireproof lint --mesh -";
