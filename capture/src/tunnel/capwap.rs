//! CAPWAP's data packets (RFC 5415 section 4.3) in the clear: a header whose length it says, then a frame as the access point
//! had it on the air, or as Ethernet.

use flow::Tunnel;

use super::prove;
use crate::packet::{Captured, Layer, wifi_body};

/// Opens a data packet; nothing if it is encrypted, a fragment or a keep-alive, or no CAPWAP at all.
pub(super) fn open(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    const NATIVE: u8 = 0x01;
    const FRAGMENT: u8 = 0x80;
    const KEEP_ALIVE: u8 = 0x08;
    let &[0, length, kind, flags, _, _, _, _] = payload.head::<8>().ok()? else { return None };
    let words = usize::from(length >> 3);
    if flags & (FRAGMENT | KEEP_ALIVE) != 0 || words < 2 {
        return None;
    }
    let inner = payload.skip(words.saturating_mul(4)).ok()?;
    if kind & NATIVE == 0 {
        return prove::ethernet(inner).then_some((Tunnel::Capwap, Layer::Ethernet, inner));
    }
    // Binding 1 is IEEE 802.11. Cisco's access points swap the two bytes of the frame control.
    let &[first, second] = inner.head::<2>().ok()?;
    let (kind_of_frame, flags) = if first & 0x0f == 0x08 { (first, second) } else { (second, first) };
    if kind >> 1 & 0x1f != 1 {
        return None;
    }
    let body = wifi_body(kind_of_frame, flags, inner, false).ok()?;
    // What carries an EtherType begins so (IEEE 802.2, SNAP).
    body.bytes.starts_with(&[0xaa, 0xaa, 3]).then_some((Tunnel::Capwap, Layer::Llc, body))
}
