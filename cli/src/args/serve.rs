//! `wireproof serve`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::input::Declarations;
use super::store::StorePlace;
use super::value::keep;

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
