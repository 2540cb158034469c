//! How a connection is protected, and how that is known.

use std::sync::Arc;

use crate::{Reason, TlsSession};

/// The protection of one connection, always with the evidence for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Security {
    /// Readable application bytes.
    Plaintext(Evidence),
    /// TLS, QUIC or DTLS; the client's authentication is a question of its own. Connections of one client and server
    /// mostly show the same session, so it is shared.
    Tls(Arc<TlsSession>, ClientAuth),
    /// Encrypted, yet not TLS: SSH, WireGuard, ESP, OpenVPN.
    Opaque(Evidence),
    /// Not decided, because of this.
    Unknown(Reason),
}

impl Security {
    /// Returns the wire class: `mtls` only where a client certificate was used.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Plaintext(_) => Class::Plaintext,
            Self::Tls(_, ClientAuth::Proved(..)) => Class::Mtls,
            Self::Tls(_, ClientAuth::Refuted(..) | ClientAuth::Hidden(_)) => Class::Tls,
            Self::Opaque(_) => Class::Opaque,
            Self::Unknown(_) => Class::Unknown,
        }
    }

    /// Returns the evidence behind the class. For TLS whose client authentication is hidden the level is
    /// [`Proof::None`]: that it is TLS is plain, which of the two classes it is is not.
    #[must_use]
    pub const fn evidence(&self) -> Evidence {
        match self {
            Self::Plaintext(evidence)
            | Self::Opaque(evidence)
            | Self::Tls(_, ClientAuth::Proved(_, evidence) | ClientAuth::Refuted(_, evidence)) => *evidence,
            Self::Tls(_, ClientAuth::Hidden(reason)) | Self::Unknown(reason) => {
                Evidence { proof: Proof::None, reason: Some(*reason) }
            }
        }
    }
}

/// Whether the client authenticated itself with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// A non-empty `Certificate` was sent, in this handshake or in the one it resumes.
    Proved(Presented, Evidence),
    /// None was sent, and that is known.
    Refuted(Withheld, Evidence),
    /// The message is encrypted, skipped by resumption, or was not captured.
    Hidden(Reason),
}

impl ClientAuth {
    /// Returns the answer as one word.
    #[must_use]
    pub const fn word(&self) -> AuthWord {
        match self {
            Self::Proved(Presented::Sent, _) => AuthWord::Certificate,
            Self::Proved(Presented::Rejected, _) => AuthWord::Rejected,
            Self::Refuted(Withheld::Absent, _) => AuthWord::Absent,
            Self::Refuted(Withheld::Declined, _) => AuthWord::Declined,
            Self::Hidden(_) => AuthWord::Unknown,
        }
    }
}

crate::named! {
    /// The client's authentication as one word, without its evidence.
    pub enum AuthWord {
        /// A certificate was sent.
        Certificate = "certificate",
        /// Asked, and an empty list was sent.
        Declined = "declined",
        /// Not sent, and that is known.
        Absent = "absent",
        /// Sent, then refused.
        Rejected = "rejected",
        /// Not known.
        Unknown = "unknown",
    }
}

/// What became of a client certificate that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presented {
    /// Nothing says that the server refused it.
    Sent,
    /// The server refused the handshake after it.
    Rejected,
}

/// How a client came to send no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// No `Certificate` message: the server did not ask.
    Absent,
    /// The server asked and the client sent an empty list.
    Declined,
}

/// How a thing is known: the level, and where it is no plain reading, the word for what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// How strong it is.
    pub proof: Proof,
    /// What it rests on; absent for a plain reading.
    pub reason: Option<Reason>,
}

impl Evidence {
    /// Read in the clear.
    pub const WIRE: Self = Self { proof: Proof::Wire, reason: None };

    /// Builds evidence that rests on something.
    #[must_use]
    pub const fn because(proof: Proof, reason: Reason) -> Self {
        Self { proof, reason: Some(reason) }
    }
}

crate::named! {
    /// The class of a connection on the wire.
    pub enum Class {
        /// Readable bytes.
        Plaintext = "plaintext",
        /// TLS, and no client certificate used, or not known (then the client authentication says unknown).
        Tls = "tls",
        /// TLS, and a client certificate was used.
        Mtls = "mtls",
        /// Encrypted, yet not TLS.
        Opaque = "opaque",
        /// Not decided.
        Unknown = "unknown",
    }
}

crate::named! {
    /// How a class is known, weakest first, so that `min` picks the weaker of two.
    pub enum Proof {
        /// Undecidable.
        None = "none",
        /// A size oracle or one direction only.
        Inferred = "inferred",
        /// A resumption tied to a session that was seen.
        Linked = "linked",
        /// Only one known stack behaviour fits.
        Strong = "strong",
        /// TLS 1.3 record arithmetic that leaves no other reading.
        Exact = "exact",
        /// Read in the clear.
        Wire = "wire",
    }
}
