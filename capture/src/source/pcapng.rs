//! The pcapng file format (draft-ietf-opsawg-pcapng): sections, interfaces, packet blocks.
//!
//! Blocks of other kinds are stepped over. Decryption-secrets blocks are among them on purpose: nothing here decrypts,
//! even where a capture brings the keys.

use flow::Timestamp;

use super::file::{Damage, MAX_RECORD, Record, Stop};
use super::pcap::Order;
use crate::frame::LinkType;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// The most interfaces that a file may introduce, over all its sections.
const MAX_INTERFACES: usize = 65_536;

/// How much of an interface's name is kept, in bytes.
const MAX_NAME: usize = 256;

/// The state of a pcapng file between blocks.
#[derive(Default)]
pub(super) struct Pcapng {
    order: Order,
    /// The interfaces of every section so far, so that a number means one interface throughout the file.
    interfaces: Vec<Interface>,
    /// Where the interfaces of the current section begin.
    section: usize,
}

struct Interface {
    link: LinkType,
    snap_length: u32,
    name: Option<String>,
    resolution: Resolution,
    /// Seconds to add to every time (`if_tsoffset`).
    offset: i64,
    /// Packets that the recorder's latest statistics say it lost; absent without any.
    dropped: Option<u64>,
}

/// What one unit of an interface's timestamps is (`if_tsresol`).
#[derive(Clone, Copy)]
enum Resolution {
    /// 10 to the minus this, in seconds.
    Decimal(u32),
    /// 2 to the minus this, in seconds.
    Binary(u32),
}

impl Resolution {
    fn nanos(self, ticks: u64) -> i64 {
        // What nearly every file has, without the wide arithmetic that the others need.
        match (self, i64::try_from(ticks)) {
            (Self::Decimal(6), Ok(ticks)) => return ticks.saturating_mul(1_000),
            (Self::Decimal(9), Ok(ticks)) => return ticks,
            _ => {}
        }
        let ticks = i128::from(ticks);
        let nanos = match self {
            Self::Decimal(digits @ 0..=9) => {
                ticks.saturating_mul(10_i128.saturating_pow(9_u32.saturating_sub(digits)))
            }
            Self::Decimal(digits) => {
                ticks.checked_div(10_i128.saturating_pow(digits.saturating_sub(9))).unwrap_or_default()
            }
            Self::Binary(bits) => ticks.saturating_mul(1_000_000_000).checked_shr(bits).unwrap_or_default(),
        };
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }
}

impl Pcapng {
    pub(super) fn dropped(&self) -> Option<u64> {
        self.interfaces.iter().filter_map(|interface| interface.dropped).reduce(u64::saturating_add)
    }

    pub(super) fn interface_name(&self, interface: u32) -> Option<&str> {
        self.interfaces.get(interface as usize)?.name.as_deref()
    }

    /// Finds the packets in whole blocks from the start of `bytes` on; returns how many bytes the blocks took, and why
    /// there are no more.
    pub(super) fn scan(&mut self, bytes: &[u8], records: &mut Vec<Record>, most: usize) -> (usize, Stop) {
        let mut taken: usize = 0;
        while records.len() < most {
            let rest = bytes.get(taken..).unwrap_or_default();
            let (kind, length) = match self.head(rest) {
                Ok(head) => head,
                Err(stop) => return (taken, stop),
            };
            let Some(block) = rest.get(..length) else { return (taken, Stop::Short(length)) };
            match self.block(kind, block) {
                Ok(Some(record)) => {
                    let from = u32::try_from(taken).unwrap_or(u32::MAX).saturating_add(record.from);
                    records.push(Record { from, ..record });
                }
                Ok(None) => {}
                Err(damage) => return (taken, Stop::Damaged(damage)),
            }
            taken = taken.saturating_add(length);
        }
        (taken, Stop::Enough)
    }

    /// Reads a block's type and length, and the byte order where a section begins.
    fn head(&mut self, bytes: &[u8]) -> Result<(u32, usize), Stop> {
        let Some(&[t0, t1, t2, t3, l0, l1, l2, l3]) = bytes.first_chunk() else {
            return Err(Stop::Short(8));
        };
        if u32::from_le_bytes([t0, t1, t2, t3]) == SECTION_HEADER {
            let Some(&[.., m0, m1, m2, m3]) = bytes.first_chunk::<12>() else { return Err(Stop::Short(12)) };
            self.order = match [m0, m1, m2, m3] {
                [0x1a, 0x2b, 0x3c, 0x4d] => Order::Big,
                [0x4d, 0x3c, 0x2b, 0x1a] => Order::Little,
                other => {
                    let text = format!("a section has the byte-order magic {other:02x?}");
                    return Err(Stop::Damaged(Damage::Record(text)));
                }
            };
            self.section = self.interfaces.len();
        }
        let kind = self.order.u32([t0, t1, t2, t3]);
        let length = self.order.u32([l0, l1, l2, l3]) as usize;
        if !(12..=MAX_RECORD).contains(&length) || length & 3 != 0 {
            let text = format!("a block of type {kind} claims a length of {length} bytes");
            return Err(Stop::Damaged(Damage::Record(text)));
        }
        Ok((kind, length))
    }

