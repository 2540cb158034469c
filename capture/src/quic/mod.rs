//! Reads the opening of a QUIC connection and answers the mTLS question as far as it can be.
//!
//! In come datagrams in order; out comes a [`Conclusion`]. Only Initial packets are opened, whose keys are public;
//! of Handshake packets the lengths are read (RFC 9001 section 5).

mod crypto;
mod keys;

use std::sync::Arc;

use flow::{ClientAuth, Evidence, Outcome, Presented, Proof, Reason, Side, TlsSession, TlsVersion, Withheld};

use crate::tls::cursor::Cursor;
use crate::tls::hello::{ClientHello, ServerHello, extension};
use crate::tls::ja4::{self, Carrier};
use crate::tls::{Conclusion, Ends, Probe, Sessions, groups, suites};
use crypto::{Crypto, number};
use keys::Keys;

/// QUIC version 2 (RFC 9369).
const VERSION_2: u32 = 0x6b33_43cf;
/// Longest connection id (RFC 9000 section 17.2).
const MAX_CONNECTION_ID: usize = 20;
/// Smallest datagram that carries a client's Initial; a Handshake packet that fills one may be padded to it.
const FULL_DATAGRAM: usize = 1200;
/// Smallest Handshake packet that holds a certificate.
const CERTIFICATE_PACKET: u64 = 500;
/// Most client Handshake packets remembered.
const MAX_PACKETS: usize = 32;
/// How many protected packets show that the handshake is over.
const SETTLED_AFTER: u32 = 8;
/// Most datagrams read of one connection.
const MAX_DATAGRAMS: u32 = 64;

/// Tells whether a datagram begins with a QUIC long header of a version that is known.
pub(crate) fn is_quic_initial(bytes: &[u8]) -> Probe {
    let Some(packet) = Long::read(bytes, bytes) else { return Probe::No };
    if packet.kind == Kind::Initial && version_name(packet.version).is_some() {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Initial,
    EarlyData,
    Handshake,
    Retry,
    VersionNegotiation,
}

/// A packet with a long header.
#[derive(Debug, Clone, Copy)]
struct Long<'a> {
    kind: Kind,
    version: u32,
    destination: &'a [u8],
    /// Value of the Length field: packet number and payload; 0 for the kinds that have none.
    length: u64,
    number_at: usize,
    bytes: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Long<'a> {
    fn read(bytes: &'a [u8], datagram: &'a [u8]) -> Option<Self> {
        let mut at = Cursor(bytes);
        let first = at.u8()?;
        let version = at.u32()?;
        if first & 0x80 == 0 || (version != 0 && first & 0x40 == 0) {
            return None;
        }
        let destination = at.vector8()?;
        let source = at.vector8()?;
        if destination.len() > MAX_CONNECTION_ID || source.len() > MAX_CONNECTION_ID {
            return None;
        }
        let plain = |kind| Self { kind, version, destination, length: 0, number_at: 0, bytes, rest: &[] };
        if version == 0 {
            return Some(plain(Kind::VersionNegotiation));
        }
        // Version 2 rotates the types by one (RFC 9369 section 3.2).
        let turned = if version == VERSION_2 { 3 } else { 0 };
        let kind = match (first >> 4 & 3).wrapping_add(turned) & 3 {
            0 => Kind::Initial,
            1 => Kind::EarlyData,
            2 => Kind::Handshake,
            _ => return Some(plain(Kind::Retry)),
        };
        if kind == Kind::Initial {
            let token = usize::try_from(number(&mut at)?).ok()?;
            at.take(token)?;
        }
        let length = number(&mut at)?;
        let number_at = bytes.len().checked_sub(at.0.len())?;
        let end = number_at.checked_add(usize::try_from(length).ok()?)?;
        let (packet, rest) = bytes.split_at_checked(end)?;
        debug_assert!(packet.len() <= datagram.len());
        Some(Self { kind, version, destination, length, number_at, bytes: packet, rest })
    }
}

/// The opening of one QUIC connection.
#[derive(Default)]
pub(crate) struct Quic {
    version: Option<u32>,
    keys: Option<(Keys, Keys)>,
    client: Crypto,
    server: Crypto,
    hello: Option<ClientHello>,
    answer: Option<ServerHello>,
    retry: bool,
    early_data: bool,
    ja4: Option<String>,
    /// Length field of the client's Handshake packets, and whether their datagram may be padded.
    flight: Vec<(u64, bool)>,
    client_protected: u32,
    server_protected: u32,
    datagrams: u32,
}

