//! MPLS label stacks (RFC 3032), and what follows the last label, which no field names.

use flow::Tunnel;

use super::prove;
use crate::packet::{Captured, Layer, Skip, Step};

/// Opens one label.
pub(crate) fn open<'a>(captured: Captured<'a>, tunnels: &mut Vec<Tunnel>) -> Result<Step<'a>, Skip> {
    let (tunnel, layer, inner) = label(captured)?;
    tunnels.push(tunnel);
    Ok(Step::Next(layer, inner))
}

/// Opens MPLS in UDP (RFC 7510); nothing if no IP packet or frame with one is below the labels.
pub(super) fn open_in_udp(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    const MAX_LABELS: usize = 16;
    let first = label(payload).ok()?;
    let (mut layer, mut inner) = (first.1, first.2);
    for _ in 0..MAX_LABELS {
        match layer {
            Layer::Mpls => (_, layer, inner) = label(inner).ok()?,
            Layer::Ip => return prove::ip(inner).then_some(first),
            Layer::Ethernet => return prove::ethernet(inner).then_some(first),
            Layer::Link(_) | Layer::EtherType(_) | Layer::Llc | Layer::Ppp | Layer::Inside(_) => break,
        }
    }
    None
}

fn label(captured: Captured<'_>) -> Result<(Tunnel, Layer, Captured<'_>), Skip> {
    let &label = captured.head::<4>()?;
    let inner = captured.skip(4)?;
    let tunnel = Tunnel::Mpls(u32::from_be_bytes(label) >> 12);
    let bottom = label[2] & 1 == 1;
    if !bottom {
        return Ok((tunnel, Layer::Mpls, inner));
    }
    // RFC 4928: 4 and 6 in the first nibble mean IP; 0 is a pseudowire's control word, before an Ethernet frame, unless the
    // frame begins at once: manufacturers' addresses often begin with 0.
    match inner.head::<1>()?[0] >> 4 {
        4 | 6 => Ok((tunnel, Layer::Ip, inner)),
        0 if !prove::ethernet(inner) => Ok((tunnel, Layer::Ethernet, inner.skip(4)?)),
        _ => Ok((tunnel, Layer::Ethernet, inner)),
    }
}
