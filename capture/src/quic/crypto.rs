//! The CRYPTO frames of Initial packets, put in order (RFC 9000 section 19.6).

use std::collections::BTreeMap;

use crate::tls::cursor::Cursor;

/// Most CRYPTO bytes kept of a direction.
const MAX_CRYPTO: usize = 32 * 1024;
/// Most pieces kept that wait for an earlier one.
const MAX_PIECES: usize = 64;

/// One direction's CRYPTO stream.
#[derive(Debug, Default)]
pub(super) struct Crypto {
    ready: Vec<u8>,
    waiting: BTreeMap<usize, Vec<u8>>,
}

impl Crypto {
    /// Reads the frames of an opened packet; stops at one that an Initial packet does not have.
    pub(super) fn frames(&mut self, body: &[u8]) {
        let mut at = Cursor(body);
        while let Some(kind) = at.u8() {
            let read = match kind {
                0 | 1 => Some(()),
                2 | 3 => acknowledgement(&mut at, kind == 3),
                // Google's QUIC with TLS numbers the frame 8, which no other Initial packet has.
                6 | 8 => self.frame(&mut at),
                _ => None,
            };
            if read.is_none() {
                return;
            }
        }
    }

    fn frame(&mut self, at: &mut Cursor<'_>) -> Option<()> {
        let offset = usize::try_from(number(at)?).ok()?;
        let length = usize::try_from(number(at)?).ok()?;
        let data = at.take(length)?;
        if offset.checked_add(length)? <= MAX_CRYPTO && self.waiting.len() < MAX_PIECES {
            let kept = self.waiting.entry(offset).or_default();
            if kept.len() < data.len() {
                *kept = data.to_vec();
            }
        }
        while let Some((offset, data)) = self.waiting.first_key_value() {
            let Some(known) = self.ready.len().checked_sub(*offset) else { break };
            self.ready.extend_from_slice(data.get(known..).unwrap_or_default());
            self.waiting.pop_first();
        }
        Some(())
    }

    /// Visits the bodies of the whole messages of this type, in order: a HelloRetryRequest makes two of each hello (RFC
    /// 8446 section 4.1.4).
    pub(super) fn messages(&self, wanted: u8) -> impl Iterator<Item = &[u8]> {
        let mut at = Cursor(&self.ready);
        std::iter::from_fn(move || Some((at.u8()?, at.vector24()?)))
            .filter(move |(kind, _)| *kind == wanted)
            .map(|(_, body)| body)
    }
}

fn acknowledgement(at: &mut Cursor<'_>, counts: bool) -> Option<()> {
    let (_largest, _delay, ranges, _first) = (number(at)?, number(at)?, number(at)?, number(at)?);
    for _ in 0..ranges {
        let (_gap, _length) = (number(at)?, number(at)?);
    }
    if counts {
        for _ in 0..3 {
            number(at)?;
        }
    }
    Some(())
}

/// Reads a variable-length integer (RFC 9000 section 16).
pub(super) fn number(at: &mut Cursor<'_>) -> Option<u64> {
    let first = at.u8()?;
    let more = (1_usize << (first >> 6)).saturating_sub(1);
    let rest = at.take(more)?;
    Some(rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte)))
}