impl std::fmt::Debug for Quic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quic")
            .field("version", &self.version)
            .field("hello", &self.hello)
            .finish_non_exhaustive()
    }
}

impl Quic {
    /// Reads the next datagram of one direction.
    pub(crate) fn datagram(&mut self, side: Side, datagram: &[u8]) {
        self.datagrams = self.datagrams.saturating_add(1);
        if self.settled() {
            return;
        }
        let mut rest = datagram;
        while let Some(packet) = Long::read(rest, datagram) {
            match packet.kind {
                Kind::Initial => self.initial(side, &packet),
                Kind::Handshake => {
                    if side == Side::Client && self.flight.len() < MAX_PACKETS {
                        // Only the last packet of a full datagram may be there to fill it.
                        let padded = packet.rest.is_empty() && datagram.len() >= FULL_DATAGRAM;
                        self.flight.push((packet.length, padded));
                    }
                }
                Kind::EarlyData => self.early_data = true,
                Kind::Retry | Kind::VersionNegotiation => {
                    // The client begins again: with another connection id, or in another version.
                    self.keys = None;
                    return;
                }
            }
            rest = packet.rest;
        }
        if rest.first().is_some_and(|first| first & 0xc0 == 0x40) {
            let count = match side {
                Side::Client => &mut self.client_protected,
                Side::Server => &mut self.server_protected,
            };
            *count = count.saturating_add(1);
        }
    }

    fn initial(&mut self, side: Side, packet: &Long<'_>) {
        if side == Side::Client && (self.keys.is_none() || self.version != Some(packet.version)) {
            self.version = Some(packet.version);
            self.keys = Keys::derive(packet.version, packet.destination);
        }
        let Some((client, server)) = &self.keys else { return };
        let keys = if side == Side::Client { client } else { server };
        let Some(body) = keys.open(packet.bytes, packet.number_at) else { return };
        match side {
            Side::Client => {
                self.client.frames(&body);
                if self.hello.is_none()
                    && let Some(body) = self.client.message(1)
                {
                    self.hello = ClientHello::read(body.to_vec(), false);
                    if let Some(hello) = &self.hello {
                        self.ja4 = ja4::fingerprint(hello, Carrier::Quic);
                        self.early_data |= hello.offers(extension::EARLY_DATA);
                    }
                }
            }
            Side::Server => {
                self.server.frames(&body);
                if let Some(hello) = self.server.message(2).and_then(ServerHello::read) {
                    self.retry |= hello.retry;
                    if !hello.retry && self.answer.is_none() {
                        self.answer = Some(hello);
                    }
                }
            }
        }
    }

    /// Tells whether no further datagram can change the conclusion.
    pub(crate) const fn settled(&self) -> bool {
        self.datagrams > MAX_DATAGRAMS
            || (self.client_protected >= SETTLED_AFTER && self.server_protected >= SETTLED_AFTER)
    }

    /// Concludes from what was read so far.
    pub(crate) fn conclude(&self, ends: Ends, sessions: &Sessions) -> Conclusion {
        let over = self.client_protected > 0 && self.server_protected > 0;
        let mut session = TlsSession {
            version: self.answer.as_ref().map(|_| TlsVersion::Tls13),
            quic: self
                .version
                .map(|version| version_name(version).unwrap_or_else(|| format!("0x{version:08x}"))),
            outcome: if over { Outcome::Established } else { Outcome::Incomplete },
            ja4: self.ja4.clone(),
            early_data: self.early_data,
            hello_retry: self.retry,
            ..TlsSession::default()
        };
        if let Some(hello) = &self.hello {
            session.sni = hello.sni();
            session.alpn_offered = hello.alpn_names();
            session.ech = hello.offers(extension::ENCRYPTED_CLIENT_HELLO);
        }
        if let Some(answer) = &self.answer {
            session.cipher = Some(suites::name(answer.suite));
            session.group = answer.group.map(groups::name);
            session.resumed = Some(answer.selected_identity.is_some());
        }
        Conclusion { client: self.client_auth(ends, sessions), session: Arc::new(session) }
    }

