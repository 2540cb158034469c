//! What a TLS, QUIC or DTLS session shows in the clear.

use std::borrow::Cow;
use std::sync::Arc;

use crate::Certificate;

/// One session's visible facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsSession {
    /// The negotiated version; absent before a ServerHello, unless the client's side alone shows TLS 1.3: payload that follows its
    /// hello at once (RFC 8446 section 2).
    pub version: Option<TlsVersion>,
    /// The QUIC version, such as `v1` or `draft-29`; absent when it is no QUIC.
    pub quic: Option<String>,
    /// The server name the client asked for (RFC 6066); the outer one under ECH. Absent when none was sent or seen.
    pub sni: Option<String>,
    /// The protocols the client offered, in its order (RFC 7301).
    pub alpn_offered: Vec<String>,
    /// The protocol the server chose; absent when it chose none, or in TLS 1.3, where the answer is encrypted.
    pub alpn: Option<String>,
    /// The suite's IANA name, or `0x....` for one unknown; absent before a ServerHello.
    pub cipher: Option<Cow<'static, str>>,
    /// The key-exchange group's IANA name; absent where none was negotiated or seen.
    pub group: Option<Cow<'static, str>>,
    /// Whether an earlier session was resumed; absent where nothing tells. In TLS 1.3 this says that the server took
    /// a pre-shared key, which need not come from a session ([`crate::Reason::ExternalPsk`]).
    pub resumed: Option<bool>,
    /// How far the handshake came.
    pub outcome: Outcome,
    /// The client's JA4 fingerprint; absent when its hello was not seen whole.
    pub ja4: Option<String>,
    /// Whether the hello carried Encrypted Client Hello, so that the name shown is the outer one.
    pub ech: bool,
    /// Whether the client offered early data (0-RTT).
    pub early_data: bool,
    /// Whether the server asked for a second ClientHello (RFC 8446 section 4.1.4).
    pub hello_retry: bool,
    /// The client's leaf certificate, where it was visible.
    pub client_certificate: Option<Arc<Certificate>>,
    /// The server's leaf certificate, where it was visible.
    pub server_certificate: Option<Arc<Certificate>>,
}

impl TlsSession {
    /// Tells whether the session came about under a suite that encrypts nothing (RFC 5246 appendix A.5, RFC 9150): its content
    /// is as readable as without TLS.
    #[must_use]
    pub fn encrypts_nothing(&self) -> bool {
        // The cipher stands before the hash, which the name ends with. Asked of every flow that is judged, and more than once.
        let cipher = self.cipher.as_deref().and_then(|name| name.rsplit_once('_'));
        self.outcome == Outcome::Established
            && cipher.is_some_and(|(before, _)| {
                before.ends_with("_NULL") || matches!(before, "TLS_SHA256" | "TLS_SHA384")
            })
    }

    /// Tells whether the ClientHello offers one of Istio's own ALPN names: the client's intent, not what happened.
    #[must_use]
    pub fn offers_istio_alpn(&self) -> bool {
        self.alpn_offered.iter().any(|name| {
            matches!(
                name.as_str(),
                "istio" | "istio-peer-exchange" | "istio-http/1.0" | "istio-http/1.1" | "istio-h2"
            )
        })
    }
}

crate::named! {
    /// A protocol version as negotiated.
    pub enum TlsVersion {
        /// SSL 2.0.
        Ssl2 = "ssl2",
        /// SSL 3.0 (RFC 6101).
        Ssl3 = "ssl3",
        /// TLS 1.0 (RFC 2246).
        Tls10 = "1.0",
        /// TLS 1.1 (RFC 4346).
        Tls11 = "1.1",
        /// TLS 1.2 (RFC 5246).
        Tls12 = "1.2",
        /// TLS 1.3 (RFC 8446) and its drafts.
        Tls13 = "1.3",
        /// DTLS 1.0 (RFC 4347).
        Dtls10 = "dtls1.0",
        /// DTLS 1.2 (RFC 6347).
        Dtls12 = "dtls1.2",
        /// DTLS 1.3 (RFC 9147).
        Dtls13 = "dtls1.3",
    }
}

crate::named! {
    /// How far a handshake came.
    #[derive(Default)]
    pub enum Outcome {
        /// Both sides finished, as far as the wire shows.
        Established = "established",
        /// A side refused: alert, reset, or an answer that is no TLS.
        Failed = "failed",
        /// Neither was seen.
        #[default]
        Incomplete = "incomplete",
    }
}
