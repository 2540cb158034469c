//! GTP-U version 1 (3GPP TS 29.281): user packets of mobile networks.

use flow::Tunnel;

use super::prove;
use crate::packet::{Captured, Layer};

/// The most extension headers of one packet.
const MAX_EXTENSIONS: usize = 8;

/// The message type of a user packet.
const G_PDU: u8 = 255;

/// Opens a user packet; nothing if it is a signalling message or no GTP-U at all.
pub(super) fn open(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    let &[flags, kind, l0, l1, t0, t1, t2, t3] = payload.head::<8>().ok()?;
    if flags & 0xf0 != 0x30 || kind != G_PDU {
        return None;
    }
    let mut inner = payload.skip(8).ok()?;
    if usize::from(u16::from_be_bytes([l0, l1])) > inner.on_wire() {
        return None;
    }
    if flags & 0x07 != 0 {
        let &[.., mut extension] = inner.head::<4>().ok()?;
        inner = inner.skip(4).ok()?;
        for _ in 0..MAX_EXTENSIONS {
            if flags & 0x04 == 0 || extension == 0 {
                break;
            }
            let length = usize::from(inner.head::<1>().ok()?[0]).saturating_mul(4);
            let &last = inner.bytes.get(length.checked_sub(1)?)?;
            extension = last;
            inner = inner.skip(length).ok()?;
        }
    }
    let tunnel = Tunnel::GtpU(u32::from_be_bytes([t0, t1, t2, t3]));
    match inner.bytes.first()? >> 4 {
        4 | 6 => Some((tunnel, Layer::Ip, inner)),
        // Sessions of type Ethernet (3GPP TS 23.501 section 5.6.10.2).
        _ => prove::ethernet(inner).then_some((tunnel, Layer::Ethernet, inner)),
    }
}
