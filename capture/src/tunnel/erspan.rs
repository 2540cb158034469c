//! ERSPAN types II and III (draft-foschiano-erspan): mirrored Ethernet frames inside GRE.

use flow::Tunnel;

use crate::packet::{Captured, Layer, Skip, Step};

/// Opens type II: eight bytes, then the frame.
pub(super) fn open_type_2<'a>(captured: Captured<'a>, tunnels: &mut Vec<Tunnel>) -> Result<Step<'a>, Skip> {
    let &[_, _, s0, s1, ..] = captured.head::<8>()?;
    tunnels.push(Tunnel::Erspan(session(s0, s1)));
    Ok(Step::Next(Layer::Ethernet, captured.skip(8)?))
}

/// Opens type III: twelve bytes, eight more if the last bit says so, then a frame or, if so typed, a bare IP packet.
pub(super) fn open_type_3<'a>(captured: Captured<'a>, tunnels: &mut Vec<Tunnel>) -> Result<Step<'a>, Skip> {
    let &[_, _, s0, s1, .., kind, last] = captured.head::<12>()?;
    tunnels.push(Tunnel::Erspan(session(s0, s1)));
    let header = if last & 1 == 1 { 20 } else { 12 };
    let layer = if (kind >> 2) & 0x1f == 2 { Layer::Ip } else { Layer::Ethernet };
    Ok(Step::Next(layer, captured.skip(header)?))
}

const fn session(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high & 0x03, low])
}
