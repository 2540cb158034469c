//! Parts of the engine by themselves, for fuzzing and measuring: behind the feature `internals`, and no interface to
//! build on.
//!
//! In go bytes and plain numbers, out come plain values. Nothing here decides anything.

use std::net::{IpAddr, Ipv4Addr};

use flow::{Certificate, ClientAuth, Endpoint, Side, Timestamp, TlsSession, Transport};

use crate::connection::reassembly::{Origin, Segment, Stream};
use crate::detect::upgrade::tds::Unwrapper;
use crate::detect::upgrade::{Turn, UPGRADES};
use crate::detect::{self, Detected, Opening, Read};
use crate::dtls::{self, Dtls};
use crate::engine::Limits;
use crate::frame::Frame;
use crate::packet::{self, Captured, Decoded};
use crate::quic::{Quic, is_quic_initial};
use crate::tls::{self, Ending, Ends, Mark, Memory, Probe};

/// The link types that frames are read of.
#[doc(hidden)]
#[must_use]
pub fn link_types() -> Vec<crate::engine::LinkType> {
    (0..=u16::MAX).map(crate::engine::LinkType).filter(|link| link.is_read()).collect()
}

/// Reads the headers of one frame. Returns how many bytes of payload it had on the wire and how many of them are at
/// hand, or the word under which it is counted as skipped. `tunnels` receives how many encapsulations were met.
///
/// # Errors
///
/// The word under which coverage counts the frame as skipped.
#[doc(hidden)]
pub fn decode(frame: &Frame<'_>, tunnels: &mut usize) -> Result<(usize, usize), &'static str> {
    let mut met = Vec::new();
    let decoded = packet::decode(frame, &mut met, Limits::default().tunnels);
    *tunnels = met.len();
    match decoded {
        Ok(Decoded::Packet(packet)) => Ok((packet.payload.on_wire(), packet.payload.bytes.len())),
        Ok(Decoded::Fragment(fragment)) => Ok((fragment.piece.on_wire(), fragment.piece.bytes.len())),
        Err(skip) => Err(skip.name()),
    }
}

/// Puts the segments of one direction in order: each with its sequence number, its bytes, and how many more it had on
/// the wire. Returns the stream from `start` on, with nothing where a byte is not at hand, and whether it was given up
/// as having a gap.
#[doc(hidden)]
pub fn reassemble<'a>(
    start: u32,
    segments: impl IntoIterator<Item = (u32, &'a [u8], usize)>,
) -> (Vec<Option<u8>>, bool) {
    let mut stream = Stream::starting_at(start);
    let mut read = Vec::new();
    for (packet, (sequence, bytes, missing)) in (0..).zip(segments) {
        let payload = Captured { bytes, missing };
        let segment = Segment { sequence, payload, origin: Origin { packet, acknowledgment: None } };
        stream.push(segment, &mut |piece| {
            read.extend(piece.payload.bytes.iter().copied().map(Some));
            read.extend(std::iter::repeat_n(None, piece.payload.missing));
        });
    }
    (read, stream.gap)
}

/// Asks detection what an opening is; returns the offsets of the client's and the server's stream at which TLS begins, if
/// it does.
#[doc(hidden)]
#[must_use]
pub fn detect(
    client: &[u8],
    server: &[u8],
    first: Side,
    transport: Transport,
    port: u16,
    from_start: bool,
    ended: bool,
) -> Option<(usize, usize)> {
    let opening = Opening { client, server, first, from_start, transport, port, ended };
    if let Detected::Tls { client, server, .. } | Detected::TlsInTds { client, server } =
        detect::detect(&opening)
    {
        Some((client, server))
    } else {
        None
    }
}

/// How far every upgrade has read one exchange that grows, whatever its protocol.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Exchange([Read; UPGRADES.len()]);

impl Exchange {
    /// Asks every upgrade how far the exchange came: its answer, and the offsets that it names if it came to something.
    #[must_use]
    pub fn turns(
        &mut self,
        client: &[u8],
        server: &[u8],
        first: Side,
        ended: bool,
    ) -> Vec<(String, Option<(usize, usize)>)> {
        let transport = Transport::Tcp;
        let opening = Opening { client, server, first, from_start: true, transport, port: 0, ended };
        let turns = UPGRADES.iter().zip(&mut self.0).map(|(known, read)| {
            let mut now = *read;
            let turn = (known.turn)(&opening, &mut now);
            if turn.is_waiting() {
                *read = now;
            }
            let offsets = match turn {
                Turn::Begun { client, server }
                | Turn::BegunInTds { client, server }
                | Turn::Tunnel { client, server, .. } => Some((client, server)),
                Turn::Possible | Turn::Asked | Turn::Past | Turn::Refused | Turn::Foreign => None,
            };
            (format!("{turn:?}"), offsets)
        });
        turns.collect()
    }
}

/// Takes the TDS packets off one direction that comes in these pieces.
#[doc(hidden)]
pub fn unwrap_tds<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut unwrapper = Unwrapper::default();
    let mut out = Vec::new();
    for mut piece in pieces {
        while let Some(run) = unwrapper.next(&mut piece) {
            out.extend_from_slice(run);
        }
    }
    out
}

