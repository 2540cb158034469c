//! One direction of a TCP connection put in order, for as long as its opening matters.
//!
//! In come segments as captured; out come pieces in stream order. The first copy of a byte wins, because that is the
//! one a receiver has acted on. What comes early waits, within a bound; a hole that does not fill ends the stream.

use crate::packet::Captured;

/// The most bytes that wait for a hole to fill, in one direction.
const WAITING_BYTES: usize = 128 * 1024;

/// The most segments that wait for a hole to fill, in one direction.
const WAITING_SEGMENTS: usize = 256;

/// How many packets of the connection may pass after the receiver acknowledged bytes that are not here, before they
/// count as lost. Captures of several queues or interfaces deliver packets a little out of order.
const PATIENCE: u32 = 64;

/// How far ahead of what its receiver has no sender is: the largest window there is (RFC 7323 section 2.3).
const WINDOW: u32 = 1 << 30;

/// A TCP segment with payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub(crate) sequence: u32,
    pub(crate) payload: Captured<'a>,
    pub(crate) origin: Origin,
}

/// The packet that bytes came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// Its number within the connection.
    pub(crate) packet: u32,
    /// What it acknowledges.
    pub(crate) acknowledgment: Option<u32>,
}

/// The next bytes of the stream, and how many followed them on the wire only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) payload: Captured<'a>,
    pub(crate) origin: Origin,
}

/// The order of one direction.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The sequence number of the stream's first byte; absent before anything tells it.
    pub(crate) start: Option<u32>,
    /// How many bytes are in order.
    position: u64,
    /// What came early; absent where nothing waits, as it mostly is.
    ahead: Option<Box<Ahead>>,
    /// The lowest and the highest acknowledgment that the other side sent.
    acknowledged: Option<(u32, u32)>,
    patience: u32,
    /// Whether the other side's SYN came by here, so that what it sends does.
    pub(crate) heard: bool,
    /// Whether a segment, and an acknowledgment, came that was too far ahead of the other side. The first one says nothing; where
    /// more come, as much was lost on the way to the capture.
    strayed: bool,
    overshot: bool,
    /// Whether bytes are known to be lost: nothing more comes out.
    pub(crate) gap: bool,
}

/// Segments that wait for a hole to fill, in stream order, and how many bytes of them are held.
#[derive(Debug, Default)]
struct Ahead {
    segments: Vec<Waiting>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    position: u64,
    bytes: Vec<u8>,
    missing: usize,
    origin: Origin,
}

impl Waiting {
    fn end(&self) -> u64 {
        self.position.saturating_add(self.bytes.len() as u64).saturating_add(self.missing as u64)
    }
}

impl Stream {
    /// Begins a stream whose first byte has this sequence number.
    pub(crate) fn starting_at(sequence: u32) -> Self {
        Self { start: Some(sequence), ..Self::default() }
    }

    /// Goes on with a stream of which so many bytes are in order, with nothing missing, and acknowledged up to there.
    pub(crate) fn resumed(start: u32, length: u32, acknowledged: u32) -> Self {
        Self {
            position: u64::from(length),
            acknowledged: Some((start, acknowledged)),
            ..Self::starting_at(start)
        }
    }

    /// Returns where such a stream starts, and up to where it was acknowledged; `None` of any other.
    pub(crate) fn in_order(&self) -> Option<(u32, u32)> {
        let missing = self.gap
            || self.has_hole()
            || self.patience > 0
            || self.strayed
            || self.overshot
            || self.lacks_beginning()
            || self.lacks_acknowledged();
        if missing { None } else { self.start.zip(self.acknowledged.map(|(_, highest)| highest)) }
    }

    /// Forgets every byte, and begins at this sequence number. What the other side acknowledged stays acknowledged: it
    /// tells what is missing.
    pub(crate) fn begin_anew(&mut self, sequence: u32) {
        *self = Self { acknowledged: self.acknowledged, ..Self::starting_at(sequence) };
    }

    /// Returns the sequence number of the next byte in order.
    pub(crate) fn next(&self) -> Option<u32> {
        self.start.map(|start| start.wrapping_add(low_half(self.position)))
    }

