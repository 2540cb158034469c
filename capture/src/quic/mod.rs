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
    /// Whether the server had the client begin again, by Retry or a version negotiation.
    sent_back: bool,
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
                    self.sent_back |= side == Side::Server;
                    return;
                }
                Kind::VersionNegotiation => {
                    self.sent_back |= side == Side::Server;
                    if side == Side::Server && self.answer.is_none() {
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
            self.several |= !first && !self.sent_back;
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
        let hello = ServerHello::read(crypto.messages(2).next().unwrap()).unwrap();
        assert_eq!((hello.version, hello.suite, hello.group), (0x0304, 0x1301, Some(29)));
    }

    /// An Initial packet under the keys of a connection id, with CRYPTO frames of these offsets.
    fn initial(
        side: Side,
        version: u32,
        keyed: &[u8],
        to: &[u8],
        number: u8,
        crypto: &[(u8, &[u8])],
    ) -> Vec<u8> {
        let first = if version == VERSION_2 { 0xd0 } else { 0xc0 };
        initial_of(first, side, version, keyed, (to, number), crypto)
    }

    /// The same with another first byte.
    #[expect(clippy::arithmetic_side_effects, reason = "lengths of samples")]
    fn initial_of(
        first: u8,
        side: Side,
        version: u32,
        keyed: &[u8],
        (to, number): (&[u8], u8),
        crypto: &[(u8, &[u8])],
    ) -> Vec<u8> {
        let mut body = Vec::new();
        for (offset, part) in crypto {
            body.extend([6, *offset, 0x40, u8::try_from(part.len()).unwrap()]);
            body.extend_from_slice(part);
        }
        body.extend([0; 24]);
        let mut packet = vec![first];
        packet.extend(version.to_be_bytes());
        packet.push(u8::try_from(to.len()).unwrap());
        packet.extend_from_slice(to);
        packet.extend([0, 0, 0x40, u8::try_from(body.len() + 17).unwrap(), number]);
        let (client, server) = Keys::derive(version, keyed).unwrap();
        (if side == Side::Client { client } else { server }).seal(packet, &body)
    }

    fn message(kind: u8, rest: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend(rest);
        [&[kind, 0, 0, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
    }

    /// A ClientHello that offers this suite.
    fn client_hello(suite: u8) -> Vec<u8> {
        message(1, &[&[9; 32][..], &[0, 0, 2, 0x13, suite, 1, 0]].concat())
    }

    fn server_hello(random: &[u8; 32], suite: u8) -> Vec<u8> {
        message(2, &[random.as_slice(), &[0, 0x13, suite, 0, 0, 6, 0, 43, 0, 2, 3, 4]].concat())
    }

    fn read(datagrams: &[(Side, Vec<u8>)]) -> Quic {
        let mut quic = Quic::default();
        assert_eq!(is_quic_initial(&datagrams[0].1), Probe::Yes);
        for (side, datagram) in datagrams {
            quic.datagram(*side, datagram);
        }
        quic
    }

    const CHOSEN: [u8; 8] = *b"original";
    const C: Side = Side::Client;
    const S: Side = Side::Server;

    #[test]
    fn hellos_of_every_version_in_frames_out_of_order() {
        for version in [1, VERSION_2, VERSION_T050, VERSION_T051, 0xff00_001d, 0xff00_0017, 0xface_b001] {
            let hello = client_hello(1);
            let last = initial(C, version, &CHOSEN, &CHOSEN, 1, &[(20, &hello[20..])]);
            let first = initial(C, version, &CHOSEN, &CHOSEN, 0, &[(8, &hello[8..25]), (0, &hello[..10])]);
            let answer = initial(S, version, &CHOSEN, b"", 0, &[(0, &server_hello(&[7; 32], 1))]);
            let quic = read(&[(C, last), (C, first), (S, answer)]);
            assert_eq!(quic.hello.unwrap().suites().collect::<Vec<_>>(), [0x1301], "{version:x}");
            assert_eq!(quic.answer.unwrap().suite, 0x1301, "{version:x}");
        }
    }

    #[test]
    fn a_bit_that_says_nothing_is_not_asked() {
        let hello = initial(C, 1, &CHOSEN, &CHOSEN, 0, &[(0, &client_hello(1))]);
        let answer = initial_of(0x80, S, 1, &CHOSEN, (b"", 0), &[(0, &server_hello(&[7; 32], 1))]);
        let protected = || [&[0x01][..], &[5; 40]].concat();
        let quic = read(&[(C, hello), (S, answer), (C, protected()), (S, protected())]);
        assert_eq!(quic.answer.as_ref().unwrap().suite, 0x1301);
        assert_eq!((quic.client_protected, quic.server_protected), (1, 1));
        let hello = initial(C, 1, &CHOSEN, &CHOSEN, 0, &[(0, &client_hello(1))]);
        let quic = read(&[(C, hello), (C, protected()), (S, protected())]);
        assert_eq!((quic.client_protected, quic.server_protected), (0, 0), "another connection's");
        let unfixed = initial_of(0x80, C, 1, &CHOSEN, (&CHOSEN, 0), &[(0, &client_hello(1))]);
        assert_eq!(is_quic_initial(&unfixed), Probe::No, "nobody has agreed yet");
    }

    #[test]
    fn a_client_that_begins_again_is_followed() {
        let hello = client_hello(1);
        let first = || initial(C, 1, &CHOSEN, &CHOSEN, 0, &[(0, &hello)]);
        let answered = |quic: &Quic| quic.answer.as_ref().map(|answer| answer.suite);
        // Retry (RFC 9000 section 17.2.5) brings another connection id, which the keys then stand on.
        let retry = [&[0xf0, 0, 0, 0, 1, 0, 4][..], b"more", &[0; 40]].concat();
        let again = initial(C, 1, b"more", b"more", 1, &[(0, &hello)]);
        let answer = initial(S, 1, b"more", b"", 0, &[(0, &server_hello(&[7; 32], 1))]);
        let quic = read(&[(C, first()), (S, retry), (C, again), (S, answer)]);
        assert_eq!(answered(&quic), Some(0x1301));
        // A server that changes to version 2 in mid-handshake (RFC 9368 section 4) keeps the first connection id.
        let answer = initial(S, VERSION_2, &CHOSEN, b"", 0, &[(0, &server_hello(&[7; 32], 1))]);
        let again = initial(C, VERSION_2, &CHOSEN, b"server's", 1, &[(0, &hello)]);
        let quic = read(&[(C, first()), (S, answer), (C, again)]);
        assert_eq!((answered(&quic), quic.version), (Some(0x1301), Some(VERSION_2)));
        // Version negotiation (RFC 9000 section 6) makes the client begin again, with another hello.
        let negotiation = [&[0xc0, 0, 0, 0, 0, 0, 0][..], &VERSION_2.to_be_bytes()].concat();
        let again = initial(C, VERSION_2, b"another", b"another", 0, &[(0, &client_hello(2))]);
        let answer = initial(S, VERSION_2, b"another", b"", 0, &[(0, &server_hello(&[7; 32], 2))]);
        let quic = read(&[(C, first()), (S, negotiation), (C, again), (S, answer)]);
        assert_eq!(answered(&quic), Some(0x1302));
        assert_eq!(quic.hello.unwrap().suites().collect::<Vec<_>>(), [0x1302]);
    }

    #[test]
    fn after_a_hello_retry_request_the_second_hello_counts() {
        let retry = crate::tls::hello::RETRY;
        let hello = client_hello(1);
        let place = u8::try_from(hello.len()).unwrap();
        let asked = server_hello(&retry, 1);
        let asked_length = u8::try_from(asked.len()).unwrap();
        let quic = read(&[
            (C, initial(C, 1, &CHOSEN, &CHOSEN, 0, &[(0, &hello)])),
            (S, initial(S, 1, &CHOSEN, b"", 0, &[(0, &asked)])),
            (C, initial(C, 1, &CHOSEN, b"server's", 1, &[(place, &client_hello(3))])),
            (S, initial(S, 1, &CHOSEN, b"", 1, &[(asked_length, &server_hello(&[7; 32], 3))])),
        ]);
        assert!(quic.retry);
        assert_eq!(quic.answer.unwrap().suite, 0x1303);
        assert_eq!(quic.hello.unwrap().suites().collect::<Vec<_>>(), [0x1303]);
    }

    #[test]
    fn the_clients_handshake_packets_are_read_by_their_lengths() {
        let ip = std::net::IpAddr::from([192, 0, 2, 1]);
        let ends =
            Ends { client: ip, server: flow::Endpoint { ip, port: 1 }, start: flow::Timestamp::default() };
        let check_of = |extensions: &[u8], flight: &[(u64, bool)], expected| {
            let head = [&[3, 3][..], &[5; 32], &[0, 0, 2, 0x13, 2, 1, 0, 0]].concat();
            let length = u8::try_from(extensions.len()).unwrap();
            let quic = Quic {
                hello: ClientHello::read([&head[..], &[length], extensions].concat(), false),
                answer: Some(ServerHello { version: 0x0304, suite: 0x1302, ..ServerHello::default() }),
                server_id: Some(b"server's".to_vec()),
                flight: flight
                    .iter()
                    .map(|(length, padded)| protected(*length, *padded, b"server's"))
                    .collect(),
                ..Quic::default()
            };
            assert_eq!(quic.client_auth(ends, &Sessions::default()), expected, "{flight:?}");
        };
        let check = |flight: &[(u64, bool)], expected| check_of(&[], flight, expected);
        let evidence = Evidence::because(Proof::Inferred, Reason::FlightSize);
        let hidden = ClientAuth::Hidden(Reason::Datagram);
        check(&[(24, false), (80, false)], ClientAuth::Refuted(Withheld::Absent, evidence));
        check(&[(88, true)], ClientAuth::Refuted(Withheld::Declined, evidence));
        check(&[(609, false)], ClientAuth::Proved(Presented::Sent, evidence));
        check(&[(1140, true), (534, false)], ClientAuth::Proved(Presented::Sent, evidence));
        // Padded to fill its datagram, of another stack's size, or the end of a flight whose beginning was lost.
        for flight in [&[(1123, true)][..], &[(84, false)], &[(300, false), (80, false)], &[(24, false)], &[]]
        {
            check(flight, hidden);
        }
        // Application settings may stand beside a Finished.
        let settings = [0x44, 0xcd, 0, 0];
        check_of(&settings, &[(80, false)], ClientAuth::Refuted(Withheld::Absent, evidence));
        check_of(&settings, &[(609, false)], hidden);
        check_of(&settings, &[(1100, false)], ClientAuth::Proved(Presented::Sent, evidence));
    }

    fn protected(length: u64, padded: bool, destination: &[u8]) -> Protected {
        Protected { length, padded, destination: destination.to_vec() }
    }

    #[test]
    fn what_is_addressed_to_another_id_is_another_connections() {
        let ip = std::net::IpAddr::from([192, 0, 2, 1]);
        let ends =
            Ends { client: ip, server: flow::Endpoint { ip, port: 1 }, start: flow::Timestamp::default() };
        let hello = initial(C, 1, &CHOSEN, &CHOSEN, 0, &[(0, &client_hello(1))]);
        let mut quic = read(&[(C, hello)]);
        let answer = ServerHello { version: 0x0304, suite: 0x1301, ..ServerHello::default() };
        (quic.answer, quic.server_id) = (Some(answer), Some(b"own".to_vec()));
        quic.flight.push(protected(609, false, b"other"));
        let client_auth = |quic: &Quic| quic.client_auth(ends, &Sessions::default());
        assert_eq!(client_auth(&quic), ClientAuth::Hidden(Reason::Datagram));
        quic.flight.push(protected(64, false, b"own"));
        assert!(matches!(client_auth(&quic), ClientAuth::Refuted(Withheld::Absent, _)));
    }

    #[test]
    fn a_client_that_begins_again_unasked_may_be_two() {
        let ip = std::net::IpAddr::from([192, 0, 2, 1]);
        let ends =
            Ends { client: ip, server: flow::Endpoint { ip, port: 1 }, start: flow::Timestamp::default() };
        let hello = |id: &[u8]| initial(C, 1, id, id, 0, &[(0, &client_hello(1))]);
        let retry = [&[0xf0, 0, 0, 0, 1, 0, 4][..], b"more", &[0; 40]].concat();
        let answer = initial(S, 1, b"more", b"", 0, &[(0, &server_hello(&[7; 32], 1))]);
        for asked in [true, false] {
            let mut datagrams =
                vec![(C, hello(&CHOSEN)), (S, retry.clone()), (C, hello(b"more")), (S, answer.clone())];
            if !asked {
                datagrams.remove(1);
            }
            let mut quic = read(&datagrams);
            quic.server_id = Some(b"own".to_vec());
            quic.flight.push(protected(609, false, b"own"));
            let client = quic.client_auth(ends, &Sessions::default());
            assert_eq!(matches!(client, ClientAuth::Proved(..)), asked, "{client:?}");
        }
    }

    #[test]
    fn early_data_may_come_first() {
        let mut packet = vec![0xd0, 0, 0, 0, 1, 8];
        packet.extend(CHOSEN);
        packet.extend([0, 20]);
        packet.extend([0xaa; 20]);
        assert_eq!(is_quic_initial(&packet), Probe::Yes);
        packet[4] = 9;
        assert_eq!(is_quic_initial(&packet), Probe::No);
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
