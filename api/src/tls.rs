//! TLS on the listener: with it, agents of other machines may show their token, or a certificate of their own.
//!
//! Handshakes run beside one another, so that one who connects and says nothing keeps nobody waiting. Their time is bounded, and their
//! number, because each connection has a place.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::identity::Identity;
use crate::places::{Door, Visitor};
use crate::serving::Accept;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The server's certificate, which can be replaced while it serves. Copies show the same.
#[derive(Debug, Clone)]
pub struct Tls(Arc<RwLock<Shown>>);

/// What handshakes are made with.
#[derive(Debug)]
struct Shown {
    config: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
}

/// What a server shows, and whom it believes; all PEM.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "it holds a private key")]
pub struct Pem {
    /// The certificate, with those that lead to its CA.
    pub certificates: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// The CAs of clients' certificates; absent if clients are not asked for one. One that is asked for may be left out,
    /// and then nothing is known of the client; one that none of these vouches for, or outside its time, ends the handshake.
    /// So does one that a revocation list among them names (RFC 5280 section 5); a list counts however old it is, and a CA
    /// without one revokes nothing.
    pub client_authorities: Option<Vec<u8>>,
}

/// Why a certificate cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The text holds no certificate, or a damaged one.
    #[error("the certificate cannot be read as PEM: {0}")]
    Certificate(String),
    /// The text holds no private key, or a damaged one.
    #[error("the key cannot be read as PEM: {0}")]
    Key(String),
    /// They do not fit each other, or are of a kind that is not known.
    #[error("the certificate and its key cannot be used: {0}")]
    Unfit(#[from] rustls::Error),
    /// The text holds no CA, or a damaged one.
    #[error("the CA of clients' certificates cannot be used: {0}")]
    ClientAuthority(String),
}

impl Tls {
    /// Takes a certificate with its key, and the CAs of clients where those may show one. TLS 1.2 and 1.3 are spoken.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or do not fit each other.
    pub fn new(pem: &Pem) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(Shown::read(pem)?))))
    }

    /// Replaces everything for the connections that come from now on.
    ///
    /// # Errors
    ///
    /// When the new one cannot be used; the old one stays.
    pub fn replace(&self, pem: &Pem) -> Result<(), TlsError> {
        let new = Shown::read(pem)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Tells from when to when the certificate holds, where that is not now: nobody who looks at it goes on then.
    #[must_use]
    pub fn out_of_time(&self) -> Option<String> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (_, certificate) = X509Certificate::from_der(&shown.certificate).ok()?;
        let time = certificate.validity();
        (!time.is_valid()).then(|| format!("it holds from {} to {}", time.not_before, time.not_after))
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).config))
    }
}

impl Shown {
    fn read(pem: &Pem) -> Result<Self, TlsError> {
        let chain = certificates(&pem.certificates).map_err(TlsError::Certificate)?;
        let certificate =
            chain.first().cloned().ok_or_else(|| TlsError::Certificate("there is none".into()))?;
        Ok(Self { config: config(pem, chain)?, certificate })
    }
}

fn config(pem: &Pem, chain: Vec<CertificateDer<'static>>) -> Result<Arc<ServerConfig>, TlsError> {
    let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|error| TlsError::Key(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut config = match &pem.client_authorities {
        None => builder.with_no_client_auth().with_single_cert(chain, key)?,
        Some(text) => {
            let wrong = |error: &dyn std::error::Error| TlsError::ClientAuthority(error.to_string());
            let mut roots = RootCertStore::empty();
            for authority in certificates(text).map_err(TlsError::ClientAuthority)? {
                roots.add(authority).map_err(|error| wrong(&error))?;
            }
            let revoked = CertificateRevocationListDer::pem_slice_iter(text)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| wrong(&error))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .with_crls(revoked)
                .allow_unknown_revocation_status()
                .allow_unauthenticated()
                .build()
                .map_err(|error| wrong(&error))?;
            let mut config = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key)?;
            // A resumed session would be believed without another look at the certificate's time.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Reads all certificates of a text, of which there must be one.
fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    if found.is_empty() { Err("there is none".into()) } else { Ok(found) }
}

/// Who is at the other end of a connection: the holder of a verified certificate, or nobody in particular.
#[derive(Debug, Clone)]
pub(crate) struct Peer(pub(crate) Option<Arc<Identity>>);

impl Peer {
    /// Tells who is at the other end of a connection whose handshake is done.
    pub(crate) fn of(stream: &TlsStream<TcpStream>, visitor: &Visitor) -> Self {
        // Certificates are there only once they were verified: another one ends the handshake.
        let (_, session) = stream.get_ref();
        let identity = session.peer_certificates().and_then(|chain| Identity::of(chain.first()?));
        if let Some(identity) = &identity {
            tracing::info!(from = %visitor.from, certificate = %identity, "client certificate verified");
        }
        Self(identity.map(Arc::new))
    }
}

/// A door whose connections speak TLS.
pub(crate) struct Secured {
    door: Door,
    tls: Tls,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, Visitor)>>,
}

impl Secured {
    pub(crate) fn new(door: Door, tls: Tls) -> Self {
        Self { door, tls, handshakes: JoinSet::new() }
    }
}

impl Accept for Secured {
    type Io = TlsStream<TcpStream>;

    async fn accept(&mut self) -> (Self::Io, Visitor) {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
                (stream, visitor) = self.door.accept() => {
                    let acceptor = self.tls.acceptor();
                    self.handshakes.spawn(async move {
                        let from = visitor.from;
                        match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                            Ok(Ok(stream)) => Some((stream, visitor)),
                            Ok(Err(error)) => {
                                tracing::info!(%from, %error, "handshake failed");
                                None
                            }
                            Err(_) => {
                                tracing::info!(%from, "handshake took too long");
                                None
                            }
                        }
                    });
                }
            }
        }
    }
}
