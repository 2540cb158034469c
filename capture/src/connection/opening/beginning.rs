//! Where the two streams of an opening begin: a SYN tells, or what is acknowledged, or the earliest segment, and each may turn out
//! to be another's; and what is done about holes before that.

use super::super::reassembly::{Piece, Segment, Stream, after, may_precede};
use super::Opening;
use crate::key::Way;

/// How far from a SYN an acknowledgment points that belongs to another SYN: more bytes than an opening has.
const FAR: u32 = 1 << 28;

/// How often the beginning of a connection joined late may turn out to lie earlier: each time all that is held is put in
/// order again.
const REBASES: u8 = 16;

impl Opening {
    /// Tells whether the connection's stream may begin at this sequence number, given what was seen.
    pub(crate) fn may_begin_at(&self, way: Way, sequence: u32) -> bool {
        self.streams.of(way).start.is_none_or(|start| may_precede(sequence, start))
    }

    /// Begins a stream anew where an acknowledgment of it points far away from the SYN that was seen, as long as no
    /// byte of it was: a server may answer each of several SYNs with another number (RFC 9293 section 3.4.1), and the
    /// client has taken one of them.
    #[inline]
    pub(super) fn restart(&mut self, way: Way, acknowledged: u32) {
        let stream = self.streams.of_mut(way);
        let far = stream.start.is_some_and(|start| acknowledged.wrapping_sub(start) >= FAR);
        if far && !stream.begun() && !stream.has_hole() && !stream.is_acknowledged() {
            *stream = Stream::starting_at(acknowledged);
        }
    }

    /// Notes where a SYN says that a stream begins.
    pub(crate) fn begins_at(&mut self, way: Way, sequence: u32) {
        *self.told.of_mut(way) = true;
        self.streams.of_mut(way.other()).heard = true;
        match self.streams.of(way).start {
            None => self.streams.of_mut(way).start = Some(sequence),
            Some(start) if start == sequence => {}
            Some(_) => self.rebase(way, sequence),
        }
        self.stirred = true;
    }

    /// Notes where the answer to a SYN says that a stream begins, the SYN itself not being there.
    pub(crate) fn may_have_begun_at(&mut self, way: Way, sequence: u32) {
        self.streams.of_mut(way).start.get_or_insert(sequence);
    }

    /// Tells whether a direction does not begin here, since it has begun elsewhere by a SYN, and went on from there.
    pub(crate) fn is_stray_beginning(&self, way: Way, sequence: u32) -> bool {
        let stream = self.streams.of(way);
        *self.told.of(way) && stream.start != Some(sequence) && (stream.begun() || stream.is_acknowledged())
    }

    /// Draws the consequences of holes that will not fill.
    pub(super) fn holes(&mut self) {
        for way in [Way::Up, Way::Down] {
            if !self.streams.of(way).gap {
                continue;
            }
            let begun = self.streams.of(way).begun();
            if self.tls.is_none() && !begun && self.streams.of(way).has_hole() {
                // The opening is lost, but what follows it may still show what the connection is.
                self.late = true;
                self.seen_as = None;
                self.fresh = true;
                let Self { streams, held, .. } = self;
                streams.of_mut(way).resume(&mut |piece| held.of_mut(way).keep(&piece));
            }
        }
    }

    /// Begins a stream of a connection joined late with a segment that lies before it, unless that happened too often: what comes
    /// before is left out then.
    pub(super) fn begin_earlier(&mut self, way: Way, sequence: u32) {
        if self.rebased < REBASES {
            self.rebased = self.rebased.saturating_add(1);
            self.rebase(way, sequence);
        } else if !self.late {
            self.late = true;
            self.seen_as = None;
        }
    }

    /// Starts a stream earlier than was thought: what is held becomes what waits.
    fn rebase(&mut self, way: Way, sequence: u32) {
        // The opening begins elsewhere: nothing said of it holds.
        self.seen_as = None;
        if self.tls.is_some() {
            let stream = self.streams.of_mut(way);
            if !stream.begun() && !stream.has_hole() {
                stream.begin_anew(sequence);
            } else {
                // What was read as its beginning is not.
                stream.gap |= stream.start.is_some_and(|start| after(start, sequence));
            }
            return;
        }
        let old = self.streams.of(way).start.unwrap_or(sequence);
        let held = std::mem::take(self.held.of_mut(way));
        self.streams.of_mut(way).begin_anew(sequence);
        let mut at = old;
        for Piece { payload, origin } in held.pieces() {
            self.push(way, Segment { sequence: at, payload, origin });
            at = at.wrapping_add(u32::try_from(payload.on_wire()).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use flow::Transport;

    use super::super::super::reassembly::Origin;
    use super::*;
    use crate::packet::Captured;

    #[test]
    fn a_stream_begins_where_it_is_acknowledged_if_its_syn_was_another() {
        let mut opening = Opening::new(Transport::Tcp, Way::Up);
        opening.begins_at(Way::Up, 1000);
        opening.begins_at(Way::Down, 3_212_050_951);
        let mut send = |way, sequence, acknowledgment, bytes| {
            let origin = Origin { packet: 0, acknowledgment: Some(acknowledgment) };
            let payload = Captured { bytes, missing: 0 };
            opening.segment(way, Segment { sequence, payload, origin }, true);
        };
        send(Way::Up, 1000, 97_577_739, b"hello");
        send(Way::Down, 97_577_739, 1005, b"who");
        // Once bytes came, nothing moves the stream.
        send(Way::Up, 1005, 3_212_050_951, b"");
        assert_eq!(opening.held.of(Way::Down).bytes, b"who");
        assert_eq!(opening.held.of(Way::Up).bytes, b"hello");
        assert_eq!(opening.streams.of(Way::Down).next(), Some(97_577_742));
    }

    #[test]
    fn a_beginning_moves_only_so_often() {
        let mut opening = Opening::new(Transport::Tcp, Way::Up);
        for at in (1000..1100).rev() {
            let payload = Captured { bytes: b"a", missing: 0 };
            let origin = Origin { packet: 0, acknowledgment: None };
            opening.segment(Way::Up, Segment { sequence: at, payload, origin }, false);
        }
        assert_eq!(opening.held.of(Way::Up).bytes.len(), 1 + usize::from(REBASES));
        assert!(opening.late, "what was left out is missing");
    }
}
