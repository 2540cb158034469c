//! GRE (RFC 2784) with keys and sequence numbers (RFC 2890), PPTP's version 1 (RFC 2637), and ERSPAN inside it.

use flow::Tunnel;

use super::erspan;
use crate::packet::{Captured, Layer, Skip, Step};

/// Opens a GRE packet.
pub(crate) fn open<'a>(captured: Captured<'a>, tunnels: &mut Vec<Tunnel>) -> Result<Step<'a>, Skip> {
    let &[flags, version, p0, p1] = captured.head::<4>()?;
    let set = |bit: u8| usize::from(flags & bit != 0);
    // Checksum (with a reserved field), key, sequence number; version 1 adds an acknowledgment number.
    let mut words = set(0x80).saturating_add(set(0x20)).saturating_add(set(0x10));
    if version & 0x07 == 1 && version & 0x80 != 0 {
        words = words.saturating_add(1);
    }
    if flags & 0x40 != 0 {
        // Source routes (RFC 1701) were abolished by RFC 2784.
        return Err(Skip::Malformed);
    }
    let inner = captured.skip(words.saturating_mul(4).saturating_add(4))?;
    match u16::from_be_bytes([p0, p1]) {
        // Without a sequence number it is type I, which has no header of its own.
        0x88be if flags & 0x10 == 0 => {
            tunnels.push(Tunnel::Erspan(0));
            Ok(Step::Next(Layer::Ethernet, inner))
        }
        0x88be => erspan::open_type_2(inner, tunnels),
        0x22eb => erspan::open_type_3(inner, tunnels),
        // Mikrotik's Ethernet over IP, a version 1 of its own.
        0x6400 if version & 0x07 == 1 => {
            tunnels.push(Tunnel::Gre);
            Ok(Step::Next(Layer::Ethernet, inner))
        }
        protocol => {
            tunnels.push(Tunnel::Gre);
            Ok(Step::Next(Layer::EtherType(protocol), inner))
        }
    }
}

/// Opens GRE in UDP (RFC 8086); nothing if it is none, or carries neither IP, Ethernet nor MPLS.
pub(super) fn open_in_udp(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    let &[flags, version, p0, p1] = payload.head::<4>().ok()?;
    let protocol = u16::from_be_bytes([p0, p1]);
    if flags & !0xb0 != 0 || version != 0 || !matches!(protocol, 0x0800 | 0x86dd | 0x6558 | 0x8847) {
        return None;
    }
    let length = usize::try_from(flags.count_ones()).ok()?.saturating_mul(4).saturating_add(4);
    Some((Tunnel::Gre, Layer::EtherType(protocol), payload.skip(length).ok()?))
}