    /// Reads a whole block; returns the packet in it, if it is of a kind that has one.
    fn block(&mut self, kind: u32, block: &[u8]) -> Result<Option<Record>, Damage> {
        let order = self.order;
        let Some((body, trailer)) = block.get(8..).and_then(|rest| rest.split_last_chunk::<4>()) else {
            return Err(Damage::Truncated);
        };
        if order.u32(*trailer) as usize != block.len() {
            let (length, trailing) = (block.len(), order.u32(*trailer));
            return Err(Damage::Record(format!("a block of {length} bytes ends as one of {trailing}")));
        }
        match kind {
            INTERFACE => {
                if self.interfaces.len() >= MAX_INTERFACES {
                    return Err(Damage::Record(format!("more than {MAX_INTERFACES} interfaces")));
                }
                let interface = Interface::read(order, body)
                    .ok_or_else(|| Damage::Record("an interface block is too short".into()))?;
                self.interfaces.push(interface);
                Ok(None)
            }
            ENHANCED_PACKET => self.packet(body, |&[i0, i1, i2, i3]: &[u8; 4]| order.u32([i0, i1, i2, i3])),
            OBSOLETE_PACKET => self.packet(body, |&[i0, i1, _, _]: &[u8; 4]| u32::from(order.u16([i0, i1]))),
            SIMPLE_PACKET => self.simple_packet(body),
            STATISTICS => {
                self.statistics(body);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Reads an enhanced packet block, or the obsolete one, which differs only in its first four bytes.
    fn packet(&self, body: &[u8], interface: impl Fn(&[u8; 4]) -> u32) -> Result<Option<Record>, Damage> {
        let fixed: [u8; 20] = array(body)?;
        let [i0, i1, i2, i3, h0, h1, h2, h3, l0, l1, l2, l3, c0, c1, c2, c3, o0, o1, o2, o3] = fixed;
        let number = interface(&[i0, i1, i2, i3]);
        let index = self.section.saturating_add(number as usize);
        let Some(interface) = self.interfaces.get(index) else {
            return Err(Damage::Record(format!(
                "a packet names interface {number}, which was not introduced"
            )));
        };
        let captured = self.order.u32([c0, c1, c2, c3]);
        if captured as usize > body.len().saturating_sub(20) {
            return Err(Damage::Record(format!("a packet of {captured} bytes is longer than its block")));
        }
        let high = u64::from(self.order.u32([h0, h1, h2, h3]));
        let ticks = (high << 32) | u64::from(self.order.u32([l0, l1, l2, l3]));
        Ok(Some(Record {
            at: interface.time(ticks),
            link: interface.link,
            interface: u32::try_from(index).unwrap_or(u32::MAX),
            original_len: self.order.u32([o0, o1, o2, o3]),
            from: 28,
            captured,
        }))
    }

    /// Keeps what an interface's statistics say was lost: by the interface and by the system. A block that says nothing
    /// of an interface, or of one that was not introduced, changes nothing.
    fn statistics(&mut self, body: &[u8]) {
        let order = self.order;
        let Some((&[i0, i1, i2, i3, _, _, _, _, _, _, _, _], rest)) = body.split_first_chunk() else {
            return;
        };
        let index = self.section.saturating_add(order.u32([i0, i1, i2, i3]) as usize);
        let Some(interface) = self.interfaces.get_mut(index) else { return };
        let dropped = options(order, rest)
            .filter(|(code, _)| matches!(code, 5 | 7))
            .filter_map(|(_, value)| value.first_chunk().map(|bytes| order.u64(*bytes)))
            .reduce(u64::saturating_add);
        interface.dropped = dropped.or(interface.dropped);
    }

    fn simple_packet(&self, body: &[u8]) -> Result<Option<Record>, Damage> {
        let original_len = self.order.u32(array(body)?);
        let Some(interface) = self.interfaces.get(self.section) else {
            return Err(Damage::Record("a simple packet comes before any interface".into()));
        };
        let snapped = match interface.snap_length {
            0 => original_len,
            limit => original_len.min(limit),
        };
        Ok(Some(Record {
            at: Timestamp::default(),
            link: interface.link,
            interface: u32::try_from(self.section).unwrap_or(u32::MAX),
            original_len,
            from: 12,
            captured: snapped.min(u32::try_from(body.len().saturating_sub(4)).unwrap_or(u32::MAX)),
        }))
    }
}

impl Interface {
    fn read(order: Order, body: &[u8]) -> Option<Self> {
        let (&[l0, l1, _, _, s0, s1, s2, s3], rest) = body.split_first_chunk::<8>()?;
        let mut interface = Self {
            link: LinkType(order.u16([l0, l1])),
            snap_length: order.u32([s0, s1, s2, s3]),
            name: None,
            resolution: Resolution::Decimal(6),
            offset: 0,
            dropped: None,
        };
        for (code, value) in options(order, rest) {
            match (code, value) {
                (2, name) => {
                    let name = name.get(..MAX_NAME).unwrap_or(name);
                    interface.name = Some(String::from_utf8_lossy(name).into_owned());
                }
                (9, &[unit]) if unit & 0x80 == 0 => {
                    interface.resolution = Resolution::Decimal(u32::from(unit));
                }
                (9, &[unit]) => interface.resolution = Resolution::Binary(u32::from(unit & 0x7f)),
                (14, value) => {
                    if let Some(&bytes) = value.first_chunk() {
                        // Two's complement in either byte order.
                        interface.offset = order.u64(bytes).cast_signed();
                    }
                }
                _ => {}
            }
        }
        Some(interface)
    }

    fn time(&self, ticks: u64) -> Timestamp {
        let offset = self.offset.saturating_mul(1_000_000_000);
        Timestamp::from_nanos(self.resolution.nanos(ticks).saturating_add(offset))
    }
}

/// The options at the end of a block: codes and values, up to the end mark or to what is cut.
fn options(order: Order, mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (&[c0, c1, n0, n1], rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::from(order.u16([n0, n1]));
        let value = rest.get(..length)?;
        bytes = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((order.u16([c0, c1]), value)).filter(|(code, _)| *code != 0)
    })
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Damage> {
    bytes.first_chunk().copied().ok_or_else(|| Damage::Record("a block is too short for its kind".into()))
}
