//! Link headers, by link type (tcpdump.org, "Link-layer header types"): in come the bytes of a frame, out comes where IP
//! or the next header begins.

use super::{Captured, Layer, MAX_HEADERS, Skip, Step};
use crate::frame::LinkType;

/// Link types that need no name elsewhere.
const TOKEN_RING: LinkType = LinkType(6);
const SLIP: LinkType = LinkType(8);
const FDDI: LinkType = LinkType(10);
/// What some systems write where the file format says 101.
const RAW_BSD: LinkType = LinkType(12);
const RAW_OPENBSD: LinkType = LinkType(14);
const PPP_HDLC: LinkType = LinkType(50);
const PPPOE: LinkType = LinkType(51);
const ATM_LLC: LinkType = LinkType(100);
const CISCO_HDLC: LinkType = LinkType(104);
const FRAME_RELAY: LinkType = LinkType(107);
const OPENBSD_ENC: LinkType = LinkType(109);
const PFLOG: LinkType = LinkType(117);
const SUN_ATM: LinkType = LinkType(123);
const WIFI_PRISM: LinkType = LinkType(119);
const WIFI_RADIOTAP: LinkType = LinkType(127);
const IP_OVER_FIREWIRE: LinkType = LinkType(138);
const WIFI_AVS: LinkType = LinkType(163);
const PPP_PPPD: LinkType = LinkType(166);
const JUNIPER_PPPOE: LinkType = LinkType(167);
const JUNIPER_ETHERNET: LinkType = LinkType(178);
const JUNIPER_PPP: LinkType = LinkType(179);
const JUNIPER_FRAME_RELAY: LinkType = LinkType(180);
const JUNIPER_CISCO_HDLC: LinkType = LinkType(181);
const PPI: LinkType = LinkType(192);
const ERF: LinkType = LinkType(197);
const PPP_WITH_DIRECTION: LinkType = LinkType(204);
const CISCO_HDLC_WITH_DIRECTION: LinkType = LinkType(205);
const MPLS: LinkType = LinkType(219);
const IPNET: LinkType = LinkType(226);
const NFLOG: LinkType = LinkType(239);
const NETANALYZER: LinkType = LinkType(240);
const NETANALYZER_WITH_PREAMBLE: LinkType = LinkType(241);
const IP_OVER_INFINIBAND: LinkType = LinkType(242);
const PKTAP: LinkType = LinkType(258);
const EPON: LinkType = LinkType(259);
const ETHERNET_WITH_PREAMBLE: LinkType = LinkType(274);

impl LinkType {
    /// Tells whether frames of this kind are read; those of any other are only counted.
    #[must_use]
    pub const fn is_read(self) -> bool {
        matches!(
            self,
            Self::ETHERNET
                | Self::NULL
                | Self::PPP
                | Self::RAW
                | Self::LOOP
                | Self::LINUX_SLL
                | Self::IPV4
                | Self::IPV6
                | Self::LINUX_SLL2
                | TOKEN_RING
                | SLIP
                | FDDI
                | RAW_BSD
                | RAW_OPENBSD
                | PPP_HDLC
                | PPPOE
                | ATM_LLC
                | CISCO_HDLC
                | Self::WIFI
                | FRAME_RELAY
                | OPENBSD_ENC
                | PFLOG
                | WIFI_PRISM
                | WIFI_RADIOTAP
                | IP_OVER_FIREWIRE
                | WIFI_AVS
                | PPP_PPPD
                | PPI
                | PPP_WITH_DIRECTION
                | CISCO_HDLC_WITH_DIRECTION
                | MPLS
                | IPNET
                | NFLOG
                | NETANALYZER
                | NETANALYZER_WITH_PREAMBLE
                | IP_OVER_INFINIBAND
                | PKTAP
                | EPON
                | ETHERNET_WITH_PREAMBLE
                | SUN_ATM
                | JUNIPER_PPPOE
                | JUNIPER_ETHERNET
                | JUNIPER_PPP
                | JUNIPER_FRAME_RELAY
                | JUNIPER_CISCO_HDLC
                | ERF
        )
    }
}

