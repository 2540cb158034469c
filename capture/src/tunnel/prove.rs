//! What an encapsulation that says little of itself must show inside before it is believed.

use crate::packet::Captured;

/// Tells whether bytes are one IP packet, to its last byte.
pub(super) fn ip(inner: Captured<'_>) -> bool {
    length(inner).is_some_and(|length| length == inner.on_wire())
}

/// Tells whether bytes are an Ethernet frame with an IP packet, tagged or not; padding may follow.
pub(super) fn ethernet(inner: Captured<'_>) -> bool {
    let packet = match inner.bytes {
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, ..]
        | [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, ..] => inner.skip(14),
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x81, 0x00, _, _, 0x08, 0x00, ..]
        | [_, _, _, _, _, _, _, _, _, _, _, _, 0x81, 0x00, _, _, 0x86, 0xdd, ..] => inner.skip(18),
        _ => return false,
    };
    packet.is_ok_and(|packet| length(packet).is_some_and(|length| length <= packet.on_wire()))
}

/// Returns the length that an IP header tells.
fn length(inner: Captured<'_>) -> Option<usize> {
    let &[first, _, l0, l1, p0, p1] = inner.head::<6>().ok()?;
    match first {
        0x45..=0x4f => Some(usize::from(u16::from_be_bytes([l0, l1]))),
        0x60..=0x6f => Some(usize::from(u16::from_be_bytes([p0, p1])).saturating_add(40)),
        _ => None,
    }
}
