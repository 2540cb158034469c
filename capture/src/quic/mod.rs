//! Reads the opening of a QUIC connection and answers the mTLS question as far as it can be.
//!
//! In come datagrams in order; out comes a [`Conclusion`]. Only Initial packets are opened, whose keys are public;
//! of Handshake packets the lengths are read (RFC 9001 section 5).

mod crypto;
mod keys;
#[cfg(test)]
mod tests;

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
/// Google's QUIC with TLS, in the letters it is called by.
const VERSION_T050: u32 = u32::from_be_bytes(*b"T050");
const VERSION_T051: u32 = u32::from_be_bytes(*b"T051");
/// What the first byte of a packet says: the form of its header, and a bit that is 1 unless the endpoints agree that it says
/// nothing (RFC 9000 section 17.2, RFC 9287).
const LONG: u8 = 0x80;
const FIXED: u8 = 0x40;
/// Longest connection id (RFC 9000 section 17.2).
const MAX_CONNECTION_ID: usize = 20;
/// Smallest datagram that carries a client's Initial; a Handshake packet that fills one may be padded to it.
const FULL_DATAGRAM: usize = 1200;
/// Smallest Handshake packet that holds a certificate.
const CERTIFICATE_PACKET: u64 = 500;
/// Largest Handshake packet that holds an acknowledgement only.
const ACKNOWLEDGEMENT: u64 = 40;
/// Most connection ids remembered under whose keys the client's packets opened: it takes another one after each Retry.
const MAX_IDS: usize = 8;
/// Most client Handshake packets remembered.
const MAX_PACKETS: usize = 32;
/// How many protected packets show that the handshake is over.
const SETTLED_AFTER: u32 = 8;
/// Most datagrams read of one connection.
const MAX_DATAGRAMS: u32 = 64;

/// Tells whether a datagram begins with the long header of a packet with which a client opens a connection, of a version
/// that is known: an Initial, or early data that overtook it.
pub(crate) fn is_quic_initial(bytes: &[u8]) -> Probe {
    let Some(packet) = Long::read(bytes, bytes) else { return Probe::No };
    // The bit may be 0 once the other side has said that it does not mind (RFC 9287 section 3).
    let fixed = bytes.first().is_some_and(|first| first & FIXED != 0);
    let opens =
        matches!(packet.kind, Kind::Initial | Kind::EarlyData) && version_name(packet.version).is_some();
    if fixed && opens { Probe::Yes } else { Probe::No }
}

/// A connection id.
pub(crate) type Id = Vec<u8>;

/// A client's first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened<'a> {
    /// The connection id to which it is addressed.
    pub(crate) id: &'a [u8],
    pub(crate) version: u32,
    /// Whether it has a token: from a Retry, or from a connection before (RFC 9000 section 8.1).
    pub(crate) token: bool,
}

/// Reads a client's first packet, if a datagram begins with it: an Initial protected by keys made of the very id to which it is
/// addressed, as no other packet is (RFC 9001 section 5.2).
pub(crate) fn opened_by(datagram: &[u8]) -> Option<Opened<'_>> {
    let packet = Long::read(datagram, datagram)?;
    if packet.kind != Kind::Initial || version_name(packet.version).is_none() {
        return None;
    }
    let (client, _) = Keys::derive(packet.version, packet.destination)?;
    client.open(packet.bytes, packet.number_at)?;
    Some(Opened { id: packet.destination, version: packet.version, token: packet.token })
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
    source: &'a [u8],
    token: bool,
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
        if first & LONG == 0 {
            return None;
        }
        let destination = at.vector8()?;
        let source = at.vector8()?;
        if destination.len() > MAX_CONNECTION_ID || source.len() > MAX_CONNECTION_ID {
            return None;
        }
        let plain = |kind| Self {
            kind,
            version,
            destination,
            source,
            token: false,
            length: 0,
            number_at: 0,
            bytes,
            rest: &[],
        };
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
        let token = if kind == Kind::Initial { usize::try_from(number(&mut at)?).ok()? } else { 0 };
        at.take(token)?;
        let length = number(&mut at)?;
        let number_at = bytes.len().checked_sub(at.0.len())?;
        let end = number_at.checked_add(usize::try_from(length).ok()?)?;
        let (packet, rest) = bytes.split_at_checked(end)?;
        debug_assert!(packet.len() <= datagram.len());
        let token = token > 0;
        Some(Self { kind, version, destination, source, token, length, number_at, bytes: packet, rest })
    }
}

