//! Short cuts through the headers that nearly every frame has. They read what [`super::decode_from`] reads, and leave to it
//! whatever else shows.

use flow::Tunnel;

use super::ip::{ipv4, ipv6};
use super::transport::{Header, datagram, tcp, tcp_fields};
use super::{Captured, IPV4, IPV6, Layer, Network, Packet, Step, TCP, UDP};
use crate::frame::{Frame, LinkType};
use crate::key::Key;
use crate::tunnel;

/// Reads a frame that holds nothing but a TCP segment: most do, and which connection it belongs to is then known at
/// once. Nothing where anything else shows.
#[inline]
pub(crate) fn alone<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    match plain(frame) {
        Some(packet) => Some(packet),
        None => bare(frame),
    }
}

/// What a short cut through the most frequent headers led to.
pub(super) enum Short<'a> {
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
    let (heads, options) = frame.bytes.split_first_chunk::<54>()?;
    let (_, ethernet_on) = heads.split_first_chunk::<12>()?;
    let (ip, header) = ethernet_on.split_first_chunk::<22>()?;
    let header = header.first_chunk::<20>()?;
    let &[
        t0,
        t1,
        version,
        service,
        l0,
        l1,
        i0,
        i1,
        f0,
        f1,
        hops,
        protocol,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ] = ip;
    // IPv4 with a header of twenty bytes; neither more fragments nor an offset, and TCP: two comparisons of four bytes each.
    let (kind, place) =
        (u32::from_be_bytes([t0, t1, version, service]), u32::from_be_bytes([f0, f1, hops, protocol]));
    if kind & 0xffff_ff00 != 0x0800_4500 || place & 0x3fff_00ff != u32::from(TCP) {
        return None;
    }
    let options = options.get(..usize::from(u16::from_be_bytes([l0, l1])).checked_sub(40)?)?;
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
pub(super) fn short(layer: Layer, captured: Captured<'_>) -> Short<'_> {
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
