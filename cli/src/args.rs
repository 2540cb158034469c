//! The command line.

mod value;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use capture::engine::Limits;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;
use cluster::{Access, MeshConfigs};

use crate::completion;

pub(crate) use value::{FailOn, MeshAt};
use value::{fail_on, keep, mesh_at, share, word};

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

// Each option says its heading: one for a whole group would go on over the options that follow the group.
const BOUNDS: &str = "Bounds of memory";
const CLUSTER: &str = "Declarations of a cluster";

/// Where captures come from.
#[derive(Debug, Args)]
pub(crate) struct Captures {
    /// Captures (pcap, pcapng or snoop, plain or in gzip or zstd); `-` reads standard input. Several are read as one, in order of time
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Threads to work on: one reads, the others classify; 1 does both. Their number changes no answer
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) threads: u8,
    /// The most connections followed at a time; past it half-open ones, closed ones, then the longest silent give way
    /// and are counted as table-full
    #[arg(long, help_heading = BOUNDS, value_name = "COUNT", default_value_t = Limits::default().connections)]
    pub(crate) max_connections: usize,
    /// The most of them without a payload byte: half-open ones of a flood
    #[arg(long, help_heading = BOUNDS, value_name = "COUNT", default_value_t = Limits::default().silent)]
    pub(crate) max_silent: usize,
    /// The most payload held for openings, over all connections
    #[arg(long, help_heading = BOUNDS, value_name = "BYTES", default_value_t = Limits::default().held_bytes)]
    pub(crate) max_held_bytes: usize,
    /// The most datagrams put together from fragments at a time; past it the oldest gives way and is counted as
    /// incomplete-fragments
    #[arg(long, help_heading = BOUNDS, value_name = "COUNT", default_value_t = Limits::default().datagrams)]
    pub(crate) max_datagrams: usize,
    /// The most encapsulations around a packet; one with more is counted as nested-too-deep
    #[arg(long, help_heading = BOUNDS, value_name = "COUNT", default_value_t = Limits::default().tunnels)]
    pub(crate) max_tunnels: usize,
    /// The most sessions remembered to know resumptions by; past it the oldest gives way and is counted as
    /// sessions-forgotten
    #[arg(long, help_heading = BOUNDS, value_name = "COUNT", default_value_t = Limits::default().sessions)]
    pub(crate) max_sessions: usize,
}

impl Captures {
    /// Returns the bounds asked for.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            silent: self.max_silent,
            held_bytes: self.max_held_bytes,
            datagrams: self.max_datagrams,
            tunnels: self.max_tunnels,
            sessions: self.max_sessions,
            ..Limits::default()
        }
    }
}

/// Where declarations come from.
#[derive(Debug, Args)]
pub(crate) struct Declarations {
    /// Kubernetes and Istio objects: a YAML or JSON file, a folder of them, or `-` for standard input. May be repeated
    #[arg(
        long = "mesh",
        required_unless_present_any = ["kubeconfig", "in_cluster"],
        conflicts_with_all = ["kubeconfig", "in_cluster", "context"],
        value_name = "PATH"
    )]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
}

/// A cluster to ask for declarations.
#[derive(Debug, Default, Args)]
pub(crate) struct Cluster {
    /// Ask the API server that this kubeconfig leads to, in place of --mesh. Nothing is written, and no Secret is read
    #[arg(long, help_heading = CLUSTER, value_name = "PATH", conflicts_with = "in_cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; the current one if it is not given
    #[arg(long, help_heading = CLUSTER, value_name = "NAME", requires = "kubeconfig")]
    pub(crate) context: Option<String>,
    /// Ask the API server of the cluster that this runs in, with its pod's service account
    #[arg(long, help_heading = CLUSTER)]
    pub(crate) in_cluster: bool,
    /// The namespace of the control plane, where the ConfigMap istio is
    #[arg(long, help_heading = CLUSTER, value_name = "NAME", default_value = "istio-system")]
    pub(crate) istio_namespace: String,
    /// A revision of the control plane besides the default one, whose ConfigMap is istio-NAME. May be repeated
    #[arg(long, help_heading = CLUSTER, value_name = "NAME")]
    pub(crate) istio_revision: Vec<String>,
}

