//! What commands read: captures and declarations.

use std::path::PathBuf;

use capture::engine::Limits;
use clap::Args;
use cluster::{Access, MeshConfigs};

// Each option says its heading: one for a whole group would go on over the options that follow the group.
pub(super) const BOUNDS: &str = "Bounds of memory";
pub(super) const CLUSTER: &str = "Declarations of a cluster";

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