    /// Returns the same; of a stream of which nothing is known but what the other side acknowledged, the first of that.
    pub(crate) fn expected(&self) -> Option<u32> {
        self.next().or_else(|| self.acknowledged.map(|(lowest, _)| lowest))
    }

    /// Tells whether the other side acknowledged bytes before the first one here.
    pub(crate) fn lacks_beginning(&self) -> bool {
        matches!((self.start, self.acknowledged), (Some(start), Some((lowest, _))) if after(start, lowest))
    }

    /// Returns how many bytes are in order.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// Returns how many bytes are held for a hole to fill.
    pub(crate) fn held(&self) -> usize {
        self.ahead.as_ref().map_or(0, |ahead| ahead.bytes)
    }

    /// Tells whether anything has come out.
    pub(crate) const fn begun(&self) -> bool {
        self.position > 0
    }

    /// Notes an acknowledgment by the other side, and whether it has been ahead of the bytes here for too long.
    pub(crate) fn acknowledge(&mut self, acknowledgment: Option<u32>) {
        if let Some(number) = acknowledgment
            && (!self.is_beyond(number) || std::mem::replace(&mut self.overshot, true))
        {
            let (lowest, highest) = self.acknowledged.get_or_insert((number, number));
            if after(number, *highest) {
                *highest = number;
            } else if after(*lowest, number) {
                *lowest = number;
            }
        }
        if self.lacks_acknowledged() {
            self.patience = self.patience.saturating_add(1);
            if self.patience > PATIENCE {
                self.gap = true;
            }
        } else {
            self.patience = 0;
        }
    }

    /// Tells whether the other side acknowledged anything of it, be it only its SYN.
    pub(crate) const fn is_acknowledged(&self) -> bool {
        self.acknowledged.is_some()
    }

    /// Tells whether a sequence number is further ahead than any window goes.
    fn is_beyond(&self, sequence: u32) -> bool {
        self.expected().is_some_and(|next| after(sequence, next) && sequence.wrapping_sub(next) >= WINDOW)
    }

    /// Tells whether a segment is too far ahead for its receiver, where anything tells how far that is. Says so once.
    fn is_far(&mut self, sequence: u32) -> bool {
        (self.heard || self.acknowledged.is_some())
            && self.is_beyond(sequence)
            && !std::mem::replace(&mut self.strayed, true)
    }

    /// Tells whether a stream cannot end here: its receiver has more of it, or is not nearly there.
    pub(crate) fn is_stray_end(&mut self, end: u32) -> bool {
        let received = self.acknowledged.map(|(_, highest)| highest).or(self.start);
        received.is_some_and(|received| after(received, end.wrapping_add(1))) || self.is_far(end)
    }

    /// Tells whether the receiver has acknowledged bytes that did not come by here.
    pub(crate) fn lacks_acknowledged(&self) -> bool {
        let Some((lowest, highest)) = self.acknowledged else { return false };
        // One beyond the stream may be the sender's FIN.
        after(highest, self.next().unwrap_or(lowest).wrapping_add(1))
    }

    /// Tells whether bytes wait behind a hole.
    pub(crate) const fn has_hole(&self) -> bool {
        self.ahead.is_some()
    }

    /// Returns the first segment that waits.
    fn first_waiting(&self) -> Option<&Waiting> {
        self.ahead.as_ref()?.segments.first()
    }

