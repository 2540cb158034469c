//! Reads the TLS handshake of one connection and answers the mTLS question.
//!
//! In come stream bytes in order, with the marks of the segments they came in; out comes a [`Conclusion`].
//! Records, not sockets; no key is ever used, nothing is decrypted.

mod below13;
mod certificate;
mod client_auth;
mod conclude;
pub(crate) mod cursor;
mod flight;
pub(crate) mod groups;
mod handshake;
pub(crate) mod hello;
pub(crate) mod ja4;
mod known;
mod outcome;
mod probe;
mod sessions;
mod stream;
pub(crate) mod suites;

use std::net::IpAddr;
use std::sync::Arc;

use flow::{ClientAuth, Endpoint, Timestamp, TlsSession};

use crate::engine::Limits;

pub(crate) use handshake::Handshake;
use known::Known;
pub(crate) use probe::{Probe, certificate_record, client_hello, hello_suites, record_chain, server_answer};
pub(crate) use sessions::Sessions;

/// Where a run of stream bytes came from: what causality is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The packet's number within the connection, from 0, over both directions.
    pub(crate) packet: u32,
    /// How many bytes of the other side's TLS stream (from its own start of TLS) the segment acknowledges;
    /// absent when the segment carries no acknowledgement or it cannot be placed. Sequence numbers tell no more than half
    /// of what 32 bits hold apart.
    pub(crate) acknowledged: Option<u32>,
}

/// How one direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// FIN: nothing more comes from this side.
    Fin,
    /// RST.
    Reset,
}

/// Who talks to whom, and since when: what sessions are remembered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The client's address.
    pub(crate) client: IpAddr,
    /// The server's address and port.
    pub(crate) server: Endpoint,
    /// Start of the connection.
    pub(crate) start: Timestamp,
}

/// What is remembered from one connection to the next.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Earlier handshakes, for the resumptions that follow them.
    pub(crate) sessions: Sessions,
    /// What connections show alike.
    known: Known,
}

impl Memory {
    /// Remembers so many sessions, see [`Limits::sessions`].
    pub(crate) fn bounded(sessions: usize) -> Self {
        Self { sessions: Sessions::bounded(sessions), known: Known::default() }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::bounded(Limits::default().sessions)
    }
}

/// What one connection's handshake came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conclusion {
    /// The visible facts.
    pub(crate) session: Arc<TlsSession>,
    /// The mTLS answer with its evidence.
    pub(crate) client: ClientAuth,
}

#[cfg(test)]
mod tests;