/// Reads the header that a frame begins with.
pub(super) fn link(link: LinkType, captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    let (layer, header) = match link {
        LinkType::ETHERNET => (Layer::Ethernet, 0),
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 | RAW_BSD | RAW_OPENBSD => (Layer::Ip, 0),
        LinkType::LINUX_SLL => {
            let &[.., t0, t1] = captured.head::<16>()?;
            (cooked(t0, t1), 16)
        }
        LinkType::LINUX_SLL2 => {
            let &[t0, t1, ..] = captured.head::<20>()?;
            (cooked(t0, t1), 20)
        }
        LinkType::NULL | LinkType::LOOP => {
            // The numbers of AF_INET6 differ by system: 10 Linux, 24 NetBSD, 28 FreeBSD, 30 macOS.
            match captured.head::<4>()? {
                [2 | 10 | 24 | 28 | 30, 0, 0, 0] | [0, 0, 0, 2 | 10 | 24 | 28 | 30] => (Layer::Ip, 4),
                // Some drivers write an EtherType where the family's second half belongs.
                [_, _, 0x08, 0x00] | [_, _, 0x86, 0xdd] => (Layer::Ip, 4),
                _ => return Err(Skip::NotIp),
            }
        }
        LinkType::PPP | PPP_HDLC => (Layer::Ppp, 0),
        // The direction stands where the address belongs.
        PPP_PPPD => (Layer::Ppp, 2),
        PPP_WITH_DIRECTION => (Layer::Ppp, 1),
        PPPOE => (Layer::EtherType(0x8864), 0),
        CISCO_HDLC => {
            // Address, control, EtherType.
            let &[_, _, t0, t1] = captured.head::<4>()?;
            (ether_type(t0, t1), 4)
        }
        CISCO_HDLC_WITH_DIRECTION => {
            let &[_, _, _, t0, t1] = captured.head::<5>()?;
            (ether_type(t0, t1), 5)
        }
        FRAME_RELAY => return frame_relay(captured),
        ATM_LLC => (Layer::Llc, 0),
        // Direction and kind, virtual path, virtual channel; kind 2 is LLC.
        SUN_ATM => match captured.head::<4>()? {
            [kind, ..] if kind & 0x0f == 2 => (Layer::Llc, 4),
            _ => return Err(Skip::NotIp),
        },
        // A frame control byte and two addresses.
        FDDI => (Layer::Llc, 13),
        TOKEN_RING => {
            // Access and frame control, two addresses; the first bit of the source announces a route.
            let &[_, _, _, _, _, _, _, _, source, ..] = captured.head::<14>()?;
            let route = if source & 0x80 == 0 {
                0
            } else {
                let &[.., length] = captured.head::<15>()?;
                usize::from(length & 0x1f)
            };
            (Layer::Llc, route.saturating_add(14))
        }
        // A direction and the compressed header that a driver kept.
        SLIP => (Layer::Ip, 16),
        // Address family, security parameters index and flags.
        OPENBSD_ENC => (Layer::Ip, 12),
        PFLOG => {
            let &[length] = captured.head::<1>()?;
            (Layer::Ip, usize::from(length).next_multiple_of(4))
        }
        IP_OVER_FIREWIRE => {
            let &[.., t0, t1] = captured.head::<18>()?;
            (ether_type(t0, t1), 18)
        }
        IP_OVER_INFINIBAND => {
            let &[t0, t1, _, _] = captured.head::<4>()?;
            (ether_type(t0, t1), 4)
        }
        IPNET => (Layer::Ip, 24),
        MPLS => (Layer::Mpls, 0),
        NETANALYZER => (Layer::Ethernet, 4),
        EPON | ETHERNET_WITH_PREAMBLE => (Layer::Ethernet, 8),
        NETANALYZER_WITH_PREAMBLE => (Layer::Ethernet, 12),
        PPI => {
            let &[_, _, l0, l1, d0, d1, ..] = captured.head::<8>()?;
            (Layer::Link(LinkType(u16::from_le_bytes([d0, d1]))), usize::from(u16::from_le_bytes([l0, l1])))
        }
        PKTAP => {
            let &[l0, l1, l2, l3, _, _, _, _, d0, d1, ..] = captured.head::<12>()?;
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            (Layer::Link(LinkType(u16::from_le_bytes([d0, d1]))), length)
        }
        NFLOG => return nflog(captured),
        JUNIPER_PPPOE | JUNIPER_ETHERNET => return juniper(Layer::Ethernet, captured),
        JUNIPER_PPP => return juniper(Layer::Ppp, captured),
        JUNIPER_FRAME_RELAY => return juniper(Layer::Link(FRAME_RELAY), captured),
        JUNIPER_CISCO_HDLC => return juniper(Layer::Link(CISCO_HDLC), captured),
        ERF => return erf(captured),
        LinkType::WIFI => return wifi(captured, false),
        WIFI_RADIOTAP => return radiotap(captured),
        WIFI_PRISM | WIFI_AVS => {
            let length = match *captured.head::<8>()? {
                [0x80, 0x21, 0x10, _, l0, l1, l2, l3] => u32::from_be_bytes([l0, l1, l2, l3]),
                [_, _, _, _, l0, l1, l2, l3] => u32::from_le_bytes([l0, l1, l2, l3]),
            };
            (Layer::Link(LinkType::WIFI), length as usize)
        }
        _ => return Err(Skip::UnknownLinkType),
    };
    // A header that is shorter than what was read of it, and says so of itself, is none.
    if matches!(layer, Layer::Link(_)) && header < 8 {
        return Err(Skip::Malformed);
    }
    Ok(Step::Next(layer, captured.skip(header)?))
}

