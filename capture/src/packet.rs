//! One frame, outside in, to its innermost TCP segment or UDP datagram.
//!
//! In comes a frame of any supported link type; out comes a [`Packet`] that borrows its payload, a [`Fragment`] for the
//! engine to put together, or the reason why the frame is of no use. Headers are read step by step, each step bounded by
//! the bytes at hand. Lengths come from the IP headers, so padding after them falls away; what a snap length cut is
//! remembered as missing. No checksum is verified: offloading leaves them unset on the sending host.

mod link;
mod transport;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flow::{Endpoint, Transport, Tunnel};

use crate::frame::{Frame, LinkType};
use crate::key::{Key, Way};
use crate::tunnel;
pub(crate) use transport::{Header, Tcp};
use transport::{datagram, tcp, tcp_fields, udp};

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

    /// Tells whether it is a SYN that answers none, which may open a connection.
    #[inline]
    pub(crate) const fn begins(&self) -> bool {
        matches!(self.header, Header::Tcp(tcp) if tcp.begins())
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

/// Reads a frame that holds nothing but a TCP segment: most do, and which connection it belongs to is then known at
/// once. Nothing where anything else shows.
#[inline]
pub(crate) fn alone<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    match plain(frame) {
        Some(packet) => Some(packet),
        None => bare(frame),
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

/// What a short cut through the most frequent headers led to.
enum Short<'a> {
    Packet(Packet<'a>),
    Tunnel(Tunnel, Layer, Captured<'a>),
    /// Anything else, be it only unusual or damaged: left to [`step`].
    Other,
}

/// Reads a TCP segment in IP of either version, with options or cut.
pub(crate) fn bare<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    let (network, inner) = short_network(Layer::Link(frame.link), Captured::of(frame))?;
    if network.protocol == TCP { tcp(network, inner).ok() } else { None }
}

/// Reads what nearly every frame is: a TCP segment, whole, in IPv4 without options, in Ethernet. Nothing where
/// anything else shows: what it then is, is for the walk below to say.
#[inline]
pub(crate) fn plain<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    if frame.link != LinkType::ETHERNET || frame.original_len as usize != frame.bytes.len() {
        return None;
    }
    let (&[.., 0x08, 0x00], bytes) = frame.bytes.split_first_chunk::<14>()? else { return None };
    let (ip, bytes) = bytes.split_first_chunk::<20>()?;
    let &[0x45, _, l0, l1, i0, i1, place, 0, _, TCP, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = ip else {
        return None;
    };
    // Neither more fragments nor an offset.
    if place & 0x3f != 0 {
        return None;
    }
    let bytes = bytes.get(..usize::from(u16::from_be_bytes([l0, l1])).checked_sub(20)?)?;
    let (header, options) = bytes.split_first_chunk::<20>()?;
    let (tcp, length) = tcp_fields(header, options)?;
    let &[p0, p1, q0, q1, ..] = header;
    let (key, way) = Key::of_tcp4(
        (u32::from_be_bytes([s0, s1, s2, s3]), u16::from_be_bytes([p0, p1])),
        (u32::from_be_bytes([d0, d1, d2, d3]), u16::from_be_bytes([q0, q1])),
    );
    Some(Packet {
        key,
        way,
        header: Header::Tcp(tcp),
        payload: Captured { bytes: options.get(length.checked_sub(20)?..)?, missing: 0 },
        identification: u32::from(u16::from_be_bytes([i0, i1])),
    })
}

/// Takes link, IP and transport header at once where nothing else is there: so it is in nearly every frame, and step
/// by step they would cost several times as much.
///
/// Every header is read by the function that [`step`] uses, so that both read the same.
#[inline]
fn short(layer: Layer, captured: Captured<'_>) -> Short<'_> {
    let Some((network, inner)) = short_network(layer, captured) else { return Short::Other };
    let packet = match network.protocol {
        TCP => tcp(network, inner),
        UDP => datagram(network, inner),
        _ => return Short::Other,
    };
    let Ok(packet) = packet else { return Short::Other };
    if matches!(packet.header, Header::Udp { .. })
        && let Some((tunnel, layer, inner)) =
            tunnel::inside_udp(packet.source_port(), packet.destination_port(), packet.payload)
    {
        return Short::Tunnel(tunnel, layer, inner);
    }
    Short::Packet(packet)
}

#[inline]
fn short_network(layer: Layer, captured: Captured<'_>) -> Option<(Network, Captured<'_>)> {
    let (kind, header) = match layer {
        Layer::Link(LinkType::ETHERNET) | Layer::Ethernet => {
            let &[.., t0, t1] = captured.head::<14>().ok()?;
            (u16::from_be_bytes([t0, t1]), 14)
        }
        Layer::Link(LinkType::LINUX_SLL) => {
            let &[.., t0, t1] = captured.head::<16>().ok()?;
            (u16::from_be_bytes([t0, t1]), 16)
        }
        Layer::Link(LinkType::LINUX_SLL2) => {
            let &[t0, t1, ..] = captured.head::<20>().ok()?;
            (u16::from_be_bytes([t0, t1]), 20)
        }
        Layer::EtherType(kind) => (kind, 0),
        Layer::Link(LinkType::RAW) | Layer::Ip => (IPV4, 0),
        Layer::Link(_) | Layer::Llc | Layer::Ppp | Layer::Mpls | Layer::Inside(_) => return None,
    };
    if !matches!(kind, IPV4 | IPV6) {
        return None;
    }
    let captured = captured.skip(header).ok()?;
    let step = match captured.bytes.first()? >> 4 {
        4 => ipv4(captured),
        6 => ipv6(captured),
        _ => return None,
    };
    match step {
        Ok(Step::Next(Layer::Inside(network), inner)) => Some((network, inner)),
        _ => None,
    }
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
        _ => Err(Skip::NotIp),
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

#[inline]
fn ipv4(captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    let &[v, _, l0, l1, i0, i1, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        captured.head::<20>()?;
    let header = usize::from(v & 0x0f).saturating_mul(4);
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    // Segmentation offload leaves the total length 0 when the packet is longer than the field can say.
    let whole = if length == 0 { captured } else { captured.limit(length) };
    if header < 20 || whole.on_wire() < header {
        return Err(Skip::Malformed);
    }
    let network = Network {
        source: IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)),
        destination: IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)),
        protocol,
        identification: u32::from(u16::from_be_bytes([i0, i1])),
    };
    let piece = whole.skip(header)?;
    let place = u16::from_be_bytes([f0, f1]);
    let (more, offset) = (place & 0x2000 != 0, usize::from(place & 0x1fff).saturating_mul(8));
    if more || offset > 0 {
        return fragment(Fragment { network, offset, more, piece });
    }
    Ok(Step::Next(Layer::Inside(network), piece))
}

/// Lets a fragment through that is whole: with less its datagram cannot be put together.
const fn fragment(fragment: Fragment<'_>) -> Result<Step<'_>, Skip> {
    if fragment.piece.missing > 0 {
        return Err(Skip::CutFragment);
    }
    Ok(Step::Done(Decoded::Fragment(fragment)))
}

#[inline]
fn ipv6(captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    let header = captured.head::<40>()?;
    let &[_, _, _, _, l0, l1, protocol, _, ref addresses @ ..] = header;
    let (Some(source), Some(destination)) = (addresses.first_chunk::<16>(), addresses.last_chunk::<16>())
    else {
        return Err(Skip::Malformed);
    };
    let network = Network {
        source: IpAddr::V6(Ipv6Addr::from(*source)),
        destination: IpAddr::V6(Ipv6Addr::from(*destination)),
        protocol,
        identification: 0,
    };
    let rest = captured.skip(40)?;
    // A payload length of 0 is a jumbogram (RFC 2675) or offload: the packet goes on to the end of the frame.
    let rest = match usize::from(u16::from_be_bytes([l0, l1])) {
        0 => rest,
        length => rest.limit(length),
    };
    Ok(Step::Next(Layer::Inside(network), rest))
}

/// Reads what an IP header announced: an extension header, a transport, or another packet.
fn inside<'a>(network: Network, captured: Captured<'a>, tunnels: &mut Vec<Tunnel>) -> Result<Step<'a>, Skip> {
    let six = network.source.is_ipv6();
    match network.protocol {
        TCP => tcp(network, captured).map(|packet| Step::Done(Decoded::Packet(packet))),
        UDP => udp(network, captured, tunnels),
        4 | 41 => {
            tunnels.push(if network.protocol == 41 && !six { Tunnel::SixInFour } else { Tunnel::IpInIp });
            Ok(Step::Next(Layer::Ip, captured))
        }
        47 => tunnel::gre::open(captured, tunnels),
        137 => Ok(Step::Next(Layer::Mpls, captured)),
        // EtherIP (RFC 3378): two bytes, then an Ethernet frame.
        97 => Ok(Step::Next(Layer::Ethernet, captured.skip(2)?)),
        // Authentication header (RFC 4302): its length counts 32-bit words, less two.
        51 => {
            let &[protocol, words] = captured.head::<2>()?;
            let length = usize::from(words).saturating_add(2).saturating_mul(4);
            Ok(Step::Next(Layer::Inside(Network { protocol, ..network }), captured.skip(length)?))
        }
        // Hop-by-hop, routing, destination options, mobility, HIP, Shim6 (RFC 8200 section 4).
        0 | 43 | 60 | 135 | 139 | 140 if six => {
            let &[protocol, units] = captured.head::<2>()?;
            let length = usize::from(units).saturating_add(1).saturating_mul(8);
            Ok(Step::Next(Layer::Inside(Network { protocol, ..network }), captured.skip(length)?))
        }
        44 if six => {
            let &[protocol, _, o0, o1, i0, i1, i2, i3] = captured.head::<8>()?;
            let place = u16::from_be_bytes([o0, o1]);
            let network =
                Network { protocol, identification: u32::from_be_bytes([i0, i1, i2, i3]), ..network };
            let (offset, more) = (usize::from(place & 0xfff8), place & 1 != 0);
            let piece = captured.skip(8)?;
            // An atomic fragment (RFC 6946) is the whole datagram.
            if offset == 0 && !more {
                return Ok(Step::Next(Layer::Inside(network), piece));
            }
            fragment(Fragment { network, offset, more, piece })
        }
        _ => Err(Skip::NotTcpOrUdp),
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::source::file::Reader;

    const MOST: usize = 16;

    /// Reads step by step only.
    fn stepwise<'a>(frame: &Frame<'a>, tunnels: &mut Vec<Tunnel>) -> Result<Decoded<'a>, Skip> {
        let (mut layer, mut captured) = (Layer::Link(frame.link), Captured::of(frame));
        for _ in 0..MAX_HEADERS {
            match step(layer, captured, tunnels)? {
                Step::Next(inner, rest) => (layer, captured) = (inner, rest),
                Step::Done(decoded) => return Ok(decoded),
            }
            if tunnels.len() > MOST {
                return Err(Skip::TooDeep);
            }
        }
        Err(Skip::TooDeep)
    }

    fn check(frame: &Frame<'_>) {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        let decoded = decode(frame, &mut short, MOST);
        assert_eq!(decoded, stepwise(frame, &mut long), "{frame:02x?}");
        assert_eq!(short, long, "{frame:02x?}");
    }

    /// Hands over every frame of every capture under a folder.
    fn captures(folder: &Path, each: &mut impl FnMut(&Frame<'_>)) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                captures(&path, each);
            } else if path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng") {
                let mut reader = Reader::new(File::open(&path).unwrap()).unwrap();
                while let Some(frames) = reader.batch(100) {
                    frames.unwrap().for_each(|frame| each(&frame));
                }
            }
        }
    }

    fn testdata(each: &mut impl FnMut(&Frame<'_>)) {
        captures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata"), each);
    }

    #[test]
    fn a_payload_that_looks_like_a_timestamp_is_none() {
        let mut header = [0; 20];
        let looks_so = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9];
        let stamp =
            |header: &[u8; 20]| tcp_fields(header, &looks_so).map(|(tcp, length)| (tcp.stamp(), length));
        header[12] = 5 << 4;
        assert_eq!(stamp(&header), Some((None, 20)));
        header[12] = 8 << 4;
        assert_eq!(stamp(&header), Some((Some(7), 32)));
    }

    #[test]
    fn the_short_cut_reads_what_the_steps_read_in_every_capture() {
        let mut frames = 0;
        testdata(&mut |frame| {
            check(frame);
            frames += 1;
        });
        assert!(frames > 1_000, "{frames} frames in testdata");
    }

    /// A few frames of each kind that occurs in the captures: each link type, length of headers, transport.
    fn samples() -> Vec<(LinkType, Vec<u8>)> {
        let six = || etherparse::PacketBuilder::ethernet2([0; 6], [1; 6]).ipv6([0xfd; 16], [1; 16], 64);
        let (mut segment, mut datagram) = (Vec::new(), Vec::new());
        six().tcp(40_000, 8080, 7, 1024).write(&mut segment, b"GET / HTTP/1.1").unwrap();
        six().udp(40_000, 53).write(&mut datagram, b"a question").unwrap();
        let mut samples = vec![(LinkType::ETHERNET, segment), (LinkType::ETHERNET, datagram)];
        let mut kinds = std::collections::BTreeMap::new();
        testdata(&mut |frame| {
            let Ok(Decoded::Packet(packet)) = decode(frame, &mut Vec::new(), MOST) else { return };
            let headers = frame.bytes.len() - packet.payload.bytes.len();
            let seen: &mut u32 = kinds.entry((frame.link.0, headers)).or_default();
            *seen += 1;
            if *seen <= 2 {
                samples.push((frame.link, frame.bytes.iter().copied().take(200).collect()));
            }
        });
        samples
    }

    #[test]
    fn the_short_cut_reads_what_the_steps_read_with_every_value_of_every_header_byte() {
        for (link, mut bytes) in samples() {
            let original_len = u32::try_from(bytes.len()).unwrap();
            for place in 0..bytes.len().min(74) {
                let before = bytes[place];
                for value in 0..=u8::MAX {
                    bytes[place] = value;
                    let at = flow::Timestamp::default();
                    check(&Frame { at, link, interface: 0, original_len, bytes: &bytes });
                }
                bytes[place] = before;
            }
        }
    }

    /// The ways in which a frame is put into another one.
    fn wrapped(way: usize, link: LinkType, frame: &[u8]) -> (LinkType, Vec<u8>) {
        let outer = |port: u16, head: &[u8]| {
            let mut bytes = Vec::new();
            etherparse::PacketBuilder::ethernet2([0; 6], [1; 6])
                .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
                .udp(50_000, port)
                .write(&mut bytes, &[head, frame].concat())
                .unwrap();
            (LinkType::ETHERNET, bytes)
        };
        match (way, frame) {
            (1, [addresses @ .., _, _]) if link == LinkType::ETHERNET && addresses.len() > 12 => {
                let (addresses, rest) = frame.split_at(12);
                (link, [addresses, &[0x81, 0, 0, 5], rest].concat())
            }
            (2, _) => outer(4789, &[8, 0, 0, 0, 0, 0, 1, 0]),
            (3, _) => outer(6081, &[0, 0, 0x65, 0x58, 0, 0, 1, 0]),
            (4.., _) if link == LinkType::ETHERNET && frame.len() > 14 => {
                let (kind, inner) = (&frame[12..14], &frame[14..]);
                match way {
                    4 => (LinkType::RAW, inner.to_vec()),
                    5 => (LinkType::LINUX_SLL, [&[0; 14], kind, inner].concat()),
                    6 => (LinkType::LINUX_SLL2, [kind, &[0; 18], inner].concat()),
                    _ => (LinkType::NULL, [&[2, 0, 0, 0], inner].concat()),
                }
            }
            _ => (link, frame.to_vec()),
        }
    }

    proptest! {
        #[test]
        fn the_short_cut_reads_what_the_steps_read_in_changed_frames(
            changes in prop::collection::vec(
                (any::<prop::sample::Index>(), 0_usize..8, prop::collection::vec((0_usize..120, any::<u8>()), 0..4),
                 0_usize..220, 0_u32..2_000),
                1..40,
            ),
        ) {
            thread_local!(static SAMPLES: Vec<(LinkType, Vec<u8>)> = samples());
            SAMPLES.with(|samples| for (which, way, edits, end, missing) in &changes {
                let (link, bytes) = which.get(samples);
                let (link, mut bytes) = wrapped(*way, *link, bytes);
                for (place, value) in edits {
                    if let Some(byte) = bytes.get_mut(*place) {
                        *byte = *value;
                    }
                }
                bytes.truncate(*end);
                let original_len = u32::try_from(bytes.len()).unwrap() + *missing;
                check(&Frame { at: flow::Timestamp::default(), link, interface: 0, original_len, bytes: &bytes });
            });
        }
    }
}
