//! MPLS label stacks (RFC 3032), and what follows the last label, which no field names.

use flow::Tunnel;

use crate::packet::{Captured, Layer, Skip, Step};

/// Opens one label.
pub(crate) fn open<'a>(captured: Captured<'a>, tunnels: &mut Vec<Tunnel>) -> Result<Step<'a>, Skip> {
    let &label = captured.head::<4>()?;
    let inner = captured.skip(4)?;
    tunnels.push(Tunnel::Mpls(u32::from_be_bytes(label) >> 12));
    let bottom = label[2] & 1 == 1;
    if !bottom {
        return Ok(Step::Next(Layer::Mpls, inner));
    }
    // RFC 4928: 4 and 6 in the first nibble mean IP; 0 is a pseudowire's control word, before an Ethernet frame.
    match inner.head::<1>()?[0] >> 4 {
        4 | 6 => Ok(Step::Next(Layer::Ip, inner)),
        0 => Ok(Step::Next(Layer::Ethernet, inner.skip(4)?)),
        _ => Ok(Step::Next(Layer::Ethernet, inner)),
    }
}
