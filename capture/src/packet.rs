//! One frame, outside in, to its innermost TCP segment or UDP datagram.
//!
//! In comes a frame of any supported link type; out comes a [`Packet`] that borrows its payload, a [`Fragment`] for the
//! engine to put together, or the reason why the frame is of no use. Headers are read step by step, each step bounded by
//! the bytes at hand. Lengths come from the IP headers, so padding after them falls away; what a snap length cut is
//! remembered as missing. No checksum is verified: offloading leaves them unset on the sending host.

mod ip;
mod link;
mod short;
mod transport;

use std::net::IpAddr;

use flow::{Endpoint, Transport, Tunnel};

use crate::frame::{Frame, LinkType};
use crate::key::{Key, Way};
use crate::tunnel;
use ip::{inside, ipv4, ipv6};
pub(crate) use link::wifi_body;
use short::{Short, short};
pub(crate) use short::{alone, bare, plain};
pub(crate) use transport::{Header, Tcp};

/// The most headers read in one frame, extension headers and tunnels included.
const MAX_HEADERS: usize = 48;

/// The protocol numbers that packets are read for.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The `EtherType`s of IP. Which version it is the header says, and that counts.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Why a frame, or part of one, was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Skip {
    /// A link type that is not read here.
    UnknownLinkType,
    /// ARP, LLDP and everything else that carries no IP.
    NotIp,
    /// IP that carries neither TCP nor UDP.
    NotTcpOrUdp,
    /// Frames that the link itself encrypts: Wi-Fi, MACsec.
    Encrypted,
    /// Wi-Fi frames that carry several packets each.
    Aggregated,
    /// The capture ends inside a header.
    TruncatedHeader,
    /// A header contradicts itself.
    Malformed,
    /// More headers or tunnels than the bound.
    TooDeep,
    /// Fragments of which the snap length left out a part.
    CutFragment,
    /// Fragments whose datagram never became whole.
    Fragments,
    /// Fragments refused or dropped because the bound on them was reached.
    FragmentTable,
    /// Connections that gave way because the flow table was full, half-open ones included.
    TableFull,
    /// Stream bytes not looked at because the bound on held bytes was reached (in segments).
    BytesHeld,
    /// Sessions forgotten because the bound on them was reached: resumptions of theirs are not linked.
    SessionsForgotten,
}

impl Skip {
    /// Returns the word under which coverage counts it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::UnknownLinkType => "unknown-link-type",
            Self::NotIp => "not-ip",
            Self::NotTcpOrUdp => "not-tcp-or-udp",
            Self::Encrypted => "encrypted-link",
            Self::Aggregated => "aggregated-frame",
            Self::TruncatedHeader => "truncated-header",
            Self::Malformed => "malformed-header",
            Self::TooDeep => "nested-too-deep",
            Self::CutFragment => "cut-fragment",
            Self::Fragments => "incomplete-fragments",
            Self::FragmentTable => "fragment-table-full",
            Self::TableFull => "table-full",
            Self::BytesHeld => "held-bytes-full",
            Self::SessionsForgotten => "sessions-forgotten",
        }
    }
}

/// Bytes at hand, and how many more followed on the wire but not in the capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Captured<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) missing: usize,
}

impl<'a> Captured<'a> {
    /// Takes a whole frame.
    fn of(frame: &Frame<'a>) -> Self {
        let missing = (frame.original_len as usize).saturating_sub(frame.bytes.len());
        Self { bytes: frame.bytes, missing }
    }

    /// Returns the length on the wire.
    #[inline]
    pub(crate) const fn on_wire(&self) -> usize {
        self.bytes.len().saturating_add(self.missing)
    }

    /// Reads a fixed part without stepping over it.
    #[inline]
    pub(crate) fn head<const N: usize>(&self) -> Result<&'a [u8; N], Skip> {
        self.bytes.first_chunk().ok_or(Skip::TruncatedHeader)
    }

    /// Steps over `count` bytes, captured or not.
    #[inline]
    pub(crate) fn skip(self, count: usize) -> Result<Self, Skip> {
        match self.bytes.get(count..) {
            Some(bytes) => Ok(Self { bytes, ..self }),
            None => match self.on_wire().checked_sub(count) {
                Some(missing) => Ok(Self { bytes: &[], missing }),
                None => Err(Skip::Malformed),
            },
        }
    }

    /// Ends the bytes where a length field says; what that promises beyond the bytes at hand is missing.
    #[inline]
    pub(crate) fn limit(self, length: usize) -> Self {
        match self.bytes.get(..length) {
            Some(bytes) => Self { bytes, missing: 0 },
            None => Self { bytes: self.bytes, missing: length.saturating_sub(self.bytes.len()) },
        }
    }
}

