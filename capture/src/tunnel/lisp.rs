//! LISP's data packets (RFC 9300 section 5): eight bytes, then an IP packet.

use flow::Tunnel;

use super::prove;
use crate::packet::{Captured, Layer};

/// Opens a data packet; nothing if no whole IP packet is inside.
pub(super) fn open(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    let &[flags, _, _, _, i0, i1, i2, _] = payload.head::<8>().ok()?;
    let inner = payload.skip(8).ok()?;
    // The flag I says that there is an instance.
    let instance = if flags & 0x08 == 0 { 0 } else { u32::from_be_bytes([0, i0, i1, i2]) };
    prove::ip(inner).then_some((Tunnel::Lisp(instance), Layer::Ip, inner))
}
