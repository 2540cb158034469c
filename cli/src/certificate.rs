//! The server's certificate: read at the start, and again while it serves, since certificates are renewed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use api::Tls;

use crate::exit::Fatal;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(60);

/// A certificate and its key, as files in PEM.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    /// Takes both names; absent when neither is given.
    pub(crate) fn named(certificate: Option<&Path>, key: Option<&Path>) -> Option<Self> {
        let (certificate, key) = certificate.zip(key)?;
        Some(Self { certificate: certificate.to_owned(), key: key.to_owned() })
    }

    /// Reads both.
    pub(crate) fn read(&self) -> Result<Tls, Fatal> {
        let (certificate, key) = self.texts().map_err(Fatal::input)?;
        Tls::new(&certificate, &key)
            .with_context(|| self.certificate.display().to_string())
            .map_err(Fatal::input)
    }

    /// Reads both again and again. What cannot be used, such as half of a renewal, leaves the old ones in place.
    pub(crate) async fn renew(self, tls: Tls) {
        let mut known = self.texts().ok();
        loop {
            tokio::time::sleep(LOOK).await;
            let texts = match self.texts() {
                Ok(texts) if known.as_ref() == Some(&texts) => continue,
                Ok(texts) => texts,
                Err(error) => {
                    tracing::warn!(%error, "the certificate is not read again");
                    continue;
                }
            };
            match tls.replace(&texts.0, &texts.1) {
                Ok(()) => {
                    tracing::info!(file = %self.certificate.display(), "the certificate was renewed");
                    known = Some(texts);
                }
                Err(error) => tracing::warn!(%error, "the old certificate stays"),
            }
        }
    }

    fn texts(&self) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
        let read =
            |path: &Path| fs::read(path).with_context(|| format!("{}: cannot be read", path.display()));
        Ok((read(&self.certificate)?, read(&self.key)?))
    }
}