    /// Leaves behind what a later resumption needs. Called once, when the connection settles or ends.
    pub(crate) fn remember(&self, ends: Ends, sessions: &mut Sessions) {
        if let Some(hello) = self.hello.as_ref().filter(|_| self.answer.is_some()) {
            let client = self.client_auth(ends, sessions);
            sessions.add(ends, hello.server_name(), client, Vec::new());
        }
    }

    fn client_auth(&self, ends: Ends, sessions: &Sessions) -> ClientAuth {
        let (Some(hello), Some(answer)) = (&self.hello, &self.answer) else {
            return ClientAuth::Hidden(Reason::Datagram);
        };
        if let Some(index) = answer.selected_identity {
            let identity = hello.identities().nth(usize::from(index));
            let linked = identity.and_then(|length| sessions.find(ends, hello.server_name(), length));
            let evidence = |proof: Proof| Evidence::because(proof.min(Proof::Linked), Reason::SessionLink);
            return match linked {
                Some(ClientAuth::Proved(_, seen)) => {
                    ClientAuth::Proved(Presented::Sent, evidence(seen.proof))
                }
                Some(ClientAuth::Refuted(how, seen)) => ClientAuth::Refuted(how, evidence(seen.proof)),
                Some(ClientAuth::Hidden(_)) | None => ClientAuth::Hidden(Reason::Resumed),
            };
        }
        // Packet number, acknowledgement and frame header make 12 bytes on the stacks known; Finished and the tag the
        // rest, and an empty Certificate 8 more.
        let Some(suite) = suites::lengths(answer.suite) else { return ClientAuth::Hidden(Reason::Datagram) };
        let finished = u64::from(suite.hash).saturating_add(32);
        let evidence = Evidence::because(Proof::Inferred, Reason::FlightSize);
        let large = |(length, padded): &(u64, bool)| *length >= CERTIFICATE_PACKET && !padded;
        if self.flight.iter().any(large) {
            return ClientAuth::Proved(Presented::Sent, evidence);
        }
        if self.flight.iter().any(|(length, _)| *length >= CERTIFICATE_PACKET) {
            return ClientAuth::Hidden(Reason::Datagram);
        }
        if self.flight.iter().any(|(length, _)| *length == finished.saturating_add(8)) {
            return ClientAuth::Refuted(Withheld::Declined, evidence);
        }
        if self.flight.iter().any(|(length, _)| *length == finished) {
            return ClientAuth::Refuted(Withheld::Absent, evidence);
        }
        ClientAuth::Hidden(Reason::Datagram)
    }
}

/// Names a QUIC version; `None` for one that is not known.
fn version_name(version: u32) -> Option<String> {
    match version {
        1 => Some("v1".to_owned()),
        VERSION_2 => Some("v2".to_owned()),
        0xff00_0017..=0xff00_0022 => Some(format!("draft-{}", version & 0xff)),
        0xface_b000..=0xface_b00f => Some(format!("mvfst-{version:08x}")),
        // Reserved to exercise version negotiation (RFC 9000 section 15).
        version if version & 0x0f0f_0f0f == 0x0a0a_0a0a => Some(format!("0x{version:08x}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn client_initial_keys_are_those_of_the_standard() {
        // RFC 9001 appendix A.3: the server's first Initial, whose CRYPTO frame holds a ServerHello.
        let text = "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f\
                    5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd937\
                    95d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee";
        let packet: Vec<u8> =
            (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect();
        let (_, server) = Keys::derive(1, &[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08]).unwrap();
        let long = Long::read(&packet, &packet).unwrap();
        assert_eq!(long.kind, Kind::Initial);
        let body = server.open(long.bytes, long.number_at).expect("opens");
        let mut crypto = Crypto::default();
        crypto.frames(&body);
        let hello = ServerHello::read(crypto.message(2).unwrap()).unwrap();
        assert_eq!((hello.version, hello.suite, hello.group), (0x0304, 0x1301, Some(29)));
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(datagrams in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..80)), 0..12)) {
            let mut quic = Quic::default();
            for (client, mut bytes) in datagrams {
                if let Some(first) = bytes.first_mut() { *first |= 0xc0; }
                if let Some(version) = bytes.get_mut(1..5) { version.copy_from_slice(&[0, 0, 0, 1]); }
                quic.datagram(if client { Side::Client } else { Side::Server }, &bytes);
            }
        }
    }
}