impl Cluster {
    /// Returns how to reach the API server; absent when none was named.
    pub(crate) fn access(&self) -> Option<Access> {
        match (&self.kubeconfig, self.in_cluster) {
            (Some(path), _) => Some(Access::Kubeconfig { path: path.clone(), context: self.context.clone() }),
            (None, true) => Some(Access::InCluster),
            (None, false) => None,
        }
    }

    /// Returns where MeshConfig is.
    pub(crate) fn configs(&self) -> MeshConfigs {
        MeshConfigs { namespace: self.istio_namespace.clone(), revisions: self.istio_revision.clone() }
    }
}

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

/// How an answer about declarations is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people
    #[value(alias = "table")]
    Text,
    /// One JSON object
    Json,
    /// The same as YAML
    Yaml,
}

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

const DESCRIBE_EXAMPLES: &str = "\
Examples:
  wireproof describe workload catalog/search --mesh ./mesh
  wireproof describe service catalog/search --mesh ./mesh -o yaml
  wireproof describe namespace payments --mesh ./mesh
  wireproof describe gateway istio-system/public --mesh ./mesh";

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

const LINT_EXAMPLES: &str = "\
Examples:
  wireproof lint --mesh ./mesh
  wireproof lint --mesh ./mesh --select DR,GW --ignore GW12 --fail-on high
  wireproof lint --mesh ./mesh -o sarif > wireproof.sarif
  wireproof lint --explain DR02
  kubectl get peerauthentications,destinationrules,services,pods -A -o yaml | wireproof lint --mesh -";

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[value(alias = "table")]
    Text,
    /// One JSON object
    Json,
}

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
}

const FLOWS_EXAMPLES: &str = "\
Examples:
  wireproof flows capture.pcap
  wireproof flows trace.*.pcapng -o ndjson --threads 4
  tcpdump -i any -U -w - tcp | wireproof flows - -o ndjson";

const REPLAY_EXAMPLES: &str = "\
Examples:
  wireproof replay capture.pcap --mesh ./mesh
  wireproof replay *.pcapng --mesh ./mesh -o json --min-coverage 0.95 --fail-on high
  tcpdump -i any -U -w - tcp | wireproof replay - --mesh ./mesh";

/// A thousand agents, also where all of them come from one address; each has one connection.
const MAX_CLIENTS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) mesh: Declarations,
    /// Captures to audit into the store before serving; `-` reads standard input
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) input: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) live: Live,
    #[command(flatten)]
    pub(crate) store: StorePlace,
    /// Forget flows that began longer ago than this, such as 30d or 12h; without it all are kept
    #[arg(long, value_name = "TIME", value_parser = keep)]
    pub(crate) keep: Option<Duration>,
    /// In ClickHouse, keep edges, findings and counts for this long although --keep forgets their flows, such as 400d
    #[arg(long, value_name = "TIME", value_parser = keep, requires = "keep")]
    pub(crate) keep_edges: Option<Duration>,
    /// Where to listen. An address other than loopback needs --token-file
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8480", env = "WIREPROOF_LISTEN")]
    pub(crate) listen: SocketAddr,
    /// How many connections may be open at a time; more are closed at once, and counted
    #[arg(long, value_name = "N", default_value_t = MAX_CLIENTS)]
    pub(crate) max_clients: NonZeroUsize,
    /// How many of them may come from one address; without it a quarter of all
    #[arg(long, value_name = "N")]
    pub(crate) max_clients_per_address: Option<NonZeroUsize>,
    /// A file whose first line is the bearer token that every request must carry
    #[arg(long, value_name = "FILE", env = "WIREPROOF_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: Tls,
    /// A file whose first line is the bearer token that agents carry when they deliver; it opens nothing else. Without it
    /// agents carry the one of --token-file
    #[arg(long, value_name = "FILE", env = "WIREPROOF_AGENT_TOKEN_FILE")]
    pub(crate) agent_token_file: Option<PathBuf>,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  wireproof serve --mesh ./mesh --input capture.pcap
  wireproof serve --mesh ./mesh --capture any --keep 30d
  wireproof serve --in-cluster --listen 0.0.0.0:8480 --token-file api.token --agent-token-file agents.token \\
    --tls-cert tls.crt --tls-key tls.key --store clickhouse://wireproof@clickhouse:8123/wireproof";