/// Reads the leaf of a Certificate message's body.
#[doc(hidden)]
#[must_use]
pub fn leaf(body: &[u8]) -> Option<Certificate> {
    let mut handshake = tls::Handshake::default();
    handshake.client_message(11, u32::try_from(body.len()).ok()?, body.into());
    let session = handshake.conclude(ends(), &mut Memory::default()).session;
    session.client_certificate.as_deref().cloned()
}

/// A handshake by itself, in a stream or in datagrams, with no history of sessions.
#[doc(hidden)]
#[derive(Debug)]
pub struct Handshake(Kind);

#[derive(Debug)]
enum Kind {
    Stream(Box<tls::Handshake>),
    Quic(Box<Quic>),
    Dtls(Box<Dtls>),
}

impl Handshake {
    /// A TLS handshake in a stream.
    #[must_use]
    pub fn in_stream() -> Self {
        Self(Kind::Stream(Box::default()))
    }

    /// A handshake in QUIC, whatever its first datagram is; the second value tells whether that would open one.
    #[must_use]
    pub fn in_quic(first: &[u8]) -> (Self, bool) {
        (Self(Kind::Quic(Box::default())), is_quic_initial(first) == Probe::Yes)
    }

    /// A handshake in DTLS, whatever its first datagram is; the second value tells whether that would open one.
    #[must_use]
    pub fn in_dtls(first: &[u8]) -> (Self, bool) {
        (Self(Kind::Dtls(Box::default())), dtls::is_dtls(first) == Probe::Yes)
    }

    /// Takes bytes of one side: of its stream, in a segment of this number that acknowledges so many bytes of the other
    /// side, or a datagram.
    pub fn bytes(&mut self, side: Side, packet: u32, acknowledged: Option<u64>, bytes: &[u8]) {
        match &mut self.0 {
            Kind::Stream(handshake) => {
                let acknowledged = acknowledged.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
                handshake.bytes(side, Mark { packet, acknowledged }, bytes);
            }
            Kind::Quic(quic) => quic.datagram(side, bytes),
            Kind::Dtls(dtls) => dtls.datagram(side, bytes),
        }
    }

    /// Steps over bytes of a stream that the snap length cut.
    pub fn cut(&mut self, side: Side, count: u64) {
        if let Kind::Stream(handshake) = &mut self.0 {
            handshake.cut(side, count);
        }
    }

    /// Tells a stream that bytes of it are lost.
    pub fn gap(&mut self, side: Side) {
        if let Kind::Stream(handshake) = &mut self.0 {
            handshake.gap(side);
        }
    }

    /// Ends a stream, by FIN or by RST, in a segment that acknowledges so many bytes of the other side.
    pub fn close(&mut self, side: Side, reset: bool, acknowledged: Option<u32>) {
        if let Kind::Stream(handshake) = &mut self.0 {
            handshake.close(side, if reset { Ending::Reset } else { Ending::Fin }, acknowledged);
        }
    }

    /// Tells whether no further byte can change the conclusion.
    #[must_use]
    pub fn settled(&mut self) -> bool {
        match &mut self.0 {
            Kind::Stream(handshake) => handshake.settled(),
            Kind::Quic(quic) => quic.settled(),
            Kind::Dtls(dtls) => dtls.settled(),
        }
    }

    /// Returns what the handshake comes to so far.
    #[must_use]
    pub fn conclude(&self) -> (TlsSession, ClientAuth) {
        let mut memory = Memory::default();
        let conclusion = match &self.0 {
            Kind::Stream(handshake) => handshake.conclude(ends(), &mut memory),
            Kind::Quic(quic) => quic.conclude(ends(), &memory.sessions),
            Kind::Dtls(dtls) => dtls.conclude(ends(), &mut memory),
        };
        (TlsSession::clone(&conclusion.session), conclusion.client)
    }
}

const fn ends() -> Ends {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Ends { client: ip, server: Endpoint { ip, port: 443 }, start: Timestamp::from_nanos(0) }
}