const fn ether_type(high: u8, low: u8) -> Layer {
    Layer::EtherType(u16::from_be_bytes([high, low]))
}

/// The protocol field of Linux's cooked headers: an `EtherType`, or a number of Linux's own for LLC.
const fn cooked(high: u8, low: u8) -> Layer {
    match [high, low] {
        [0, 4] => Layer::Llc,
        _ => ether_type(high, low),
    }
}

/// Logical link control (IEEE 802.2): IP is inside a SNAP header (RFC 1042), or follows at once by its own number.
pub(super) fn llc(captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    if let Ok([0x06, 0x06, 0x03]) = captured.head::<3>() {
        return Ok(Step::Next(Layer::Ip, captured.skip(3)?));
    }
    match captured.head::<8>()? {
        // Encapsulated Ethernet, and what IEEE 802.1H tunnels for bridges.
        &[0xaa, 0xaa, 3, 0, 0, 0 | 0xf8, t0, t1] => Ok(Step::Next(ether_type(t0, t1), captured.skip(8)?)),
        // A bridged Ethernet frame on ATM (RFC 2684 section 5.2), with and without its check sequence.
        [0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 1 | 7] => Ok(Step::Next(Layer::Ethernet, captured.skip(10)?)),
        _ => Err(Skip::NotIp),
    }
}

/// Frame relay (RFC 2427): two or four address bytes, control, and a network layer protocol identifier.
fn frame_relay(captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    // The last byte of the address has its lowest bit set.
    let captured = match captured.head::<4>()? {
        [first, second, third, last]
            if first & 1 == 0 && second & 1 == 0 && third & 1 == 0 && last & 1 == 1 =>
        {
            captured.skip(2)?
        }
        _ => captured,
    };
    match captured.head::<4>()? {
        // Cisco's own encapsulation has an EtherType there.
        [_, _, 0x08, 0x00] | [_, _, 0x86, 0xdd] => Ok(Step::Next(Layer::Ip, captured.skip(4)?)),
        [_, _, 3, 0xcc | 0x8e] => Ok(Step::Next(Layer::Ip, captured.skip(4)?)),
        // PPP (RFC 1973).
        [_, _, 3, 0xcf] => Ok(Step::Next(Layer::Ppp, captured.skip(4)?)),
        [_, _, 3, 0x80] | [_, _, 3, 0] => {
            // A padding byte may stand before the identifier of SNAP.
            let snap = captured.skip(if captured.head::<4>()?[3] == 0 { 5 } else { 4 })?;
            match snap.head::<5>()? {
                &[0, 0, 0, t0, t1] => Ok(Step::Next(ether_type(t0, t1), snap.skip(5)?)),
                [0, 0x80, 0xc2, 0, 1 | 7] => Ok(Step::Next(Layer::Ethernet, snap.skip(5)?)),
                _ => Err(Skip::NotIp),
            }
        }
        _ => Err(Skip::NotIp),
    }
}

/// Linux's netfilter log: attributes in the byte order of the machine, one of them the packet.
fn nflog(captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    const PAYLOAD: u16 = 9;
    // Families of IPv4 and IPv6; the others carry no IP header here.
    if !matches!(captured.head::<4>()?, [2 | 10, ..]) {
        return Err(Skip::NotIp);
    }
    let mut rest = captured.skip(4)?;
    for _ in 0..MAX_HEADERS {
        let &[l0, l1, t0, t1] = rest.head::<4>()?;
        // All types are below 256, which tells the byte order.
        let (length, kind) = if t1 == 0 {
            (u16::from_le_bytes([l0, l1]), u16::from_le_bytes([t0, t1]))
        } else {
            (u16::from_be_bytes([l0, l1]), u16::from_be_bytes([t0, t1]))
        };
        let length = usize::from(length);
        if length < 4 {
            return Err(Skip::Malformed);
        }
        if kind == PAYLOAD {
            return Ok(Step::Next(Layer::Ip, rest.limit(length).skip(4)?));
        }
        rest = rest.skip(length.next_multiple_of(4))?;
    }
    Err(Skip::TooDeep)
}

