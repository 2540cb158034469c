//! What a connection's first bytes are: TLS (at once or inside an upgrade), a plaintext protocol, or neither.
//!
//! The engine keeps the opening bytes of both directions (bounded by [`OPENING`]) and asks again as they grow, until the
//! answer settles; what one call has read, [`Progress`] saves the next. In come those bytes, out comes [`Detected`]. QUIC and DTLS are not looked for here;
//! what a TLS handshake says is read elsewhere too.

mod amqp;
mod cassandra;
mod catalogue;
mod cursor;
mod dhcp;
mod dns;
mod dubbo;
mod elasticsearch;
mod entropy;
mod esp;
mod ftp;
mod gquic;
mod grpc;
mod http1;
mod http2;
mod ike;
mod imap;
mod irc;
mod kafka;
mod kerberos;
mod ldap;
mod memcached;
mod mongodb;
mod mqtt;
mod mysql;
mod nats;
mod nntp;
mod ntp;
mod openvpn;
mod oracle;
mod pop3;
mod postgres;
mod progress;
mod rdp;
mod redis;
mod rtsp;
mod sieve;
mod sip;
mod smb;
mod smtp;
mod snmp;
mod socks;
mod ssdp;
mod ssh;
mod stun;
mod syslog;
mod tds;
mod telnet;
mod text;
mod thrift;
pub(crate) mod upgrade;
mod websocket;
mod wireguard;
mod xmpp;
mod zookeeper;

use flow::{Protocol, Reason, Side, Transport, Upgrade};
use memchr::memchr2_iter;

use crate::tls::{self, Probe};
use catalogue::{DETECTORS, Detector, Form};
pub(crate) use progress::Progress;
pub(crate) use progress::Read;
use upgrade::{Turn, UPGRADES};

/// How many opening bytes of a direction the engine keeps at most until a detection settles.
pub(crate) const OPENING: usize = 16 * 1024;

/// How many bytes (of both directions together) unrecognised traffic shows before it is judged by its look.
pub(crate) const JUDGED: usize = 1024;

/// How deep wrappers (PROXY protocol, HTTP CONNECT, SOCKS) may nest.
const NESTED: u8 = 3;

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

impl<'a> Opening<'a> {
    /// Returns the opening as it looks when client and server are taken for each other.
    const fn swapped(self) -> Self {
        let first = match self.first {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        Self { client: self.server, server: self.client, first, ..self }
    }

    /// Returns what follows these offsets: the opening inside a wrapper.
    fn inner(self, client: usize, server: usize) -> Self {
        let after = |bytes: &'a [u8], offset: usize| bytes.get(offset..).unwrap_or(&[]);
        Self { client: after(self.client, client), server: after(self.server, server), ..self }
    }

    /// Tells who spoke first inside a wrapper, whose own bytes were others': as far as the bytes there tell.
    const fn speaks(&self) -> Side {
        if self.client.is_empty() { Side::Server } else { self.first }
    }

    /// Tells whether a server that speaks first may still do so, to a client that did not wait for it.
    const fn awaits_greeting(&self) -> bool {
        self.server.is_empty() && self.from_start && !self.ended
    }

    /// Tells whether the client's bytes are missing and will not come: only the server was captured.
    const fn server_only(&self) -> bool {
        self.client.is_empty() && !self.server.is_empty() && (self.ended || !self.from_start)
    }
}

/// The answer so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detected {
    /// More bytes are needed.
    More,
    /// What is called the client is the server: swap the two, and ask again. Never said of the swapped opening, nor
    /// of a TCP connection seen from its start.
    Reversed,
    /// Readable; settled.
    Plaintext {
        /// The protocol; absent when it is not recognised but text-like.
        protocol: Option<Protocol>,
        /// An upgrade that was asked for and refused.
        refused: Option<Upgrade>,
        /// The wrapper that it runs inside.
        inside: Option<Upgrade>,
    },
    /// Readable so far, but TLS may still begin inside (STARTTLS not decided yet): ask again with more bytes, and
    /// report plaintext if none come.
    Upgradable(Protocol),
    /// The same, and TLS or a tunnel was asked for: what comes next decides.
    Asked(Protocol),
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
    /// TLS begins at these offsets, its handshake wrapped in TDS packets: [`upgrade::tds::Unwrapper`] (one a
    /// direction) takes them off.
    TlsInTds {
        /// First byte of the first wrapping packet in the client's stream.
        client: usize,
        /// First byte of the first wrapping packet in the server's stream.
        server: usize,
    },
    /// TLS records from the middle of a session: TLS, and nothing more can be known.
    TlsMidStream,
    /// Encrypted, not TLS.
    Opaque(Protocol),
    /// Settled, and not known.
    Unknown(Reason),
}

