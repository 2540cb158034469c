//! What a connection's first bytes are: TLS (at once or inside an upgrade), a plaintext protocol, or neither.
//!
//! Stateless: the engine keeps the opening bytes of both directions (bounded by [`OPENING`]) and asks again as they
//! grow, until the answer settles.

use flow::{Protocol, Reason, Side, Transport, Upgrade};

/// How many opening bytes of a direction the engine keeps at most until a detection settles.
pub(crate) const OPENING: usize = 16 * 1024;

/// The opening of one connection, so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening<'a> {
    /// In-order bytes from the client, from the first one seen.
    pub(crate) client: &'a [u8],
    /// In-order bytes from the server.
    pub(crate) server: &'a [u8],
    /// Who sent the first payload byte.
    pub(crate) first: Side,
    /// Whether the connection was seen from its SYN (UDP: always true).
    pub(crate) from_start: bool,
    /// TCP or UDP; for UDP the slices hold the first datagram of each direction.
    pub(crate) transport: Transport,
    /// The server's port: may order the probes, never decides.
    pub(crate) port: u16,
    /// Whether no more bytes will come (end, bound, or gap).
    pub(crate) ended: bool,
}

/// The answer so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detected {
    /// More bytes are needed.
    More,
    /// Readable; settled.
    Plaintext {
        /// The protocol; absent when it is not recognised but text-like.
        protocol: Option<Protocol>,
        /// An upgrade that was asked for and refused.
        refused: Option<Upgrade>,
    },
    /// Readable so far, but TLS may still begin inside (STARTTLS not decided yet): ask again with more bytes, and
    /// report plaintext if none come.
    Upgradable(Protocol),
    /// TLS begins at these offsets of the two streams.
    Tls {
        /// The protocol inside which it begins.
        upgrade: Option<Upgrade>,
        /// First byte of TLS in the client's stream.
        client: usize,
        /// First byte of TLS in the server's stream.
        server: usize,
        /// The application protocol, where the upgrade says it.
        protocol: Option<Protocol>,
    },
    /// TLS records from the middle of a session: TLS, and nothing more can be known.
    TlsMidStream,
    /// Encrypted, not TLS.
    Opaque(Protocol),
    /// Settled, and not known.
    Unknown(Reason),
}

/// Detects what the opening is.
pub(crate) fn detect(_opening: &Opening<'_>) -> Detected {
    Detected::More
}
