//! L2TP version 2 (RFC 2661): a header of six bytes and more, then PPP.

use flow::Tunnel;

use crate::packet::{Captured, Layer};

/// Opens a data message; nothing if it is a control message, carries no IP, or is no L2TP at all.
pub(super) fn open(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    let &[flags, version] = payload.head::<2>().ok()?;
    // Not a control message, and the reserved bits are zero.
    if flags & 0xb4 != 0 || version != 2 {
        return None;
    }
    let mut rest = payload.skip(2).ok()?;
    if flags & 0x40 != 0 {
        let &length = rest.head::<2>().ok()?;
        if usize::from(u16::from_be_bytes(length)) > payload.on_wire() {
            return None;
        }
        rest = rest.skip(2).ok()?;
    }
    let &[_, _, s0, s1] = rest.head::<4>().ok()?;
    rest = rest.skip(4).ok()?;
    if flags & 0x08 != 0 {
        rest = rest.skip(4).ok()?;
    }
    if flags & 0x02 != 0 {
        let &padding = rest.head::<2>().ok()?;
        rest = rest.skip(usize::from(u16::from_be_bytes(padding)).saturating_add(2)).ok()?;
    }
    let ip = matches!(
        rest.bytes,
        [0xff, 0x03, 0x00, 0x21 | 0x57, ..]
            | [0xff, 0x03, 0x21 | 0x57, ..]
            | [0x00, 0x21 | 0x57, ..]
            | [0x21 | 0x57, ..]
    );
    ip.then_some((Tunnel::L2tp(u16::from_be_bytes([s0, s1])), Layer::Ppp, rest))
}
