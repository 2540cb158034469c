//! Teredo (RFC 4380): IPv6 in UDP, after optional authentication and origin indications.

use flow::Tunnel;

use crate::packet::{Captured, Layer};

/// Opens a Teredo datagram; nothing if no IPv6 packet of fitting length is inside.
pub(super) fn open(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    let mut inner = payload;
    if let Ok(&[0, 1, identifier, authentication]) = inner.head::<4>() {
        let length = usize::from(identifier).saturating_add(usize::from(authentication)).saturating_add(13);
        inner = inner.skip(length).ok()?;
    }
    if let Ok([0, 0]) = inner.head::<2>() {
        inner = inner.skip(8).ok()?;
    }
    let &[version, _, _, _, l0, l1] = inner.head::<6>().ok()?;
    let length = usize::from(u16::from_be_bytes([l0, l1])).saturating_add(40);
    (version >> 4 == 6 && length <= inner.on_wire()).then_some((Tunnel::Teredo, Layer::Ip, inner))
}
