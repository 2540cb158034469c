//! Reads the TLS handshake of one connection and answers the mTLS question.
//!
//! In come stream bytes in order, with the marks of the segments they came in; out comes a [`Conclusion`].
//! Records, not sockets; no key is ever used, nothing is decrypted.

mod probe;

use std::net::IpAddr;

use flow::{ClientAuth, Endpoint, Side, Timestamp, TlsSession};

pub(crate) use probe::{Probe, client_hello, record_chain, server_answer};

/// Where a run of stream bytes came from: what causality is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The packet's number within the connection, from 0, over both directions.
    pub(crate) packet: u32,
    /// How many bytes of the other side's TLS stream (from its own start of TLS) the segment acknowledges;
    /// absent when the segment carries no acknowledgement or it cannot be placed.
    pub(crate) acknowledged: Option<u64>,
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

/// What one connection's handshake came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conclusion {
    /// The visible facts.
    pub(crate) session: TlsSession,
    /// The mTLS answer with its evidence.
    pub(crate) client: ClientAuth,
}

/// The TLS opening of one connection, fed in stream order from the first byte of TLS in each direction.
#[derive(Debug, Default)]
pub(crate) struct Handshake {}

/// Earlier handshakes, bounded, for linking resumptions to them.
#[derive(Debug, Default)]
pub(crate) struct Sessions {}

impl Handshake {
    /// Reads the next bytes of one direction.
    pub(crate) fn bytes(&mut self, _side: Side, _mark: Mark, _bytes: &[u8]) {}

    /// Steps over stream bytes that were on the wire but not in the capture (snap length): their number is known.
    pub(crate) fn cut(&mut self, _side: Side, _mark: Mark, _count: u64) {}

    /// Notes that bytes of this direction are missing; nothing after them is fed.
    pub(crate) fn gap(&mut self, _side: Side) {}

    /// Notes the end of one direction.
    pub(crate) fn close(&mut self, _side: Side, _ending: Ending) {}

    /// Tells whether no further byte can change the conclusion, so that the connection need not be fed any more.
    pub(crate) fn settled(&self) -> bool {
        false
    }

    /// Concludes from what was read so far. Never stronger than a conclusion from more bytes of the same connection.
    pub(crate) fn conclude(&self, _ends: Ends, _sessions: &Sessions) -> Conclusion {
        Conclusion { session: TlsSession::default(), client: ClientAuth::Hidden(flow::Reason::Incomplete) }
    }

    /// Leaves behind what a later resumption needs. Called once, when the connection settles or ends.
    pub(crate) fn remember(&self, _ends: Ends, _sessions: &mut Sessions) {}
}