/// The opening of one QUIC connection.
#[derive(Default)]
pub(crate) struct Quic {
    /// The client's version so far.
    version: Option<u32>,
    keys: Option<(Keys, Keys)>,
    /// The version that the keys are for, and the connection id.
    keyed: Option<(u32, Id)>,
    /// The ids under whose keys the client's packets opened.
    opened: Vec<Id>,
    /// The id that the server chose.
    server_id: Option<Id>,
    /// The id that the client chose.
    client_id: Option<Id>,
    /// The id under which the server had the client begin again, by Retry.
    retried: Option<Id>,
    /// Whether it had it begin again in another version.
    renegotiated: bool,
    /// Whether the client began again by itself: that may be another connection.
    several: bool,
    client: Crypto,
    server: Crypto,
    hello: Option<ClientHello>,
    answer: Option<ServerHello>,
    retry: bool,
    /// Whether the hello is the second one.
    second: bool,
    early_data: bool,
    ja4: Option<String>,
    flight: Vec<Protected>,
    client_protected: u32,
    server_protected: u32,
    datagrams: u32,
}

/// A client's Handshake packet.
struct Protected {
    /// Its Length field.
    length: u64,
    /// Whether its datagram may be padded.
    padded: bool,
    destination: Id,
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
                        let destination = packet.destination.to_vec();
                        self.flight.push(Protected { length: packet.length, padded, destination });
                    }
                }
                Kind::EarlyData => self.early_data = true,
                // The client begins again with another connection id; its next Initial shows it.
                Kind::Retry => {
                    if self.is_to_client(side, &packet) {
                        self.retried = Some(packet.source.to_vec());
                    }
                    return;
                }
                Kind::VersionNegotiation => {
                    if self.is_to_client(side, &packet) && self.answer.is_none() {
                        self.renegotiated = true;
                        // The client begins again in another version, with another hello.
                        self.client = Crypto::default();
                        self.hello = None;
                        self.early_data = false;
                    }
                    return;
                }
            }
            rest = packet.rest;
        }
        // Before the answer, what is protected is another connection's between the same ends.
        if self.answer.is_none() {
            return;
        }
        // What follows other packets may also be filling.
        let whole = rest.len() == datagram.len();
        if rest.first().is_some_and(|first| first & LONG == 0 && (whole || first & FIXED != 0)) {
            let count = match side {
                Side::Client => &mut self.client_protected,
                Side::Server => &mut self.server_protected,
            };
            *count = count.saturating_add(1);
        }
    }

    fn initial(&mut self, side: Side, packet: &Long<'_>) {
        if side == Side::Client {
            self.version = Some(packet.version);
        }
        let Some(body) = self.open(side, packet) else { return };
        match side {
            Side::Client => {
                if let Some((_, id)) = &self.keyed
                    && self.opened.len() < MAX_IDS
                    && !self.opened.contains(id)
                {
                    self.opened.push(id.clone());
                }
                self.client_id = Some(packet.source.to_vec());
                self.client.frames(&body);
                self.client_hellos();
            }
            Side::Server => {
                self.server_id = Some(packet.source.to_vec());
                self.server.frames(&body);
                for hello in self.server.messages(2).filter_map(ServerHello::read) {
                    if hello.retry {
                        self.retry = true;
                    } else if self.answer.is_none() {
                        self.answer = Some(hello);
                    }
                }
                self.client_hellos();
            }
        }
    }

    /// Reads the ClientHello, and after a HelloRetryRequest the second one, which is the one in force.
    fn client_hellos(&mut self) {
        if self.hello.is_none()
            && let Some(body) = self.client.messages(1).next()
        {
            self.hello = ClientHello::read(body.to_vec(), false);
            if let Some(hello) = &self.hello {
                self.ja4 = ja4::fingerprint(hello, Carrier::Quic);
                self.early_data |= hello.offers(extension::EARLY_DATA);
            }
        }
        if self.retry
            && !self.second
            && let Some(body) = self.client.messages(1).nth(1)
        {
            self.second = true;
            self.hello = ClientHello::read(body.to_vec(), false);
        }
    }

    /// Opens an Initial packet. A change of version in mid-handshake keeps the connection id that the keys stand on (RFC
    /// 9368 section 4, RFC 9369 section 4.1); Retry, or a client that begins again, does not (RFC 9001 section 5.2).
    fn open(&mut self, side: Side, packet: &Long<'_>) -> Option<Vec<u8>> {
        let first = self.keyed.is_none();
        if first && side == Side::Server {
            return None;
        }
        let known = self.keyed.as_ref().map_or(packet.destination, |(_, connection)| connection.as_slice());
        let known = known.to_vec();
        if self.keyed.as_ref().is_none_or(|(version, _)| *version != packet.version) {
            self.key(packet.version, &known);
        }
        let opened = self.unseal(side, packet);
        if opened.is_some() || side == Side::Server || known == packet.destination {
            return opened;
        }
        let before = (self.keys.take(), self.keyed.take());
        self.key(packet.version, packet.destination);
        let opened = self.unseal(side, packet);
        if opened.is_none() {
            (self.keys, self.keyed) = before;
        } else {
            let asked = self.renegotiated || self.retried.as_deref() == Some(packet.destination);
            self.several |= !self.opened.is_empty() && !asked;
        }
        opened
    }

    fn key(&mut self, version: u32, connection: &[u8]) {
        self.keys = Keys::derive(version, connection);
        self.keyed = Some((version, connection.to_vec()));
    }

    fn unseal(&self, side: Side, packet: &Long<'_>) -> Option<Vec<u8>> {
        let (client, server) = self.keys.as_ref()?;
        let keys = if side == Side::Client { client } else { server };
        keys.open(packet.bytes, packet.number_at)
    }

    /// Tells whether a packet of the server is addressed to the id that the client chose: of two connections between the same
    /// ends each has its own, which a client keeps when it begins again (RFC 9000 section 17.2.5.2).
    fn is_to_client(&self, side: Side, packet: &Long<'_>) -> bool {
        side == Side::Server && self.client_id.as_deref() == Some(packet.destination)
    }

    /// Returns the connection ids under whose keys the client's packets opened.
    pub(crate) fn ids(&self) -> &[Id] {
        &self.opened
    }

    /// Tells whether the server's hello is there.
    pub(crate) const fn is_answered(&self) -> bool {
        self.answer.is_some()
    }

    /// Returns the client's version.
    pub(crate) const fn version(&self) -> Option<u32> {
        self.version
    }

    /// Lists the client's Handshake packets that are addressed to the id which the server chose: others are another
    /// connection's between the same ends.
    fn flight(&self) -> impl Iterator<Item = (u64, bool)> {
        self.flight
            .iter()
            .filter(|packet| self.server_id.as_ref() == Some(&packet.destination))
            .map(|packet| (packet.length, packet.padded))
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
            sessions.add(ends, hello.server_name(), client, [0; 4], false);
        }
    }

    fn client_auth(&self, ends: Ends, sessions: &Sessions) -> ClientAuth {
        let (Some(hello), Some(answer), false) = (&self.hello, &self.answer, self.several) else {
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
        let least = CERTIFICATE_PACKET.saturating_add(hello.besides_authentication().into());
        if self.flight().any(|(length, padded)| length >= least && !padded) {
            return ClientAuth::Proved(Presented::Sent, evidence);
        }
        if self.flight().any(|(length, _)| length >= least) {
            return ClientAuth::Hidden(Reason::Datagram);
        }
        // A packet that holds more than an acknowledgement, and is neither of the two known, may be part of something
        // whose rest was not captured.
        let declined = finished.saturating_add(8);
        let odd = |length: u64| length > ACKNOWLEDGEMENT && length != finished && length != declined;
        if self.flight().any(|(length, _)| odd(length)) {
            return ClientAuth::Hidden(Reason::Datagram);
        }
        if self.flight().any(|(length, _)| length == declined) {
            return ClientAuth::Refuted(Withheld::Declined, evidence);
        }
        if self.flight().any(|(length, _)| length == finished) {
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
        VERSION_T050 => Some("T050".to_owned()),
        VERSION_T051 => Some("T051".to_owned()),
        0xff00_0016..=0xff00_0022 => Some(format!("draft-{}", version & 0xff)),
        0xface_b000..=0xface_b00f => Some(format!("mvfst-{version:08x}")),
        // Reserved to exercise version negotiation (RFC 9000 section 15).
        version if version & 0x0f0f_0f0f == 0x0a0a_0a0a => Some(format!("0x{version:08x}")),
        _ => None,
    }
}
