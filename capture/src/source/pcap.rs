//! The pcap file format (libpcap's savefile): a file header and records, in either byte order. Kuznetzov's patch made the
//! records' header longer and changed the magic number with it; two other tools changed the number alone.

use flow::Timestamp;

use super::file::{Damage, MAX_RECORD, Record, Stop};
use crate::frame::LinkType;

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// The record header of Kuznetzov's patch: an interface index, a protocol and a packet type more.
const PATCHED_RECORD_HEADER: usize = 24;

/// What a pcap file's header says about its records.
pub(super) struct Pcap {
    order: Order,
    link: LinkType,
    /// What one unit of the fractional time field is worth, in nanoseconds: 1,000 or 1.
    unit: i64,
    record_header: usize,
    /// Up to version 2.3 the two lengths of a record may have changed places; the longer one is the wire's.
    lengths_swapped: bool,
}

/// The byte order of the machine that wrote the file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Order {
    #[default]
    Little,
    Big,
}

impl Order {
    pub(super) const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(super) const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(super) const fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

impl Pcap {
    /// Reads the file header, whose magic number has been recognised.
    pub(super) const fn read(header: &[u8; FILE_HEADER]) -> Self {
        let &[a, b, c, d, major_0, major_1, minor_0, minor_1, .., w, x, y, z] = header;
        let order = if matches!(a, 0xa1 | 0x1c) { Order::Big } else { Order::Little };
        let version = (order.u16([major_0, major_1]), order.u16([minor_0, minor_1]));
        let (unit, record_header) = match [a, b, c, d] {
            [0xa1, 0xb2, 0x3c, 0x4d] | [0x4d, 0x3c, 0xb2, 0xa1] => (1, RECORD_HEADER),
            // Ixia's, in hardware and software.
            [0x1c, 0, 1, _] | [_, 1, 0, 0x1c] => (1, RECORD_HEADER),
            [0xa1, 0xb2, 0xcd, 0x34] | [0x34, 0xcd, 0xb2, 0xa1] => (1_000, PATCHED_RECORD_HEADER),
            _ => (1_000, RECORD_HEADER),
        };
        // The upper half of the field holds the length of a frame check sequence, which IP lengths cut off anyway.
        let [low, high] = match order {
            Order::Little => [w, x],
            Order::Big => [z, y],
        };
        Self {
            order,
            link: LinkType(u16::from_le_bytes([low, high])),
            unit,
            record_header,
            lengths_swapped: matches!(version, (0..2, _) | (2, 0..=3)),
        }
    }

    /// Finds whole records from the start of `bytes` on; returns how many bytes they took, and why there are no more.
    pub(super) fn scan(&self, bytes: &[u8], records: &mut Vec<Record>, most: usize) -> (usize, Stop) {
        records.reserve(most.saturating_sub(records.len()));
        match self.order {
            // Asked once, not of every record; most files are of this kind.
            Order::Little if !self.lengths_swapped => self.records(u32::from_le_bytes, bytes, records, most),
            order @ (Order::Little | Order::Big) => {
                self.records(|word| order.u32(word), bytes, records, most)
            }
        }
    }

    #[inline]
    fn records(
        &self,
        word: impl Fn([u8; 4]) -> u32,
        bytes: &[u8],
        records: &mut Vec<Record>,
        most: usize,
    ) -> (usize, Stop) {
        let mut taken: usize = 0;
        while records.len() < most {
            let rest = bytes.get(taken..).unwrap_or_default();
            let Some(&[s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, o0, o1, o2, o3]) = rest.first_chunk()
            else {
                return (taken, Stop::Short(self.record_header));
            };
            let mut captured = word([c0, c1, c2, c3]);
            let mut original_len = word([o0, o1, o2, o3]);
            if self.lengths_swapped && captured > original_len {
                (captured, original_len) = (original_len, captured);
            }
            let whole = self.record_header.saturating_add(captured as usize);
            if rest.len() < whole {
                if captured as usize > MAX_RECORD {
                    let damage = Damage::Record(format!("a packet claims {captured} captured bytes"));
                    return (taken, Stop::Damaged(damage));
                }
                return (taken, Stop::Short(whole));
            }
            let seconds = i64::from(word([s0, s1, s2, s3]));
            let fraction = i64::from(word([f0, f1, f2, f3]));
            // Neither passes what 63 bits hold.
            let nanos = seconds.wrapping_mul(1_000_000_000).wrapping_add(fraction.wrapping_mul(self.unit));
            let from = taken.saturating_add(self.record_header);
            records.push(Record {
                at: Timestamp::from_nanos(nanos),
                link: self.link,
                interface: 0,
                original_len,
                from: u32::try_from(from).unwrap_or(u32::MAX),
                captured,
            });
            taken = taken.saturating_add(whole);
        }
        (taken, Stop::Enough)
    }
}
