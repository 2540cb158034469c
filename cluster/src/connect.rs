//! From a kubeconfig, or from within a pod, to a client of the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How long opening a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long the server may stay silent: longer than it lets a watch without changes stand.
const SILENCE: Duration = Duration::from_secs(310);

/// How the API server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// As a kubeconfig says.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context in it; the current one where absent.
        context: Option<String>,
    },
    /// With the service account of the pod that this runs in.
    InCluster,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("{}: no usable kubeconfig", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
    },
    /// This does not run in a pod, or the pod has no service account token.
    #[error("not in a cluster: a pod with a service account token is needed")]
    NotInCluster(#[source] kube::config::InClusterError),
    /// The certificates or credentials cannot be used.
    #[error("the certificates or credentials for the API server cannot be used")]
    Credentials(#[source] kube::Error),
}

/// A cluster's API server, and the way to it.
#[derive(Clone)]
pub struct Server {
    pub(crate) client: Client,
    /// Scheme, host and port, for messages.
    pub(crate) address: String,
}

impl Server {
    /// Takes a configuration as it is.
    ///
    /// # Errors
    ///
    /// When its certificates or credentials cannot be used.
    pub fn new(config: Config) -> Result<Self, kube::Error> {
        let url = &config.cluster_url;
        // What stands before the host may be a password.
        let place = url.authority().map_or("", |authority| authority.as_str());
        let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
        let address = format!("{}://{place}", url.scheme_str().unwrap_or("https"));
        Ok(Self { client: Client::try_from(config)?, address })
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.address)
    }
}

/// Makes ready to ask. Nothing is asked of the server yet.
///
/// # Errors
///
/// When the kubeconfig or the pod's service account cannot be used.
pub async fn connect(access: &Access) -> Result<Server, ConnectError> {
    let mut config = match access {
        Access::Kubeconfig { path, context } => from_file(path, context.as_deref())
            .await
            .map_err(|source| ConnectError::Kubeconfig { path: path.clone(), source })?,
        Access::InCluster => Config::incluster().map_err(ConnectError::NotInCluster)?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    Server::new(config).map_err(ConnectError::Credentials)
}

async fn from_file(path: &Path, context: Option<&str>) -> Result<Config, kube::config::KubeconfigError> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await
}
