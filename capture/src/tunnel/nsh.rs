//! The network service header (RFC 8300): a length and what follows. It steers, and identifies nothing, so it leaves no
//! trace in a flow.

use crate::packet::{Captured, Layer, Skip, Step};

/// Opens a network service header.
pub(crate) fn open(captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    let &[version, words, _, next] = captured.head::<4>()?;
    let length = usize::from(words & 0x3f).saturating_mul(4);
    if version >> 6 != 0 || length < 8 {
        return Err(Skip::Malformed);
    }
    let inner = captured.skip(length)?;
    match next {
        1 | 2 => Ok(Step::Next(Layer::Ip, inner)),
        3 => Ok(Step::Next(Layer::Ethernet, inner)),
        5 => Ok(Step::Next(Layer::Mpls, inner)),
        _ => Err(Skip::NotIp),
    }
}
