//! L2TP version 2 (RFC 2661): a header of six bytes and more, then PPP. Version 3 (RFC 3931), in UDP or IP: a session, then
//! what only its two ends have agreed on.

use flow::Tunnel;

use super::prove;
use crate::packet::{Captured, Layer, Skip, Step};

/// Opens a data message; nothing if it is a control message, carries no IP, or is no L2TP at all.
pub(super) fn open(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    let &[flags, version] = payload.head::<2>().ok()?;
    // Not a control message, and the reserved bits are zero.
    if flags == 0 && version == 3 {
        return session(payload.skip(4).ok()?);
    }
    if flags & 0xb4 != 0 || version != 2 {
        return None;
    }
    let mut rest = payload.skip(2).ok()?;
    if flags & 0x40 != 0 {
        let &length = rest.head::<2>().ok()?;
        if usize::from(u16::from_be_bytes(length)) > payload.on_wire() {
            return None;
        }
        rest = rest.skip(2).ok()?;
    }
    let &[_, _, s0, s1] = rest.head::<4>().ok()?;
    rest = rest.skip(4).ok()?;
    if flags & 0x08 != 0 {
        rest = rest.skip(4).ok()?;
    }
    if flags & 0x02 != 0 {
        let &padding = rest.head::<2>().ok()?;
        rest = rest.skip(usize::from(u16::from_be_bytes(padding)).saturating_add(2)).ok()?;
    }
    let ip = matches!(
        rest.bytes,
        [0xff, 0x03, 0x00, 0x21 | 0x57, ..]
            | [0xff, 0x03, 0x21 | 0x57, ..]
            | [0x00, 0x21 | 0x57, ..]
            | [0x21 | 0x57, ..]
    );
    ip.then_some((Tunnel::L2tp(u32::from_be_bytes([0, 0, s0, s1])), Layer::Ppp, rest))
}

/// Opens a packet of version 3 that is in IP directly.
pub(crate) fn open_in_ip<'a>(captured: Captured<'a>, tunnels: &mut Vec<Tunnel>) -> Result<Step<'a>, Skip> {
    let (tunnel, layer, inner) = session(captured).ok_or(Skip::NotTcpOrUdp)?;
    tunnels.push(tunnel);
    Ok(Step::Next(layer, inner))
}

/// Opens a session of version 3. Cookie and sublayer have no field that announces them: a frame is looked for where each of
/// their lengths would put it.
fn session(captured: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    let session = u32::from_be_bytes(*captured.head::<4>().ok()?);
    if session == 0 {
        // A control message.
        return None;
    }
    let inner = [4, 8, 12, 16]
        .into_iter()
        .filter_map(|length| captured.skip(length).ok())
        .find(|inner| prove::ethernet(*inner))?;
    Some((Tunnel::L2tp(session), Layer::Ethernet, inner))
}
