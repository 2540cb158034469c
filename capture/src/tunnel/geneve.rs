//! Geneve (RFC 8926): eight bytes and options, then what the protocol field names.

use flow::Tunnel;

use crate::packet::{Captured, Layer};

/// Opens a Geneve datagram; nothing if the header is not Geneve's, version 0.
pub(super) fn open(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    let &[version, _, p0, p1, v0, v1, v2, _] = payload.head::<8>().ok()?;
    let options = usize::from(version & 0x3f).saturating_mul(4);
    let inner = payload.skip(options.saturating_add(8)).ok()?;
    let protocol = u16::from_be_bytes([p0, p1]);
    (version >> 6 == 0 && matches!(protocol, 0x6558 | 0x0800 | 0x86dd | 0x8847 | super::NSH)).then_some((
        Tunnel::Geneve(u32::from_be_bytes([0, v0, v1, v2])),
        Layer::EtherType(protocol),
        inner,
    ))
}