/// A TCP segment or UDP datagram with its innermost addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    /// The connection that it belongs to, and which way it goes there.
    pub(crate) key: Key,
    pub(crate) way: Way,
    pub(crate) header: Header,
    pub(crate) payload: Captured<'a>,
    /// The IPv4 identification, or 0 where there is none (IPv6 without fragments).
    pub(crate) identification: u32,
}

impl Network {
    /// Returns the key of a packet between these addresses and ports, and which way it goes.
    fn key(&self, transport: Transport, source: [u8; 2], destination: [u8; 2]) -> (Key, Way) {
        let end = |ip: IpAddr, port: [u8; 2]| Endpoint { ip, port: u16::from_be_bytes(port) };
        Key::of(transport, end(self.source, source), end(self.destination, destination))
    }
}

impl Packet<'_> {
    const fn source_port(&self) -> u16 {
        self.key.port(self.way)
    }

    const fn destination_port(&self) -> u16 {
        self.key.port(self.way.other())
    }

    /// Tells whether it may open a connection: a SYN that answers none; a datagram whose first byte is that of a long header of
    /// QUIC (RFC 9000 section 17.2) or of a handshake record of DTLS.
    #[inline]
    pub(crate) const fn begins(&self) -> bool {
        match self.header {
            Header::Tcp(tcp) => tcp.begins(),
            Header::Udp { .. } => matches!(self.payload.bytes, [0xc0..=0xff | 22, ..]),
        }
    }
}

/// A piece of an IP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    pub(crate) network: Network,
    /// Offset in the datagram's payload, in bytes.
    pub(crate) offset: usize,
    /// Whether more pieces follow this one.
    pub(crate) more: bool,
    pub(crate) piece: Captured<'a>,
}

/// What an IP header says about what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// The protocol number of the next header.
    pub(crate) protocol: u8,
    pub(crate) identification: u32,
}

/// What came out of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoded<'a> {
    Packet(Packet<'a>),
    Fragment(Fragment<'a>),
}

/// What the bytes at a place begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    Link(LinkType),
    Ethernet,
    EtherType(u16),
    /// IEEE 802.2.
    Llc,
    Ppp,
    Mpls,
    /// IPv4 or IPv6, by the version field.
    Ip,
    Inside(Network),
}

/// What one header led to.
pub(crate) enum Step<'a> {
    Next(Layer, Captured<'a>),
    Done(Decoded<'a>),
}

/// Reads a whole frame; the encapsulations met go to `tunnels`, outside in, and there may be so many at most.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn decode<'a>(
    frame: &Frame<'a>,
    tunnels: &mut Vec<Tunnel>,
    most: usize,
) -> Result<Decoded<'a>, Skip> {
    match alone(frame) {
        Some(packet) => Ok(Decoded::Packet(packet)),
        None => walk(frame, tunnels, most),
    }
}

/// Reads any other frame, as [`decode`].
pub(crate) fn walk<'a>(
    frame: &Frame<'a>,
    tunnels: &mut Vec<Tunnel>,
    most: usize,
) -> Result<Decoded<'a>, Skip> {
    let (layer, captured) = (Layer::Link(frame.link), Captured::of(frame));
    match short(layer, captured) {
        Short::Packet(packet) => Ok(Decoded::Packet(packet)),
        Short::Tunnel(tunnel, layer, inner) => {
            tunnels.push(tunnel);
            decode_from(layer, inner, tunnels, most)
        }
        Short::Other => decode_from(layer, captured, tunnels, most),
    }
}

/// Reads on from a layer inside a frame, such as a datagram put together from fragments.
pub(crate) fn decode_from<'a>(
    mut layer: Layer,
    mut captured: Captured<'a>,
    tunnels: &mut Vec<Tunnel>,
    most: usize,
) -> Result<Decoded<'a>, Skip> {
    for _ in 0..MAX_HEADERS {
        match step(layer, captured, tunnels)? {
            Step::Next(inner, rest) => (layer, captured) = (inner, rest),
            Step::Done(decoded) => return Ok(decoded),
        }
        if tunnels.len() > most {
            return Err(Skip::TooDeep);
        }
        match short(layer, captured) {
            Short::Packet(packet) => return Ok(Decoded::Packet(packet)),
            Short::Tunnel(tunnel, inner, rest) => {
                tunnels.push(tunnel);
                (layer, captured) = (inner, rest);
            }
            Short::Other => {}
        }
    }
    Err(Skip::TooDeep)
}

