//! AYIYA (draft-massar-v6ops-ayiya), which carried IPv6 to hosts behind address translation.

use flow::Tunnel;

use super::prove;
use crate::packet::{Captured, Layer};

/// Opens a forwarded packet; nothing if no whole IP packet is inside.
pub(super) fn open(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    const FORWARD: u8 = 1;
    let &[identity, signature, operation, protocol, ..] = payload.head::<8>().ok()?;
    if operation & 0x0f != FORWARD || !matches!(protocol, 4 | 41) {
        return None;
    }
    // The identity's length is a power of two, the signature's a number of words.
    let identity = 1_usize.checked_shl(u32::from(identity >> 4))?;
    let signature = usize::from(signature >> 4).saturating_mul(4);
    let inner = payload.skip(identity.saturating_add(signature).saturating_add(8)).ok()?;
    prove::ip(inner).then_some((Tunnel::Ayiya, Layer::Ip, inner))
}
