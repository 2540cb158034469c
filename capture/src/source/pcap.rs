//! The pcap file format (libpcap's savefile): a file header and records, in either byte order.

use std::io::Read;

use flow::Timestamp;

use super::file::{Buffer, Damage, FileError, MAX_RECORD, Record};
use crate::frame::LinkType;

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// The state of a pcap file between records.
pub(super) struct Pcap {
    order: Order,
    link: LinkType,
    /// What one unit of the fractional time field is worth, in nanoseconds: 1,000 or 1.
    unit: i64,
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
}

impl Pcap {
    /// Reads the file header, whose magic number has been recognised.
    pub(super) fn read(input: &mut Buffer<impl Read>) -> Result<Self, FileError> {
        let header = input.take(FILE_HEADER).map_err(|damage| FileError { offset: 0, packets: 0, damage })?;
        let [a, b, c, d, ref middle @ .., w, x, y, z] = *header else {
            return Err(FileError { offset: 0, packets: 0, damage: Damage::Truncated });
        };
        let _ = middle;
        let order = if a == 0xa1 { Order::Big } else { Order::Little };
        let unit = if matches!([a, b, c, d], [0xa1, 0xb2, 0x3c, 0x4d] | [0x4d, 0x3c, 0xb2, 0xa1]) {
            1
        } else {
            1_000
        };
        // The upper half of the field holds the length of a frame check sequence, which IP lengths cut off anyway.
        let [low, high] = match order {
            Order::Little => [w, x],
            Order::Big => [z, y],
        };
        Ok(Self { order, link: LinkType(u16::from_le_bytes([low, high])), unit })
    }

    /// Takes the next record; nothing at the end of the file.
    pub(super) fn next(&self, input: &mut Buffer<impl Read>) -> Result<Option<Record>, Damage> {
        let Ok(header) = input.peek(RECORD_HEADER) else {
            return if input.at_end()? { Ok(None) } else { Err(Damage::Truncated) };
        };
        let Some(&[s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, o0, o1, o2, o3]) = header.first_chunk()
        else {
            return Err(Damage::Truncated);
        };
        let captured = self.order.u32([c0, c1, c2, c3]) as usize;
        if captured > MAX_RECORD {
            return Err(Damage::Record(format!("a packet claims {captured} captured bytes")));
        }
        input.take(RECORD_HEADER.saturating_add(captured))?;
        let seconds = i64::from(self.order.u32([s0, s1, s2, s3]));
        let fraction = i64::from(self.order.u32([f0, f1, f2, f3]));
        let nanos = seconds.saturating_mul(1_000_000_000).saturating_add(fraction.saturating_mul(self.unit));
        Ok(Some(Record {
            at: Timestamp::from_nanos(nanos),
            link: self.link,
            interface: 0,
            original_len: self.order.u32([o0, o1, o2, o3]),
            skip: RECORD_HEADER,
            captured,
        }))
    }
}
