//! The observation of one connection, complete in itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::wire_form::WireForm;
use crate::{
    CommunityId, Endpoint, Protocol, Security, Timestamp, TlsSession, Transport, Tunnel, Upgrade, digits,
};

/// One TCP connection or UDP flow, as observed.
///
/// Its JSON is the one of the `flows` command; it reads back without loss.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "WireForm<'_>")]
pub struct Flow {
    /// Names the connection: the same in every report of it, and for the same capture.
    pub id: FlowId,
    /// Time of the first packet.
    pub start: Timestamp,
    /// Time of the last packet so far.
    pub end: Timestamp,
    /// TCP or UDP.
    pub transport: Transport,
    /// Who opened the connection: SYN, else ClientHello, else request, else first packet.
    pub client: Endpoint,
    /// The other end.
    pub server: Endpoint,
    /// Encapsulations around the flow, outside in.
    pub tunnel: Vec<Tunnel>,
    /// Capture points that saw the flow (interface names or indexes), in order of first sight; empty when unnamed. The
    /// loopback interface is [`LOOPBACK`] wherever the frames or the source name it.
    pub seen_at: Vec<String>,
    /// How the connection is protected, and how that is known.
    pub security: Security,
    /// The application protocol, where recognised; inside TLS only what ALPN or the upgrade says.
    pub protocol: Option<Protocol>,
    /// The protocol inside which TLS began (or was offered and refused), or the wrapper that the connection runs inside;
    /// absent when TLS, or the application's own protocol, came first.
    pub upgrade: Option<Upgrade>,
    /// Whether the capture holds the connection's opening (TCP: its SYN).
    pub from_start: bool,
    /// Names the handshake by what an address translation leaves alone ([`crate::merge::translated`]). Absent where the
    /// capture holds no SYN-ACK, or one without timestamps, and for UDP.
    pub tcp_handshake: Option<TcpHandshake>,
    /// How the connection stood when this report was made.
    pub close: Close,
    /// Packets by direction, duplicates of one packet at several capture points counted once.
    pub packets: PerSide,
    /// Transport payload bytes by direction.
    pub bytes: PerSide,
}

/// The loopback interface, as `seen_at` names it. What was seen there alone left no network namespace.
pub const LOOPBACK: &str = "lo";

/// Tells whether a capture point is the loopback interface, whichever agent's it is.
fn is_loopback(point: &str) -> bool {
    point.rsplit('/').next() == Some(LOOPBACK)
}

impl Flow {
    /// Tells whether the flow stayed where it began: between loopback addresses, from an address to itself, or seen on the
    /// loopback interface alone.
    ///
    /// The interface tells what addresses do not: a connection that netfilter redirects shows the answers on loopback under
    /// the address that was dialled.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.client.ip.is_loopback()
            || self.server.ip.is_loopback()
            || self.client.ip == self.server.ip
            || (!self.seen_at.is_empty() && self.seen_at.iter().all(|point| is_loopback(point)))
    }

    /// Returns what names the connection's opening, the same in every capture that holds it; absent when it was joined
    /// later, and for UDP, which has no opening.
    #[must_use]
    pub fn opening(&self) -> Option<u64> {
        let [opening, start] = self.id.halves();
        (self.transport == Transport::Tcp && start == self.start.as_nanos().cast_unsigned())
            .then_some(opening)
    }

    /// Returns the Community ID of the innermost ends.
    #[must_use]
    pub fn community_id(&self) -> CommunityId {
        CommunityId::new(self.transport, self.client, self.server)
    }

    /// Returns the TLS session, where one was seen.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsSession> {
        match &self.security {
            Security::Tls(session, _) => Some(session),
            Security::Plaintext(_) | Security::Opaque(_) | Security::Unknown(_) => None,
        }
    }

    /// Tells whether the server sent any payload: what tells an accepted connection from an attempt.
    #[must_use]
    pub const fn answered(&self) -> bool {
        self.bytes.server > 0
    }
}

/// Names a flow: 128 bits, written as 32 hex digits.
///
/// Of a TCP connection whose SYN was seen the upper half names the opening (a hash of the ends and the client's initial
/// sequence number) and the lower half is the start, in nanoseconds since the Unix epoch: two captures that hold the
/// connection agree on the upper half, and two connections of one capture never agree on both. Any other flow's name is
/// a hash of its addresses, its start and its first sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u128);

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for FlowId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("'{text}' is no flow id: 32 hex digits expected"));
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|error| format!("'{text}' is no flow id: {error}"))
    }
}

impl FlowId {
    /// Names a connection by its opening.
    #[must_use]
    pub const fn of_opening(opening: u64, start: Timestamp) -> Self {
        Self((opening as u128) << 64 | start.as_nanos().cast_unsigned() as u128)
    }

    /// Returns the upper and the lower half.
    #[must_use]
    pub fn halves(self) -> [u64; 2] {
        let [upper, lower] = [self.0 >> 64, self.0 & u128::from(u64::MAX)];
        [upper, lower].map(|half| u64::try_from(half).unwrap_or_default())
    }

    /// Returns the 32 hex digits. By hand, because they are written for every flow and formatting 128 bits is slow.
    pub(crate) fn hex(self) -> [u8; 32] {
        let mut text = [0; 32];
        hex(&self.0.to_be_bytes(), &mut text);
        text
    }
}

impl TcpHandshake {
    /// Returns the 16 hex digits.
    pub(crate) fn hex(self) -> [u8; 16] {
        let mut text = [0; 16];
        hex(&self.0.to_be_bytes(), &mut text);
        text
    }
}

/// Writes bytes as twice as many hex digits.
fn hex(bytes: &[u8], text: &mut [u8]) {
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = digits::hex(*byte);
    }
}

impl Serialize for FlowId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FlowId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::parsed(deserializer)
    }
}

/// Names a TCP handshake whatever its ends are called: a hash of what its SYN-ACK carries, which are both initial sequence
/// numbers (RFC 9293 section 3.4) and both timestamps (RFC 7323 section 3). Written as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpHandshake(pub u64);

impl fmt::Display for TcpHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for TcpHandshake {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(Self).ok_or_else(|| format!("'{text}' names no handshake: 16 hex digits expected"))
    }
}

impl Serialize for TcpHandshake {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TcpHandshake {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::parsed(deserializer)
    }
}

crate::named! {
    /// One of the two ends, by its role in the connection.
    pub enum Side {
        /// Who opened the connection.
        Client = "client",
        /// Who answered it.
        Server = "server",
    }
}

impl Side {
    /// Returns the other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// A count for each direction, named by who sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PerSide {
    /// Sent by the client.
    pub client: u64,
    /// Sent by the server.
    pub server: u64,
}

crate::named! {
    /// How a connection stood when it was reported.
    pub enum Close {
        /// Still open: the report was made when the security settled.
        Open = "open",
        /// Both sides, or one and then silence, sent FIN.
        Fin = "fin",
        /// A side sent RST.
        Reset = "reset",
        /// Nothing was seen for the idle time.
        Idle = "idle",
        /// The capture ended first.
        CaptureEnd = "capture-end",
        /// The flow table was full and this entry gave way; counted in coverage.
        Evicted = "evicted",
        /// A new connection took the same addresses and ports.
        Reused = "reused",
    }
}
