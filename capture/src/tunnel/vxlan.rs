//! VXLAN (RFC 7348): eight bytes, then an Ethernet frame; and its generic protocol extension
//! (draft-ietf-nvo3-vxlan-gpe), which names what follows.

use flow::Tunnel;

use crate::packet::{Captured, Layer};

/// Opens a VXLAN datagram; nothing if the header is not VXLAN's.
pub(super) fn open(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    // Receivers ignore the reserved bits, but the identifier flag must be set. The policy bits of the group
    // extension (draft-smith-vxlan-group-policy) share the first two bytes.
    let &[flags, _, _, _, v0, v1, v2, _] = payload.head::<8>().ok()?;
    let inner = payload.skip(8).ok()?;
    (flags & 0x08 != 0 && flags & 0x70 == 0 && inner.on_wire() >= 14).then_some((
        Tunnel::Vxlan(u32::from_be_bytes([0, v0, v1, v2])),
        Layer::Ethernet,
        inner,
    ))
}

/// Opens a datagram of the protocol extension; nothing if its header is not one.
pub(super) fn open_generic(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    let &[flags, _, _, next, v0, v1, v2, _] = payload.head::<8>().ok()?;
    // Version 0, the identifier flag, and no management message.
    if flags & 0x39 != 0x08 {
        return None;
    }
    let layer = match (flags & 0x04 != 0, next) {
        (false, _) | (true, 3) => Layer::Ethernet,
        (true, 1 | 2) => Layer::Ip,
        (true, 4) => Layer::EtherType(super::NSH),
        (true, 5) => Layer::Mpls,
        (true, _) => return None,
    };
    Some((Tunnel::Vxlan(u32::from_be_bytes([0, v0, v1, v2])), layer, payload.skip(8).ok()?))
}
