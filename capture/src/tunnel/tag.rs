//! Tags of bridges and fabrics between an Ethernet header and what it carries. They steer, and leave no trace in a flow.

use crate::packet::{Captured, Layer, Skip, Step};

/// Opens the tag that an `EtherType` announces.
pub(crate) fn open(kind: u16, captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    // How long the tag is, after which another `EtherType` stands.
    let length = match kind {
        // High-availability seamless redundancy (IEC 62439-3): path, size, sequence number.
        0x892f => 4,
        // Frame replication (IEEE 802.1CB): a sequence number.
        0xf1c1 => 4,
        // VN-Tag of network adapters, and IEEE 802.1BR's of bridge ports.
        0x8926 => 4,
        0x893f => 6,
        _ => return frame(kind, captured),
    };
    let inner = captured.skip(length)?;
    Ok(Step::Next(Layer::EtherType(u16::from_be_bytes(*inner.head::<2>()?)), inner.skip(2)?))
}

/// Opens a tag before a whole Ethernet frame.
fn frame(kind: u16, captured: Captured<'_>) -> Result<Step<'_>, Skip> {
    let length = match kind {
        // Backbone service instance (IEEE 802.1ah).
        0x88e7 => 4,
        // TRILL (RFC 6325 section 3): the number of option words is in the low five bits, spread over two bytes.
        0x22f3 => {
            let &[high, low, ..] = captured.head::<6>()?;
            if high >> 6 != 0 {
                return Err(Skip::NotIp);
            }
            let words = usize::from(u16::from_be_bytes([high, low]) >> 6 & 0x1f);
            words.saturating_mul(4).saturating_add(6)
        }
        // FabricPath: tree and hops.
        0x8903 => 2,
        // batman-adv's unicast packet, version 15: kind, version, hops, table version, destination.
        0x4305 => match captured.head::<10>()? {
            [0x40, 15, ..] => 10,
            _ => return Err(Skip::NotIp),
        },
        _ => return Err(Skip::NotIp),
    };
    Ok(Step::Next(Layer::Ethernet, captured.skip(length)?))
}
