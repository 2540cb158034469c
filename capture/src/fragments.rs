//! IP datagrams put together from fragments (RFC 791, RFC 8200 section 4.5), within bounds.
//!
//! The first copy of a byte wins. A datagram whose pieces do not all come within half a minute is counted as lost.

use flow::Timestamp;
use hashbrown::HashMap;

use crate::packet::{Fragment, Network};

/// The most datagrams being put together at a time.
const MAX_DATAGRAMS: usize = 1024;

/// The most pieces of one datagram.
const MAX_PIECES: usize = 256;

/// The longest datagram that IP's length field can say.
const MAX_LENGTH: usize = 65_535;

/// How long pieces wait, in nanoseconds of capture time.
const LIFETIME: i64 = 30_000_000_000;

/// The datagrams being put together.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    waiting: HashMap<Network, Datagram>,
}

#[derive(Debug)]
struct Datagram {
    since: Timestamp,
    /// Pieces by offset, without overlaps.
    pieces: Vec<(usize, Vec<u8>)>,
    length: Option<usize>,
}

/// What adding a fragment came to.
pub(crate) enum Added {
    /// The datagram is whole: its payload.
    Whole(Vec<u8>),
    Waiting,
    /// No room, or the piece is not all captured.
    Refused,
}

impl Fragments {
    pub(crate) fn add(&mut self, fragment: &Fragment<'_>, at: Timestamp) -> Added {
        let end = fragment.offset.saturating_add(fragment.piece.bytes.len());
        if fragment.piece.missing > 0 || end > MAX_LENGTH {
            return Added::Refused;
        }
        // Pieces of one datagram agree in everything but, after the first, the next header.
        let key = Network { protocol: 0, ..fragment.network };
        if self.waiting.len() >= MAX_DATAGRAMS && !self.waiting.contains_key(&key) {
            return Added::Refused;
        }
        let datagram = self.waiting.entry(key).or_insert_with(|| Datagram {
            since: at,
            pieces: Vec::new(),
            length: None,
        });
        if datagram.pieces.len() >= MAX_PIECES {
            return Added::Refused;
        }
        if !fragment.more {
            datagram.length.get_or_insert(end);
        }
        datagram.place(fragment.offset, fragment.piece.bytes);
        if !datagram.whole() {
            return Added::Waiting;
        }
        let Some(datagram) = self.waiting.remove(&key) else { return Added::Waiting };
        let mut payload: Vec<u8> = datagram.pieces.into_iter().flat_map(|(_, bytes)| bytes).collect();
        payload.truncate(datagram.length.unwrap_or(MAX_LENGTH));
        Added::Whole(payload)
    }

    /// Drops what has waited too long; returns how many datagrams that were.
    pub(crate) fn expire(&mut self, now: Timestamp) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|_, datagram| now.since(datagram.since) < LIFETIME);
        before.saturating_sub(self.waiting.len())
    }

    /// Drops everything; returns how many datagrams that were.
    pub(crate) fn finish(&mut self) -> usize {
        let count = self.waiting.len();
        self.waiting.clear();
        count
    }
}

impl Datagram {
    fn place(&mut self, mut offset: usize, mut bytes: &[u8]) {
        let mut index = 0;
        while !bytes.is_empty() {
            let Some((begin, existing)) = self.pieces.get(index) else {
                self.pieces.push((offset, bytes.to_vec()));
                return;
            };
            let end = begin.saturating_add(existing.len());
            if offset < *begin {
                let free = begin.saturating_sub(offset).min(bytes.len());
                let (part, rest) = bytes.split_at_checked(free).unwrap_or((bytes, &[]));
                self.pieces.insert(index, (offset, part.to_vec()));
                (offset, bytes) = (offset.saturating_add(free), rest);
            } else if offset < end {
                let known = end.saturating_sub(offset).min(bytes.len());
                (offset, bytes) = (offset.saturating_add(known), bytes.get(known..).unwrap_or_default());
            }
            index = index.saturating_add(1);
        }
    }

    fn whole(&self) -> bool {
        let mut next: usize = 0;
        for (offset, bytes) in &self.pieces {
            if *offset != next {
                return false;
            }
            next = next.saturating_add(bytes.len());
        }
        self.length.is_some_and(|length| next >= length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Captured;

    fn check(pieces: &[(usize, bool, &str)], expected: Option<&str>) {
        let address = "192.0.2.1".parse().unwrap();
        let network = Network { source: address, destination: address, protocol: 6, identification: 7 };
        let mut fragments = Fragments::default();
        let mut whole = None;
        for (offset, more, text) in pieces {
            let piece = Captured { bytes: text.as_bytes(), missing: 0 };
            let fragment = Fragment { network, offset: *offset, more: *more, piece };
            if let Added::Whole(bytes) = fragments.add(&fragment, Timestamp::default()) {
                whole = Some(String::from_utf8(bytes).unwrap());
            }
        }
        assert_eq!(whole.as_deref(), expected, "{pieces:?}");
    }

    #[test]
    fn pieces_in_any_order_make_the_datagram() {
        check(&[(0, true, "abcdefgh"), (8, false, "ij")], Some("abcdefghij"));
        check(&[(8, false, "ij"), (0, true, "abcdefgh")], Some("abcdefghij"));
        check(&[(0, true, "abcdefgh"), (0, true, "abcdefgh"), (8, false, "ij")], Some("abcdefghij"));
        check(&[(0, true, "abcdefgh"), (16, false, "ij")], None);
        check(&[(8, false, "XX")], None);
    }

    #[test]
    fn the_first_copy_of_a_byte_wins() {
        check(&[(8, true, "ijkl"), (0, true, "abcdefghXXXX"), (12, false, "m")], Some("abcdefghijklm"));
    }
}
