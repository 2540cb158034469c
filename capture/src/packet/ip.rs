//! The headers of IP, version 4 and 6, extension headers included.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flow::Tunnel;

use super::transport::{tcp, udp};
use super::{Captured, Decoded, Fragment, Layer, Network, Skip, Step, TCP, UDP};
use crate::tunnel;

#[inline]
pub(super) fn ipv4(captured: Captured<'_>) -> Result<Step<'_>, Skip> {
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
pub(super) fn ipv6(captured: Captured<'_>) -> Result<Step<'_>, Skip> {
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
pub(super) fn inside<'a>(
    network: Network,
    captured: Captured<'a>,
    tunnels: &mut Vec<Tunnel>,
) -> Result<Step<'a>, Skip> {
    let six = network.source.is_ipv6();
    match network.protocol {
        TCP => tcp(network, captured).map(|packet| Step::Done(Decoded::Packet(packet))),
        UDP => udp(network, captured, tunnels),
        4 | 41 => {
            tunnels.push(if network.protocol == 41 && !six { Tunnel::SixInFour } else { Tunnel::IpInIp });
            Ok(Step::Next(Layer::Ip, captured))
        }
        47 => tunnel::gre::open(captured, tunnels),
        115 => tunnel::l2tp::open_in_ip(captured, tunnels),
        137 => Ok(Step::Next(Layer::Mpls, captured)),
        // Ethernet at the end of a segment route (RFC 8986 section 4.9).
        143 => Ok(Step::Next(Layer::Ethernet, captured)),
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
