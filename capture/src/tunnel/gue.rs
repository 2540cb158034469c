//! Generic UDP encapsulation (draft-ietf-intarea-gue), as Linux has it: a header of four bytes and optional fields, or, in
//! version 1, none.

use flow::Tunnel;

use super::prove;
use crate::packet::{Captured, Layer};

/// Opens a data packet; nothing if no whole IP packet is inside.
pub(super) fn open(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    let &[flags, protocol] = payload.head::<2>().ok()?;
    let inner = match flags >> 5 {
        // Version 0 and no control message.
        0 if matches!(protocol, 4 | 41) => {
            payload.skip(usize::from(flags & 0x1f).saturating_mul(4).saturating_add(4)).ok()?
        }
        // The version's bits are those of IP itself.
        2 | 3 => payload,
        _ => return None,
    };
    prove::ip(inner).then_some((Tunnel::Gue, Layer::Ip, inner))
}
