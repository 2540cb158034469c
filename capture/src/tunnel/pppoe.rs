//! PPPoE sessions (RFC 2516): six bytes, then PPP.

use flow::Tunnel;

use crate::packet::{Captured, Layer, Skip, Step};

/// Opens a PPPoE session packet.
pub(crate) fn open<'a>(captured: Captured<'a>, tunnels: &mut Vec<Tunnel>) -> Result<Step<'a>, Skip> {
    let &[version, code, s0, s1, l0, l1] = captured.head::<6>()?;
    if (version, code) != (0x11, 0) {
        return Err(Skip::NotIp);
    }
    tunnels.push(Tunnel::Pppoe(u16::from_be_bytes([s0, s1])));
    let inner = captured.skip(6)?;
    // Segmentation offload writes no meaningful length into super-packets; the IP header inside has the last word.
    Ok(Step::Next(Layer::Ppp, inner.limit(usize::from(u16::from_be_bytes([l0, l1])).max(inner.bytes.len()))))
}
