//! IP datagrams put together from fragments (RFC 791, RFC 8200 section 4.5), within bounds.
//!
//! The first copy of a byte wins, whatever overlaps it: what a receiver makes of an overlap differs by system, and the
//! answer must not depend on which one it is. A datagram whose pieces do not all come within half a minute is counted as
//! lost, and so is the oldest one when there are too many.

use std::collections::VecDeque;

use flow::Timestamp;
use hashbrown::HashMap;

use crate::packet::{Fragment, Network};

/// The most pieces of one datagram.
const MAX_PIECES: usize = 256;

/// The longest datagram that IP's length field can say.
const MAX_LENGTH: usize = 65_535;

/// How long pieces wait, in nanoseconds of capture time.
const LIFETIME: i64 = 30_000_000_000;

/// The datagrams being put together.
#[derive(Debug)]
pub(crate) struct Fragments {
    /// How many there may be, of up to [`MAX_LENGTH`] bytes each.
    most: usize,
    waiting: HashMap<Network, Datagram>,
    /// When each datagram began, in that order; those that became whole since then are still in it.
    begun: VecDeque<(Timestamp, Network, u64)>,
    /// How many datagrams were begun.
    count: u64,
    /// Datagrams that gave way to newer ones, not yet reported.
    lost: usize,
}

#[derive(Debug)]
struct Datagram {
    /// Which one it is, as a later datagram may have the same key.
    number: u64,
    /// Pieces by offset, without overlaps.
    pieces: Vec<(usize, Vec<u8>)>,
    length: Option<usize>,
}

/// What adding a fragment came to.
pub(crate) enum Added {
    /// The datagram is whole: its payload.
    Whole(Vec<u8>),
    Waiting,
    /// No room, more than a datagram can hold, or not all captured.
    Refused,
}

impl Fragments {
    /// Puts so many datagrams together at a time, at least one.
    pub(crate) fn bounded(most: usize) -> Self {
        Self { most: most.max(1), waiting: HashMap::new(), begun: VecDeque::new(), count: 0, lost: 0 }
    }

    pub(crate) fn add(&mut self, fragment: &Fragment<'_>, at: Timestamp) -> Added {
        let end = fragment.offset.saturating_add(fragment.piece.bytes.len());
        if fragment.piece.missing > 0 || end > MAX_LENGTH {
            return Added::Refused;
        }
        // Pieces of one datagram agree in everything but, after the first, the next header.
        let key = Network { protocol: 0, ..fragment.network };
        if !self.waiting.contains_key(&key) {
            self.begin(key, at);
        }
        let Some(datagram) = self.waiting.get_mut(&key) else { return Added::Refused };
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

    /// Drops what has waited too long; returns how many datagrams were lost since the last time. Costs nothing while
    /// nothing is due.
    pub(crate) fn expire(&mut self, now: Timestamp) -> usize {
        while let Some((since, ..)) = self.begun.front()
            && now.since(*since) >= LIFETIME
        {
            self.drop_first();
        }
        std::mem::take(&mut self.lost)
    }

    /// Drops everything; returns how many datagrams were lost since the last time.
    pub(crate) fn finish(&mut self) -> usize {
        let lost = self.waiting.len().saturating_add(self.lost);
        *self = Self::bounded(self.most);
        lost
    }

    fn begin(&mut self, key: Network, at: Timestamp) {
        while self.waiting.len() >= self.most && !self.begun.is_empty() {
            self.drop_first();
        }
        if self.begun.len() >= self.most.saturating_mul(2) {
            let waiting = &self.waiting;
            self.begun.retain(|(_, key, number)| waiting.get(key).is_some_and(|it| it.number == *number));
        }
        self.count = self.count.saturating_add(1);
        self.begun.push_back((at, key, self.count));
        self.waiting.insert(key, Datagram { number: self.count, pieces: Vec::new(), length: None });
    }

    fn drop_first(&mut self) {
        if let Some((_, key, number)) = self.begun.pop_front()
            && self.waiting.get(&key).is_some_and(|datagram| datagram.number == number)
        {
            self.waiting.remove(&key);
            self.lost = self.lost.saturating_add(1);
        }
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

    const MOST: usize = 100;

    fn piece(identification: u32, offset: usize, more: bool, bytes: &[u8]) -> Fragment<'_> {
        let address = "192.0.2.1".parse().unwrap();
        let network = Network { source: address, destination: address, protocol: 6, identification };
        Fragment { network, offset, more, piece: Captured { bytes, missing: 0 } }
    }

    fn check(pieces: &[(usize, bool, &str)], expected: Option<&str>) {
        let mut fragments = Fragments::bounded(MOST);
        let mut whole = None;
        for (offset, more, text) in pieces {
            let fragment = piece(7, *offset, *more, text.as_bytes());
            if let Added::Whole(bytes) = fragments.add(&fragment, Timestamp::default()) {
                whole = Some(String::from_utf8(bytes).unwrap());
            }
        }
        assert_eq!(whole.as_deref(), expected, "{pieces:?}");
    }

    #[test]
    fn pieces_that_stay_alone_are_lost_in_time() {
        let mut fragments = Fragments::bounded(MOST);
        let at = |seconds: i64| Timestamp::from_nanos(seconds * 1_000_000_000);
        fragments.add(&piece(1, 0, true, b"abcdefgh"), at(0));
        fragments.add(&piece(2, 0, true, b"abcdefgh"), at(10));
        fragments.add(&piece(3, 0, true, b"abcdefgh"), at(10));
        assert!(matches!(fragments.add(&piece(2, 8, false, b"i"), at(11)), Added::Whole(_)));
        // The same identification again is another datagram.
        fragments.add(&piece(2, 0, true, b"abcdefgh"), at(20));
        assert_eq!(fragments.expire(at(29)), 0);
        assert_eq!(fragments.expire(at(30)), 1);
        assert_eq!(fragments.expire(at(40)), 1);
        assert_eq!(fragments.finish(), 1);
        assert_eq!(fragments.finish(), 0);
    }

    #[test]
    fn too_many_datagrams_cost_the_oldest_and_are_counted() {
        let mut fragments = Fragments::bounded(MOST);
        for number in 0..5_000 {
            fragments.add(&piece(number, 0, true, b"abcdefgh"), Timestamp::default());
            let whole = fragments.add(&piece(100_000 + number, 0, false, b"a"), Timestamp::default());
            assert!(matches!(whole, Added::Whole(_)));
            assert!(fragments.waiting.len() <= MOST);
            assert!(fragments.begun.len() <= 2 * MOST);
        }
        let lost = fragments.expire(Timestamp::default());
        assert_eq!(lost + fragments.waiting.len(), 5_000);
        assert!(fragments.waiting.len() >= MOST - 1);
        assert!(matches!(
            fragments.add(&piece(4_999, 8, false, b"i"), Timestamp::default()),
            Added::Whole(_)
        ));
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