/// What `serve` watches itself, through an agent that it starts.
#[derive(Debug, Args)]
pub(crate) struct Live {
    /// Watch this interface too, or a pattern such as 'veth*'; `any` for all. May be repeated. The packets are read by
    /// wireproof-agent, which needs CAP_NET_RAW and gives it up; this program has no capability from its start on
    #[arg(long, value_name = "NAME")]
    pub(crate) capture: Vec<String>,
    /// A libpcap filter for --capture, such as 'tcp port 8080'
    #[arg(long, value_name = "EXPRESSION", requires = "capture")]
    pub(crate) capture_filter: Option<String>,
    /// The agent's program for --capture; without it the one beside this program
    #[arg(long, value_name = "PATH", requires = "capture")]
    pub(crate) agent: Option<PathBuf>,
}

/// TLS on the address that `serve` listens on.
#[derive(Debug, Args)]
pub(crate) struct Tls {
    /// Speak TLS with this certificate, PEM, those that lead to its CA below it. Read again every minute
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "WIREPROOF_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "WIREPROOF_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The CA of agents' certificates, PEM, its revocation lists below it: an agent that shows one may deliver without a
    /// token, under the names in it. Who shows none is asked for a token as ever. Read again every minute
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "WIREPROOF_TLS_CLIENT_CA")]
    pub(crate) tls_client_ca: Option<PathBuf>,
}

/// Where flows and findings are kept.
#[derive(Debug, Args)]
pub(crate) struct StorePlace {
    /// The store: a file, made if it does not exist, or clickhouse://USER@HOST:PORT/DATABASE (clickhouses:// for TLS)
    #[arg(long = "store", value_name = "PLACE", default_value = "wireproof.sqlite", env = "WIREPROOF_STORE")]
    pub(crate) place: String,
    /// A file whose first line is the password for ClickHouse; else the variable WIREPROOF_STORE_PASSWORD is read
    #[arg(long = "store-password-file", value_name = "FILE", env = "WIREPROOF_STORE_PASSWORD_FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Prints what the store runs on, its schema's version, and how much it holds
    Status(StoreStatus),
    /// Makes the store, or brings its schema up to date
    Migrate(StoreMigrate),
}

#[derive(Debug, Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub(crate) struct StoreStatus {
    #[command(flatten)]
    pub(crate) store: StorePlace,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

const STATUS_EXAMPLES: &str = "\
Examples:
  wireproof store status
  wireproof store status --store clickhouse://wireproof@clickhouse:8123/wireproof --store-password-file password -o json";

const MIGRATE_EXAMPLES: &str = "\
Examples:
  wireproof store migrate --store wireproof.sqlite
  wireproof store migrate --store clickhouse://wireproof@clickhouse:8123/wireproof --cluster prod --print";

#[derive(Debug, Args)]
#[command(after_help = MIGRATE_EXAMPLES)]
pub(crate) struct StoreMigrate {
    #[command(flatten)]
    pub(crate) store: StorePlace,
    /// Make the ClickHouse tables for this cluster: replicated, and spread over its shards by the flows' destination
    #[arg(long, value_name = "NAME", value_parser = word)]
    pub(crate) cluster: Option<String>,
    /// Only print ClickHouse's statements, from nothing to the newest version
    #[arg(long)]
    pub(crate) print: bool,
    /// How to print what the store is like then
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

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
