//! The snoop file format (RFC 1761) of Solaris: a file header and records, in network byte order.

use flow::Timestamp;

use super::file::{Damage, MAX_RECORD, Record, Stop};
use crate::frame::LinkType;

const FILE_HEADER: usize = 16;
const RECORD_HEADER: usize = 24;

/// A snoop file of Ethernet frames.
#[derive(Default)]
pub(super) struct Snoop {
    /// Packets that were lost up to the record last found, as its header says.
    pub(super) dropped: u32,
}

impl Snoop {
    /// Reads the file header, whose magic has been recognised.
    pub(super) fn read(header: &[u8; FILE_HEADER]) -> Result<Self, Damage> {
        match header {
            // IEEE 802.3 and Ethernet; one is read as the other.
            [b's', b'n', b'o', b'o', b'p', 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0 | 4] => Ok(Self::default()),
            [b's', b'n', b'o', b'o', b'p', 0, 0, 0, 0, 0, 0, 2, ..] => {
                Err(Damage::Form("snoop of a link that is not Ethernet"))
            }
            _ => Err(Damage::Form("snoop of a version that is not 2")),
        }
    }

    /// Finds whole records from the start of `bytes` on; returns how many bytes they took, and why there are no more.
    pub(super) fn scan(&mut self, bytes: &[u8], records: &mut Vec<Record>, most: usize) -> (usize, Stop) {
        let mut taken: usize = 0;
        while records.len() < most {
            let rest = bytes.get(taken..).unwrap_or_default();
            let Some(
                &[
                    o0,
                    o1,
                    o2,
                    o3,
                    c0,
                    c1,
                    c2,
                    c3,
                    l0,
                    l1,
                    l2,
                    l3,
                    d0,
                    d1,
                    d2,
                    d3,
                    s0,
                    s1,
                    s2,
                    s3,
                    u0,
                    u1,
                    u2,
                    u3,
                ],
            ) = rest.first_chunk()
            else {
                return (taken, Stop::Short(RECORD_HEADER));
            };
            let captured = u32::from_be_bytes([c0, c1, c2, c3]);
            // The record's own length counts its header and the padding after the frame.
            let whole = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
            if whole > MAX_RECORD || whole < RECORD_HEADER.saturating_add(captured as usize) {
                let text = format!("a packet of {captured} bytes is in a record of {whole}");
                return (taken, Stop::Damaged(Damage::Record(text)));
            }
            if rest.len() < whole {
                return (taken, Stop::Short(whole));
            }
            let seconds = i64::from(u32::from_be_bytes([s0, s1, s2, s3]));
            let micros = i64::from(u32::from_be_bytes([u0, u1, u2, u3]));
            let nanos = seconds.saturating_mul(1_000_000_000).saturating_add(micros.saturating_mul(1_000));
            self.dropped = u32::from_be_bytes([d0, d1, d2, d3]);
            records.push(Record {
                at: Timestamp::from_nanos(nanos),
                link: LinkType::ETHERNET,
                interface: 0,
                original_len: u32::from_be_bytes([o0, o1, o2, o3]),
                from: u32::try_from(taken.saturating_add(RECORD_HEADER)).unwrap_or(u32::MAX),
                captured,
            });
            taken = taken.saturating_add(whole);
        }
        (taken, Stop::Enough)
    }
}