    /// Takes a segment; what is now in order goes to `out`.
    #[inline]
    pub(crate) fn push(&mut self, segment: Segment<'_>, out: &mut impl FnMut(Piece<'_>)) {
        if self.gap {
            return;
        }
        let start = *self.start.get_or_insert(segment.sequence);
        let next = start.wrapping_add(low_half(self.position));
        if segment.sequence == next && self.ahead.is_none() {
            // What nearly every segment is: the next one.
            self.position = self.position.saturating_add(segment.payload.on_wire() as u64);
            if segment.payload.on_wire() > 0 {
                out(Piece { payload: segment.payload, origin: segment.origin });
            }
            return;
        }
        self.put(start, segment, out);
    }

    /// Puts a segment that is not simply the next one where it belongs.
    fn put(&mut self, start: u32, segment: Segment<'_>, out: &mut impl FnMut(Piece<'_>)) {
        if self.is_far(segment.sequence) {
            return;
        }
        let next = start.wrapping_add(low_half(self.position));
        let ahead = i64::from(segment.sequence.wrapping_sub(next).cast_signed());
        let place = i64::try_from(self.position).unwrap_or(i64::MAX).saturating_add(ahead);
        let Ok(position) = u64::try_from(place) else {
            // It begins before the stream does; what reaches into the stream counts.
            let before = usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX);
            if let Ok(payload) = segment.payload.skip(before) {
                self.place(0, Piece { payload, origin: segment.origin }, out);
            }
            return;
        };
        self.place(position, Piece { payload: segment.payload, origin: segment.origin }, out);
    }

    /// Starts the stream anew at the first waiting bytes, once a hole before them is known to stay.
    pub(crate) fn resume(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        self.gap = false;
        self.patience = 0;
        if let (Some(ahead), Some(start)) = (&mut self.ahead, self.start) {
            let begin = ahead.segments.first().map_or(0, |first| first.position);
            self.start = Some(start.wrapping_add(low_half(begin)));
            for waiting in &mut ahead.segments {
                waiting.position = waiting.position.saturating_sub(begin);
            }
            self.position = 0;
            self.drain(out);
        }
    }

    /// Goes on at a position beyond a hole that will not fill: what is missing before it is not missed.
    pub(crate) fn go_on_at(&mut self, position: u64, out: &mut impl FnMut(Piece<'_>)) {
        self.gap = false;
        self.patience = 0;
        self.position = position;
        self.drain(out);
    }

    fn place(&mut self, mut position: u64, mut piece: Piece<'_>, out: &mut impl FnMut(Piece<'_>)) {
        if position <= self.position {
            let known = usize::try_from(self.position.saturating_sub(position)).unwrap_or(usize::MAX);
            let Ok(payload) = piece.payload.skip(known) else { return };
            if payload.on_wire() == 0 {
                return;
            }
            // Bytes that wait came first and win, so only what lies before them goes out at once.
            let room =
                self.first_waiting().map_or(u64::MAX, |first| first.position.saturating_sub(self.position));
            let length = usize::try_from(room).unwrap_or(usize::MAX).min(payload.on_wire());
            self.position = self.position.saturating_add(length as u64);
            out(Piece { payload: payload.limit(length), ..piece });
            self.drain(out);
            if length < payload.on_wire() {
                self.place(
                    position.saturating_add(known as u64).saturating_add(length as u64),
                    Piece { payload: payload.skip(length).unwrap_or(payload), ..piece },
                    out,
                );
            }
            return;
        }
        let mut index = self
            .ahead
            .as_ref()
            .map_or(0, |ahead| ahead.segments.partition_point(|waiting| waiting.end() <= position));
        while piece.payload.on_wire() > 0 {
            let Some(existing) = self.ahead.as_ref().and_then(|ahead| ahead.segments.get(index)) else {
                self.wait(index, position, piece);
                return;
            };
            let free = usize::try_from(existing.position.saturating_sub(position)).unwrap_or(usize::MAX);
            let end = existing.end();
            if free > 0 {
                let part = piece.payload.limit(free.min(piece.payload.on_wire()));
                self.wait(index, position, Piece { payload: part, ..piece });
                index = index.saturating_add(1);
            }
            let known = usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX);
            let Ok(payload) = piece.payload.skip(known) else { return };
            piece = Piece { payload, ..piece };
            position = position.max(end);
            index = index.saturating_add(1);
        }
    }

    fn wait(&mut self, index: usize, position: u64, piece: Piece<'_>) {
        let ahead = self.ahead.get_or_insert_default();
        if ahead.segments.len() >= WAITING_SEGMENTS || ahead.bytes >= WAITING_BYTES {
            self.gap = true;
            return;
        }
        ahead.bytes = ahead.bytes.saturating_add(piece.payload.bytes.len());
        let bytes = piece.payload.bytes.to_vec();
        let waiting = Waiting { position, bytes, missing: piece.payload.missing, origin: piece.origin };
        ahead.segments.insert(index, waiting);
    }

    fn drain(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        let Some(ahead) = &mut self.ahead else { return };
        let mut used = 0_usize;
        for waiting in &ahead.segments {
            if waiting.position > self.position {
                break;
            }
            used = used.saturating_add(1);
            ahead.bytes = ahead.bytes.saturating_sub(waiting.bytes.len());
            let known = usize::try_from(self.position.saturating_sub(waiting.position)).unwrap_or(usize::MAX);
            let payload = Captured { bytes: &waiting.bytes, missing: waiting.missing };
            if let Ok(payload) = payload.skip(known)
                && payload.on_wire() > 0
            {
                self.position = self.position.saturating_add(payload.on_wire() as u64);
                out(Piece { payload, origin: waiting.origin });
            }
        }
        if used == ahead.segments.len() {
            self.ahead = None;
        } else {
            ahead.segments.drain(..used);
        }
    }
}