/// What Junos puts before a frame: a magic number, flags, and extensions with their length if so flagged.
fn juniper(layer: Layer, captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    const NO_LINK: u8 = 0x02;
    const EXTENDED: u8 = 0x80;
    let &[0x4d, 0x47, 0x43, flags] = captured.head::<4>()? else { return Err(Skip::Malformed) };
    if flags & NO_LINK != 0 {
        return Err(Skip::NotIp);
    }
    let rest = captured.skip(4)?;
    let rest = if flags & EXTENDED == 0 {
        rest
    } else {
        rest.skip(usize::from(u16::from_be_bytes(*rest.head::<2>()?)).saturating_add(2))?
    };
    Ok(Step::Next(layer, rest))
}

/// Endace's extensible record format: sixteen bytes, extension headers of eight, and for Ethernet two of padding.
fn erf(captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    let &[_, _, _, _, _, _, _, _, kind, ..] = captured.head::<16>()?;
    let mut rest = captured.skip(16)?;
    let mut more = kind & 0x80 != 0;
    for _ in 0..MAX_HEADERS {
        if !more {
            break;
        }
        more = rest.head::<8>()?[0] & 0x80 != 0;
        rest = rest.skip(8)?;
    }
    match kind & 0x7f {
        // Ethernet, coloured, steered by a hash.
        2 | 11 | 16 | 20 => Ok(Step::Next(Layer::Ethernet, rest.skip(2)?)),
        22 | 23 => Ok(Step::Next(Layer::Ip, rest)),
        _ => Err(Skip::NotIp),
    }
}

/// The radiotap header (radiotap.org): a length, and of its fields only the flag for padding counts.
fn radiotap(captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    const TIMER: u8 = 0x01;
    const FLAGS: u8 = 0x02;
    const PADDED: u8 = 0x20;
    let &[_, _, l0, l1, present, _, _, last] = captured.head::<8>()?;
    let frame = captured.skip(usize::from(u16::from_le_bytes([l0, l1])))?;
    let mut place: usize = 8;
    let mut more = last & 0x80 != 0;
    for _ in 0..MAX_HEADERS {
        if !more {
            break;
        }
        more = captured.bytes.get(place.saturating_add(3)).ok_or(Skip::TruncatedHeader)? & 0x80 != 0;
        place = place.saturating_add(4);
    }
    if present & TIMER != 0 {
        place = place.next_multiple_of(8).saturating_add(8);
    }
    let padded = present & FLAGS != 0 && captured.bytes.get(place).is_some_and(|flags| flags & PADDED != 0);
    wifi(frame, padded)
}

/// An IEEE 802.11 frame: only data frames in the clear carry anything to read.
fn wifi(captured: Captured<'_>, padded: bool) -> Result<Step<'_>, Skip> {
    let &[kind, flags] = captured.head::<2>()?;
    Ok(Step::Next(Layer::Llc, wifi_body(kind, flags, captured, padded)?))
}

/// Returns what follows the header of a frame with this frame control.
pub(crate) fn wifi_body(
    kind: u8,
    flags: u8,
    captured: Captured<'_>,
    padded: bool,
) -> Result<Captured<'_>, Skip> {
    let qos = kind & 0x80 != 0;
    // Version 0, type data, and not one of the subtypes without a body.
    if kind & 0x4f != 0x08 {
        return Err(Skip::NotIp);
    }
    if flags & 0x40 != 0 {
        return Err(Skip::Encrypted);
    }
    let &[.., sequence, _] = captured.head::<24>()?;
    if flags & 0x04 != 0 || sequence & 0x0f != 0 {
        return Err(Skip::Fragments);
    }
    let mut header: usize = 24;
    if flags & 0x03 == 0x03 {
        header = header.saturating_add(6);
    }
    if qos {
        // Several frames in one are not taken apart.
        let control = captured.bytes.get(header).ok_or(Skip::TruncatedHeader)?;
        if control & 0x80 != 0 {
            return Err(Skip::Aggregated);
        }
        header = header.saturating_add(if flags & 0x80 == 0 { 2 } else { 6 });
    }
    if padded {
        header = header.next_multiple_of(4);
    }
    captured.skip(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_type_that_is_read_says_so() {
        for number in 0..=u16::MAX {
            let step = link(LinkType(number), Captured { bytes: &[], missing: 0 });
            assert_eq!(
                LinkType(number).is_read(),
                !matches!(step, Err(Skip::UnknownLinkType)),
                "link type {number}"
            );
        }
    }
}