impl Detected {
    /// Tells whether the bytes were recognised, TLS or a protocol.
    const fn recognised(&self) -> bool {
        match self {
            Self::Plaintext { protocol, .. } => protocol.is_some(),
            Self::Upgradable(_)
            | Self::Asked(_)
            | Self::Tls { .. }
            | Self::TlsInTds { .. }
            | Self::TlsMidStream
            | Self::Opaque(_) => true,
            Self::More | Self::Reversed | Self::Unknown(_) => false,
        }
    }
}

/// Detects what the opening is.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn detect(opening: &Opening<'_>) -> Detected {
    detect_on(opening, &mut Progress::default())
}

/// Detects what the opening is, given what earlier calls about less of the same opening came to.
pub(crate) fn detect_on(opening: &Opening<'_>, progress: &mut Progress) -> Detected {
    let recognised = recognise(opening, NESTED, progress);
    if recognised.is_some_and(|detected| detected.recognised()) {
        return recognised.unwrap_or(Detected::More);
    }
    let roles_known = opening.from_start && opening.transport == Transport::Tcp;
    if !roles_known {
        let swapped = opening.swapped();
        let anew = &mut Progress::default();
        let reversed = recognise(&swapped, NESTED, anew).is_some_and(|other| other.recognised());
        // A late start may show the server first: its hello is no client's.
        if reversed
            || matches!(late_tls(&swapped, anew), Some(Detected::Tls { .. }))
                && is_server_hello(opening.client)
        {
            return Detected::Reversed;
        }
    }
    recognised.or_else(|| late_tls(opening, progress)).unwrap_or_else(|| unrecognised(opening))
}

/// Recognises TLS or a protocol; `None` when it can be neither.
fn recognise(opening: &Opening<'_>, nested: u8, progress: &mut Progress) -> Option<Detected> {
    if opening.transport == Transport::Tcp && !opening.client.is_empty() {
        if let Some(detected) = upgrade::proxy::strip(opening, nested, progress) {
            return Some(detected);
        }
        // After a server's greeting the hello stands inside that greeting's protocol, which the detectors tell.
        let hello_first = opening.first == Side::Client
            || opening.server.is_empty()
            || tls::server_answer(opening.server) == Probe::Yes;
        if hello_first {
            match tls::client_hello(opening.client) {
                Probe::Yes => {
                    return Some(Detected::Tls { upgrade: None, client: 0, server: 0, protocol: None });
                }
                Probe::More if !opening.ended => return Some(Detected::More),
                Probe::More | Probe::No => {}
            }
        }
    }
    if let Some((detector, _)) = progress.exchange() {
        if (detector.probe)(opening) == Probe::Yes {
            // What was recognised stays so, and the others need not be asked.
            return Some(settle(detector, opening, nested, progress));
        }
        progress.forget_exchange();
    }
    let mut open = false;
    // Ports put the likeliest probes first. The order cannot change the answer: no two probes claim the same bytes.
    let (left, likely) = (progress.ruled_out.left(), catalogue::likely(opening.port));
    for mut left in [left & likely, left & !likely] {
        while let Some(detector) = DETECTORS.get(left.trailing_zeros() as usize) {
            let bit = left & left.wrapping_neg();
            left ^= bit;
            let carried = detector.carried_by(opening.transport);
            match if carried { (detector.probe)(opening) } else { Probe::No } {
                Probe::Yes => return Some(settle(detector, opening, nested, progress)),
                Probe::More => open = true,
                Probe::No => progress.ruled_out.rule_out(bit),
            }
        }
    }
    (open && !opening.ended).then_some(Detected::More)
}

