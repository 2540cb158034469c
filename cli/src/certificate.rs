//! The server's certificate and the CA of its clients: read at the start, and again while it serves, since certificates
//! are renewed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::{Pem, Task, Tls, TlsError, Upkeep};

use crate::args;
use crate::exit::Fatal;
use crate::looks::Looks;

/// A certificate, its key and the CA of clients' certificates, as files in PEM.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

impl Files {
    /// Takes the names; absent when no certificate is given.
    pub(crate) fn named(options: &args::Tls) -> Option<Self> {
        let (certificate, key) = options.tls_cert.clone().zip(options.tls_key.clone())?;
        Some(Self { certificate, key, client_ca: options.tls_client_ca.clone() })
    }

    /// Tells whether clients are asked for a certificate.
    pub(crate) const fn ask_clients(&self) -> bool {
        self.client_ca.is_some()
    }

    /// Reads all of them.
    pub(crate) fn read(&self) -> Result<Tls, Fatal> {
        let pem = self.pem().map_err(Fatal::input)?;
        Tls::new(&pem).map_err(|error| {
            let file = if matches!(error, TlsError::Key(_)) {
                &self.key
            } else if matches!(error, TlsError::ClientAuthority(_)) {
                self.client_ca.as_ref().unwrap_or(&self.certificate)
            } else {
                &self.certificate
            };
            let file = file.display().to_string();
            Fatal::input(anyhow::Error::new(error).context(file))
        })
    }

    /// Reads them again and again. What cannot be used, such as half of a renewal, leaves the old ones in place; that, and a
    /// certificate that does not hold now, is said and counted at every look.
    pub(crate) async fn renew(self, tls: Tls, mut looks: Looks, upkeep: Upkeep) {
        let mut known = self.pem().ok();
        loop {
            if let Some(time) = tls.out_of_time() {
                let file = self.certificate.display();
                tracing::warn!(%file, %time, "nobody accepts the certificate now");
                upkeep.failed(Task::ReadCredentials);
            }
            looks.next().await;
            let renewed = match self.pem() {
                Ok(pem) if known.as_ref() == Some(&pem) => continue,
                Ok(pem) => tls.replace(&pem).map(|()| known = Some(pem)).map_err(anyhow::Error::from),
                Err(error) => Err(error),
            };
            match renewed {
                Ok(()) => {
                    tracing::info!(file = %self.certificate.display(), "the certificate was renewed");
                }
                Err(error) => {
                    tracing::warn!(%error, "the old certificate stays");
                    upkeep.failed(Task::ReadCredentials);
                }
            }
        }
    }

    fn pem(&self) -> anyhow::Result<Pem> {
        let read =
            |path: &Path| fs::read(path).with_context(|| format!("{}: cannot be read", path.display()));
        Ok(Pem {
            certificates: read(&self.certificate)?,
            key: read(&self.key)?,
            client_authorities: self.client_ca.as_deref().map(read).transpose()?,
        })
    }
}
