//! The command line: a file of `args/` for each command, and what they share in `input`, `form` and `value`.

mod describe;
mod explain;
mod flows;
mod form;
mod input;
mod lint;
mod mesh;
mod readiness;
mod replay;
mod serve;
mod store;
mod value;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use describe::{Describe, Kind};
pub(crate) use explain::Explain;
pub(crate) use flows::{Flows, FlowsOutput};
pub(crate) use form::{Form, Output};
pub(crate) use input::{Cluster, Declarations};
pub(crate) use lint::{Lint, LintOutput};
pub(crate) use mesh::MeshCommand;
pub(crate) use readiness::Readiness;
pub(crate) use replay::Replay;
pub(crate) use serve::{Live, Serve, Tls};
pub(crate) use store::{StoreCommand, StorePlace};
pub(crate) use value::MeshAt;

/// Proves on the wire what Istio declares: which connections are plaintext, TLS or mTLS, and which break the policy.
#[derive(Debug, Parser)]
#[command(name = "wireproof", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  wireproof replay capture.pcap --mesh ./mesh           which flows break the declared policy, why, and the fix
  wireproof flows capture.pcap                          what every flow is, and how that is known
  wireproof explain --mesh ./mesh --from web/frontend --to catalog/search --port 9090
  wireproof describe workload catalog/search --mesh ./mesh
  wireproof lint --mesh ./mesh                          declarations that contradict each other
  wireproof serve --mesh ./mesh --input capture.pcap    the same in a browser
  wireproof serve --mesh ./mesh --capture any           the same of what passes this machine now
  tcpdump -i any -U -w - tcp | wireproof replay - --mesh ./mesh

Exit status: 0 clean, 1 findings, 2 usage, 3 input or data error, 4 environment, 5 coverage too low.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Classifies every flow of captures: plaintext, TLS or mTLS, with the proof
    Flows(Flows),
    /// Says what the declarations imply for one connection, and which resource decides
    Explain(Explain),
    /// Describes a workload, Service, namespace or Gateway: what is in force there, and who decided it
    #[command(alias = "desc")]
    Describe(Describe),
    /// Reports declarations that contradict each other, or themselves
    Lint(Lint),
    /// Audits captures against declarations: violations, why, and what mends them
    Replay(Replay),
    /// Says who would break if a namespace, a workload or the whole mesh became STRICT
    Readiness(Readiness),
    /// Audits captures into a store and serves the API and the dashboard
    Serve(Box<Serve>),
    /// Reads a cluster's declarations
    #[command(subcommand)]
    Mesh(MeshCommand),
    /// Looks at a store, or brings it up to date
    #[command(subcommand)]
    Store(StoreCommand),
    /// Prints what a shell runs to complete commands, names of the mesh and ids of findings
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Tells whether two inputs are standard input: it can be read only once.
    pub(crate) fn reads_standard_input_twice(&self) -> bool {
        let (mesh, captures): (&[PathBuf], &[PathBuf]) = match self {
            Self::Flows(options) => (&[], &options.captures.files),
            Self::Explain(options) => (&options.mesh.paths, &[]),
            Self::Describe(options) => (&options.mesh.paths, &[]),
            Self::Lint(options) => (&options.mesh.paths, &[]),
            Self::Replay(options) => (&options.mesh.paths, &options.captures.files),
            Self::Readiness(options) => (&options.mesh.paths, &options.captures.files),
            Self::Serve(options) => (&options.mesh.paths, &options.input),
            Self::Mesh(_) | Self::Store(_) | Self::Completions { .. } => (&[], &[]),
        };
        mesh.iter().chain(captures).filter(|path| path.as_os_str() == "-").count() > 1
    }
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(wireproof completions bash)                  in ~/.bashrc
  wireproof completions zsh > ~/.zfunc/_wireproof
  wireproof completions fish > ~/.config/fish/completions/wireproof.fish";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::input::{BOUNDS, CLUSTER};
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_a_command_is_called_with_stands_before_the_bounds_and_the_cluster() {
        for (name, option) in [("replay", "--fail-on"), ("explain", "--from"), ("describe", "--output")] {
            let mut wireproof = Arguments::command();
            let command = wireproof.find_subcommand_mut(name).unwrap();
            let help = command.render_long_help().to_string();
            let at = |words: &str| help.find(words).unwrap_or(usize::MAX);
            assert!(at(option) < at(BOUNDS).min(at(CLUSTER)), "{help}");
            assert!(at(CLUSTER) < help.len(), "{help}");
        }
    }

    #[test]
    fn what_is_printed_for_people_has_the_same_names_everywhere() {
        let m = ["--mesh", "m"];
        let commands: [&[&str]; 6] = [
            &["flows", "f"],
            &["replay", "f", m[0], m[1]],
            &["readiness", "f", m[0], m[1]],
            &["lint", m[0], m[1]],
            &["describe", "namespace", "n", m[0], m[1]],
            &["explain", "--from", "a", "--to", "b", m[0], m[1]],
        ];
        for command in commands {
            for name in ["text", "table"] {
                let words = [&["wireproof"], command, &["-o", name]].concat();
                assert!(Arguments::try_parse_from(words).is_ok(), "{command:?} -o {name}");
            }
        }
    }

    #[test]
    fn every_command_has_examples() {
        fn check(command: &clap::Command) {
            let mut below = command.get_subcommands().filter(|below| !below.is_hide_set()).peekable();
            if below.peek().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.starts_with("Examples:\n"), "{}", command.get_name());
            }
            below.for_each(check);
        }
        check(&Arguments::command());
    }
}
