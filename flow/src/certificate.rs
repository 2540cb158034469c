//! A certificate as far as it was visible on the wire (TLS 1.2 and below).

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The leaf certificate that one side sent in the clear (RFC 5246 section 7.4.2, RFC 5280).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Certificate {
    /// The subject's distinguished name, RFC 4514 style; empty for Istio's workload certificates.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// Subject alternative names as `dns:...`, `uri:...`, `ip:...`, `email:...`, in the certificate's order.
    pub sans: Vec<String>,
    /// The first `spiffe://` URI among the alternative names; absent when there is none.
    pub spiffe_id: Option<String>,
    /// Start of validity; absent when it cannot be represented.
    pub not_before: Option<Timestamp>,
    /// End of validity; absent when it cannot be represented.
    pub not_after: Option<Timestamp>,
    /// Kind and size of the public key, such as `rsa-2048` or `ecdsa-p256`.
    pub key: String,
    /// How many certificates the sender's chain held, this one included.
    pub chain: usize,
}
