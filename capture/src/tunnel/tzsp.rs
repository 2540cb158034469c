//! TZSP: frames that a wireless sniffer or a router passes on, after tagged fields.

use flow::Tunnel;

use crate::frame::LinkType;
use crate::packet::{Captured, Layer};

/// The most fields of one packet.
const MAX_FIELDS: usize = 64;

/// Opens a packet with a frame; nothing if it has none, or is no TZSP at all.
pub(super) fn open(payload: Captured<'_>) -> Option<(Tunnel, Layer, Captured<'_>)> {
    // Version 1; a frame that was received, or is to be sent.
    let (&[1, 0 | 1, 0, carries], rest) = payload.bytes.split_first_chunk()? else { return None };
    let layer = match carries {
        1 => Layer::Ethernet,
        18 => Layer::Link(LinkType::WIFI),
        _ => return None,
    };
    let mut fields = rest;
    for _ in 0..MAX_FIELDS {
        fields = match *fields {
            [0, ref rest @ ..] => rest,
            [1, ref rest @ ..] => {
                let inner = payload.skip(payload.bytes.len().checked_sub(rest.len())?).ok()?;
                return (inner.on_wire() >= 14).then_some((Tunnel::Tzsp, layer, inner));
            }
            [_, length, ref rest @ ..] => rest.get(usize::from(length)..)?,
            _ => return None,
        };
    }
    None
}