fn step<'a>(layer: Layer, captured: Captured<'a>, tunnels: &mut Vec<Tunnel>) -> Result<Step<'a>, Skip> {
    match layer {
        Layer::Link(link) => link::link(link, captured),
        Layer::Ethernet => {
            let &[.., t0, t1] = captured.head::<14>()?;
            Ok(Step::Next(Layer::EtherType(u16::from_be_bytes([t0, t1])), captured.skip(14)?))
        }
        Layer::EtherType(kind) => ether_type(kind, captured, tunnels),
        Layer::Llc => link::llc(captured),
        Layer::Ppp => ppp(captured),
        Layer::Mpls => tunnel::mpls::open(captured, tunnels),
        Layer::Ip => match captured.head::<1>()? {
            [version] if version >> 4 == 4 => ipv4(captured),
            [version] if version >> 4 == 6 => ipv6(captured),
            _ => Err(Skip::Malformed),
        },
        Layer::Inside(network) => inside(network, captured, tunnels),
    }
}

fn ether_type<'a>(kind: u16, captured: Captured<'a>, tunnels: &mut Vec<Tunnel>) -> Result<Step<'a>, Skip> {
    match kind {
        IPV4 | IPV6 => Ok(Step::Next(Layer::Ip, captured)),
        // WCCP inside GRE: IP, in version 2 after a redirect header of four bytes.
        0x883e if captured.head::<1>()?[0] >> 4 == 4 => Ok(Step::Next(Layer::Ip, captured)),
        0x883e => Ok(Step::Next(Layer::Ip, captured.skip(4)?)),
        0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
            let &[v0, v1, t0, t1] = captured.head::<4>()?;
            tunnels.push(Tunnel::Vlan(u16::from_be_bytes([v0 & 0x0f, v1])));
            Ok(Step::Next(Layer::EtherType(u16::from_be_bytes([t0, t1])), captured.skip(4)?))
        }
        0x8847 | 0x8848 => Ok(Step::Next(Layer::Mpls, captured)),
        0x8864 => tunnel::pppoe::open(captured, tunnels),
        0x6558 => Ok(Step::Next(Layer::Ethernet, captured)),
        0x880b => Ok(Step::Next(Layer::Ppp, captured)),
        // Cisco metadata: version, length, one option, and the EtherType it displaced.
        0x8909 => {
            let &[.., t0, t1] = captured.head::<8>()?;
            Ok(Step::Next(Layer::EtherType(u16::from_be_bytes([t0, t1])), captured.skip(8)?))
        }
        // Below 0x600 the field is a length (IEEE 802.3).
        0..0x600 => link::llc(captured),
        0x88e5 => macsec(captured),
        tunnel::NSH => tunnel::nsh::open(captured),
        _ => tunnel::tag::open(kind, captured),
    }
}

/// MACsec (IEEE 802.1AE): a tag, with a channel identifier if so flagged, and what follows unless it is encrypted.
fn macsec(captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    let &[flags, ..] = captured.head::<6>()?;
    if flags & 0x0c != 0 {
        return Err(Skip::Encrypted);
    }
    let inner = captured.skip(if flags & 0x20 == 0 { 6 } else { 14 })?;
    let &kind = inner.head::<2>()?;
    Ok(Step::Next(Layer::EtherType(u16::from_be_bytes(kind)), inner.skip(2)?))
}

/// PPP (RFC 1661): address and control bytes may be absent, and the protocol field compressed to one byte.
fn ppp(captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    let captured = match captured.bytes {
        [0xff | 0x0f, 0x03 | 0x00, ..] => captured.skip(2)?,
        _ => captured,
    };
    let (protocol, rest) = match *captured.head::<2>()? {
        [low, _] if low & 1 == 1 => (u16::from(low), captured.skip(1)?),
        bytes => (u16::from_be_bytes(bytes), captured.skip(2)?),
    };
    match protocol {
        0x0021 | 0x0057 => Ok(Step::Next(Layer::Ip, rest)),
        0x0281 | 0x0283 => Ok(Step::Next(Layer::Mpls, rest)),
        // Cisco HDLC on a link declared as PPP.
        0x0800 | 0x86dd => Ok(Step::Next(Layer::Ip, rest)),
        _ => Err(Skip::NotIp),
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests;
