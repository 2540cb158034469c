//! One captured frame, as every source hands it to the engine.

use flow::Timestamp;

/// A frame as captured: its bytes, and what the source knows about them.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// When it was captured.
    pub at: Timestamp,
    /// What the bytes begin with.
    pub link: LinkType,
    /// The number of the interface that saw it, in the order the source introduced them; 0 when there is only one.
    pub interface: u32,
    /// Its length on the wire, in bytes: more than `bytes` holds where a snap length cut it.
    pub original_len: u32,
    /// The bytes at hand.
    pub bytes: &'a [u8],
}

/// The kind of header that frames begin with, by the number that capture files use (`LINKTYPE_...`).
///
/// Any number is valid here: frames of a kind that the engine cannot read are counted, not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: a 4-byte address family in the byte order of the capturing machine.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without its HDLC address and control bytes.
    pub const PPP: Self = Self(9);
    /// IPv4 or IPv6 without a link header.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: a 4-byte address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture.
    pub const LINUX_SLL: Self = Self(113);
    /// IPv4 without a link header.
    pub const IPV4: Self = Self(228);
    /// IPv6 without a link header.
    pub const IPV6: Self = Self(229);
    /// IEEE 802.11.
    pub const WIFI: Self = Self(105);
    /// Linux cooked capture, version 2, which names the interface in every frame.
    pub const LINUX_SLL2: Self = Self(276);
}