/// Answers for a recognised protocol, asking its upgrade where it has one.
fn settle(
    detector: &'static Detector,
    opening: &Opening<'_>,
    nested: u8,
    progress: &mut Progress,
) -> Detected {
    let protocol = detector.protocol;
    match detector.form {
        Form::Encrypted => return Detected::Opaque(protocol),
        Form::Readable => {}
    }
    let plain = Detected::Plaintext { protocol: Some(protocol), refused: None, inside: None };
    if opening.transport == Transport::Udp {
        // STUN finds the path on which DTLS then begins (RFC 5764 section 5.1.2).
        return if protocol == Protocol::Stun { Detected::Upgradable(protocol) } else { plain };
    }
    let Some(known) = UPGRADES.iter().find(|known| known.protocol == protocol) else { return plain };
    let before = progress.exchange().filter(|(of, _)| of.protocol == protocol);
    let mut read = before.map(|(_, read)| read).unwrap_or_default();
    let turn = (known.turn)(opening, &mut read);
    if turn.is_waiting() {
        progress.keep(detector, read);
    }
    match turn {
        Turn::Possible => Detected::Upgradable(protocol),
        Turn::Asked => Detected::Asked(protocol),
        Turn::Past => plain,
        Turn::Refused => {
            Detected::Plaintext { protocol: Some(protocol), refused: Some(known.upgrade), inside: None }
        }
        Turn::Foreign => Detected::Unknown(Reason::NotTls),
        Turn::Begun { client, server } => {
            Detected::Tls { upgrade: Some(known.upgrade), client, server, protocol: Some(protocol) }
        }
        Turn::BegunInTds { client, server } => Detected::TlsInTds { client, server },
        Turn::Tunnel { upgrade, client, server } => {
            tunnelled(protocol, upgrade, (client, server), opening, nested, progress)
        }
    }
}

/// Answers for a connection that became a tunnel: what counts is what runs inside.
fn tunnelled(
    outer: Protocol,
    upgrade: Upgrade,
    (client, server): (usize, usize),
    opening: &Opening<'_>,
    nested: u8,
    progress: &mut Progress,
) -> Detected {
    let plain = Detected::Plaintext { protocol: Some(outer), refused: None, inside: None };
    let Some(nested) = nested.checked_sub(1) else { return plain };
    let inner = opening.inner(client, server);
    if inner.client.is_empty() && inner.server.is_empty() {
        return Detected::Asked(outer);
    }
    let (first, progress) = progress.inner((client, server), inner.speaks());
    let inner = Opening { first, ..inner };
    match recognise(&inner, nested, progress).or_else(|| late_tls(&inner, progress)) {
        Some(Detected::More) => Detected::Asked(outer),
        Some(detected) => match moved(detected, upgrade, client, server) {
            Detected::Upgradable(_) => Detected::Upgradable(outer),
            Detected::Asked(_) => Detected::Asked(outer),
            settled @ (Detected::More
            | Detected::Reversed
            | Detected::Plaintext { .. }
            | Detected::Tls { .. }
            | Detected::TlsInTds { .. }
            | Detected::TlsMidStream
            | Detected::Opaque(_)
            | Detected::Unknown(_)) => settled,
        },
        None => match unrecognised(&inner) {
            Detected::More => Detected::Asked(outer),
            // What looks like text proves no more than it would by itself.
            settled @ (Detected::Unknown(_)
            | Detected::Plaintext { .. }
            | Detected::Reversed
            | Detected::Upgradable(_)
            | Detected::Asked(_)
            | Detected::Tls { .. }
            | Detected::TlsInTds { .. }
            | Detected::TlsMidStream
            | Detected::Opaque(_)) => moved(settled, upgrade, client, server),
        },
    }
}

/// Moves an answer about the inside of a wrapper to the whole streams. The innermost upgrade is the one named.
fn moved(detected: Detected, wrapper: Upgrade, by_client: usize, by_server: usize) -> Detected {
    match detected {
        Detected::Tls { upgrade, client, server, protocol } => Detected::Tls {
            upgrade: upgrade.or(Some(wrapper)),
            client: client.saturating_add(by_client),
            server: server.saturating_add(by_server),
            protocol,
        },
        Detected::TlsInTds { client, server } => Detected::TlsInTds {
            client: client.saturating_add(by_client),
            server: server.saturating_add(by_server),
        },
        Detected::Plaintext { protocol, refused, inside } => {
            Detected::Plaintext { protocol, refused, inside: inside.or(Some(wrapper)) }
        }
        Detected::More
        | Detected::Reversed
        | Detected::Upgradable(_)
        | Detected::Asked(_)
        | Detected::TlsMidStream
        | Detected::Opaque(_)
        | Detected::Unknown(_) => detected,
    }
}