/// How far before the first segment seen a late one may begin and still count as the connection's opening: a segment as long as
/// any, which the first one overtook. What lies further back was received long ago, or by nobody.
const LATE: u32 = 1 << 16;

/// Tells whether a stream may begin at this sequence number, given the first one seen.
pub(crate) const fn may_precede(sequence: u32, seen: u32) -> bool {
    seen.wrapping_sub(sequence) < LATE
}

/// Tells whether sequence number `a` lies after `b` (RFC 9293 section 3.4).
pub(crate) const fn after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

#[expect(clippy::cast_possible_truncation, reason = "sequence numbers are positions modulo 2 to the 32")]
const fn low_half(position: u64) -> u32 {
    position as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes segments given as (sequence, text) after a start at 100.
    fn check(segments: &[(u32, &str)], expected: &str) {
        let mut stream = Stream::starting_at(100);
        let mut read = Vec::new();
        for (packet, (sequence, text)) in (0..).zip(segments) {
            let payload = Captured { bytes: text.as_bytes(), missing: 0 };
            let origin = Origin { packet, acknowledgment: None };
            stream.push(Segment { sequence: *sequence, payload, origin }, &mut |piece| {
                read.extend_from_slice(piece.payload.bytes);
            });
        }
        assert_eq!(String::from_utf8(read).unwrap(), expected, "{segments:?}");
    }

    #[test]
    fn order_repeats_and_overlaps_do_not_matter() {
        check(&[(100, "abc"), (103, "def")], "abcdef");
        check(&[(103, "def"), (100, "abc")], "abcdef");
        check(&[(100, "abc"), (100, "abc"), (103, "def")], "abcdef");
        check(&[(100, "abc"), (99, "?abcde")], "abcde");
        check(&[(106, "ghi"), (103, "def"), (100, "abc")], "abcdefghi");
        check(&[(104, "ef"), (108, "ij"), (100, "abcdefghij")], "abcdefghij");
    }

    #[test]
    fn the_first_copy_of_a_byte_wins() {
        check(&[(100, "abc"), (101, "XYd")], "abcd");
        check(&[(102, "c"), (100, "abXd")], "abcd");
        check(&[(102, "cd"), (101, "XXXXe"), (100, "a")], "aXcdXe");
    }

    #[test]
    fn a_hole_stays_a_hole() {
        check(&[(100, "abc"), (104, "e")], "abc");
    }

    #[test]
    fn acknowledged_bytes_that_never_came_are_a_gap_after_some_patience() {
        let mut stream = Stream::starting_at(100);
        stream.acknowledge(Some(101));
        assert!(!stream.lacks_acknowledged(), "one beyond may be the FIN");
        for _ in 0..=PATIENCE {
            assert!(!stream.gap);
            stream.acknowledge(Some(150));
        }
        assert!(stream.gap);
    }
}