/// Looks for TLS whose beginning is not at the beginning: a hello that was not captured, a session joined late, or a
/// hello inside a protocol that is not known.
fn late_tls(opening: &Opening<'_>, progress: &mut Progress) -> Option<Detected> {
    if opening.transport == Transport::Udp {
        return None;
    }
    let chained = |bytes: &[u8]| tls::record_chain(bytes) == Probe::Yes;
    // Where the beginning is lost, what is left of a hello looks like anything.
    let hello_lost =
        !opening.from_start || opening.client.is_empty() || tls::record_chain(opening.client) != Probe::No;
    if hello_lost && is_server_hello(opening.server) {
        return Some(Detected::Tls { upgrade: None, client: 0, server: 0, protocol: None });
    }
    // A server of TLS refuses plaintext by an alert, too, which tells of TLS only where nobody else spoke.
    let refuses = |bytes: &[u8], other: &[u8]| is_bare_alert(bytes) && !other.is_empty() && !chained(other);
    let late = |bytes: &[u8], other: &[u8]| {
        (chained(bytes) && !refuses(bytes, other)) || (!opening.from_start && tls::certificate_record(bytes))
    };
    if late(opening.client, opening.server) || late(opening.server, opening.client) {
        return Some(Detected::TlsMidStream);
    }
    let (in_client, in_server) = &mut progress.without_records;
    let client = embedded(opening.client, in_client, tls::client_hello);
    let server = embedded(opening.server, in_server, tls::server_answer);
    Some(Detected::Tls { upgrade: None, client: client?, server: server?, protocol: None })
}

/// Tells whether the bytes are the server's half of a handshake: a ServerHello, not merely an alert, with which a
/// TLS server also refuses plaintext.
fn is_server_hello(bytes: &[u8]) -> bool {
    bytes.first() == Some(&22) && tls::server_answer(bytes) == Probe::Yes
}

/// Tells whether the bytes are an alert in the clear (RFC 8446 section 6), and nothing else.
const fn is_bare_alert(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15, 3, 0..=4, 0, 2, 1 | 2, _])
}

/// Finds the first offset at which a record satisfies `probe`; before `from` none does, whatever follows.
fn embedded(bytes: &[u8], from: &mut usize, probe: fn(&[u8]) -> Probe) -> Option<usize> {
    // Where one may begin, once there is more of it.
    let mut open = None;
    for at in memchr2_iter(21, 22, bytes.get(*from..)?).map(|at| at.saturating_add(*from)) {
        let rest = bytes.get(at..)?;
        let answer = if matches!(rest, [_, 3, 0..=4, ..]) { probe(rest) } else { Probe::No };
        match answer {
            Probe::Yes => return Some(at),
            Probe::No if rest.len() > 2 => {}
            Probe::More | Probe::No => open = open.or(Some(at)),
        }
    }
    *from = open.unwrap_or(bytes.len());
    None
}

/// Returns with how many of the last of these bytes a record may begin that is looked for anywhere, if that is as much as its
/// type and half its version; `None` where one may begin with more of them.
#[inline]
pub(crate) fn begun_record(bytes: &[u8]) -> Option<u8> {
    // Most messages have neither byte; few are so long that a search pays.
    if bytes.len() < SEARCHED && !bytes.iter().any(|byte| matches!(byte, 21 | 22)) {
        return Some(0);
    }
    search_record(bytes)
}

#[inline(never)]
fn search_record(bytes: &[u8]) -> Option<u8> {
    let mut tail = 0;
    for at in memchr2_iter(21, 22, bytes) {
        match bytes.get(at..) {
            Some([_, 3, 0..=4, ..]) => return None,
            Some([_, 3]) => tail = 2,
            Some([_]) => tail = 1,
            _ => {}
        }
    }
    Some(tail)
}

/// From how many bytes on a search by SIMD is quicker than looking at each.
const SEARCHED: usize = 32;

/// Judges what no probe recognised.
fn unrecognised(opening: &Opening<'_>) -> Detected {
    let seen = opening.client.len().saturating_add(opening.server.len());
    if !opening.ended && seen < JUDGED {
        return Detected::More;
    }
    if !opening.from_start {
        return Detected::Unknown(Reason::MidStream);
    }
    // A long or broken QUIC or DTLS header is regular enough to pass for plaintext; what is behind it is not.
    let concealed = |bytes: &[u8]| matches!(bytes, [20..=26, 0xfe, ..] | [0xc0..=0xff, 0, 0, 0, 1, ..]);
    let datagram = opening.transport == Transport::Udp;
    if datagram && (concealed(opening.client) || concealed(opening.server)) {
        return Detected::Unknown(Reason::NotTls);
    }
    // What a server of TLS says to plaintext takes nothing away from that.
    let server = if is_bare_alert(opening.server) { &[] } else { opening.server };
    if entropy::both_readable(opening.client, server) {
        Detected::Plaintext { protocol: None, refused: None, inside: None }
    } else {
        Detected::Unknown(Reason::NotTls)
    }
}

#[cfg(test)]
mod tests;
