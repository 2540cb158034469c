//! The opening of a connection: bytes put in order, shown to detection, then fed to the TLS handshake.

mod beginning;
mod held;
mod inside;
mod look;
mod unsettled;
mod waiting;

use std::mem::offset_of;

use flow::{Security, Transport};

use super::datagrams::{Association, Datagrams};
use super::reassembly::{Origin, Piece, Segment, Stream, after, may_precede};
use super::{Settled, side};
use crate::detect::Progress;
use crate::key::{Both, Key, Way};
use crate::packet::Captured;
use crate::prefetch::{leave_out_no_line, prefetch};
use crate::tls::{self, Ending, Probe};
use held::Held;
use inside::Tls;
use look::PATIENCE;
pub(crate) use unsettled::Unsettled;
pub(super) use waiting::Waiting;

/// What the opening says.
pub(crate) enum Answer {
    /// Settled without a handshake.
    Settled(Settled),
    /// The handshake is settled, or has to conclude now.
    Tls,
}

/// The opening of one connection. In front, in this order, what every packet touches.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Opening {
    streams: Both<Stream>,
    tls: Option<Box<Tls>>,
    /// A handshake that comes in datagrams.
    datagrams: Option<Datagrams>,
    /// How many payload bytes are held, as of when that was last told.
    weight: usize,
    /// How many bytes had been seen when detection was last asked.
    asked: u64,
    packets: u32,
    /// What the latest segment each way acknowledges, and its sequence number.
    acknowledges: Both<Option<u32>>,
    sequence: Both<u32>,
    /// How far detection came, which way the client was taken to send then, and whether from its start.
    progress: Progress,
    seen_as: Option<(Way, bool)>,
    closed: Both<Option<Ending>>,
    /// Whether anything came since [`Opening::answer`] was last asked.
    stirred: bool,
    /// Whether anything came since detection was last asked.
    fresh: bool,
    /// Whether the bytes held begin after a hole, so that they are no opening.
    late: bool,
    /// Who sent the first payload byte.
    first: Way,
    transport: Transport,
    /// How often a stream turned out to begin earlier.
    rebased: u8,
    /// Whether a SYN told where the stream begins.
    told: Both<bool>,
    /// Whether a byte that may have been a keep-alive was left out before the stream's first.
    preceded: Both<bool>,
    /// Whether a side reset the connection after its own FIN: the other one went on, and nobody listens any more.
    cut_off: bool,
    /// Whether a bound of the engine ended it.
    given_up: bool,
    held: Both<Held>,
    /// What the segment that ended a direction acknowledges.
    acknowledged_at_close: Both<Option<u32>>,
    /// The sequence number after the stream's last byte, where a FIN tells it.
    last: Both<Option<u32>>,
}

const _: () = assert!(
    leave_out_no_line(&[
        0,
        size_of::<Stream>(),
        offset_of!(Opening, datagrams),
        offset_of!(Opening, progress),
        offset_of!(Opening, given_up),
    ]),
    "what a packet touches is asked for"
);

impl Opening {
    pub(crate) fn new(transport: Transport, first: Way) -> Self {
        Self {
            transport,
            streams: Both::default(),
            held: Both::default(),
            closed: Both::default(),
            last: Both::default(),
            acknowledges: Both::default(),
            sequence: Both::default(),
            acknowledged_at_close: Both::default(),
            first,
            told: Both::default(),
            preceded: Both::default(),
            packets: 0,
            rebased: 0,
            late: false,
            fresh: false,
            asked: 0,
            progress: Progress::default(),
            seen_as: None,
            cut_off: false,
            given_up: false,
            stirred: false,
            tls: None,
            weight: 0,
            datagrams: None,
        }
    }

    /// Takes a segment, with or without payload.
    pub(crate) fn segment(&mut self, way: Way, segment: Segment<'_>, from_start: bool) {
        self.packets = self.packets.saturating_add(1);
        *self.acknowledges.of_mut(way) = segment.origin.acknowledgment;
        *self.sequence.of_mut(way) = segment.sequence;
        self.take(way, segment, from_start);
        // After a reset or a FIN even an acknowledgment tells what is missing.
        self.stirred |= segment.payload.on_wire() > 0
            || self.streams.up.gap
            || self.streams.down.gap
            || self.closed.up.is_some()
            || self.closed.down.is_some();
    }

    fn take(&mut self, way: Way, segment: Segment<'_>, from_start: bool) {
        if let Some(number) = segment.origin.acknowledgment {
            self.restart(way.other(), number);
        }
        self.streams.of_mut(way.other()).acknowledge(segment.origin.acknowledgment);
        if from_start && self.streams.of(way.other()).start.is_none() {
            // The other side's SYN was not captured; its stream begins where the first acknowledgment points.
            let stream = self.streams.of_mut(way.other());
            stream.start = stream.expected();
        }
        if segment.payload.on_wire() > 0 {
            let stream = self.streams.of(way);
            let early = stream
                .start
                .is_some_and(|start| start != segment.sequence && may_precede(segment.sequence, start));
            // A single zero byte before anything else is how some systems keep a connection alive (RFC 9293, 3.8.4).
            if !from_start && !stream.begun() && segment.payload.bytes == [0] && segment.payload.missing == 0
            {
                *self.preceded.of_mut(way) = true;
                return;
            }
            if !from_start && early && self.tls.is_none() {
                self.begin_earlier(way, segment.sequence);
            }
            self.push(way, segment);
        }
        if self.streams.up.gap || self.streams.down.gap {
            self.holes();
        }
    }

    /// Takes a datagram: only the first of each direction is looked at, unless one opens QUIC or DTLS: the latter follows STUN
    /// on a path that this found (RFC 5764 section 5.1.2).
    pub(crate) fn datagram(&mut self, way: Way, payload: Captured<'_>) {
        self.packets = self.packets.saturating_add(1);
        self.stirred = true;
        if self.packets == 1 {
            self.datagrams = Datagrams::begin(way, payload.bytes);
        } else if self.datagrams.as_ref().is_none_or(Datagrams::is_blank)
            && let Some(datagrams) = Datagrams::begin_late(way, payload.bytes)
        {
            self.datagrams = Some(datagrams);
        }
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.datagram(way, payload.bytes);
            return;
        }
        let held = self.held.of_mut(way);
        if held.first.is_none() && payload.on_wire() > 0 {
            let origin = Origin { packet: self.packets, acknowledgment: None };
            held.keep(&Piece { payload, origin });
            self.fresh = true;
        }
        // DTLS of which no hello was seen, by its first byte beside STUN (RFC 7983 section 7); so may be what the capture left
        // nothing of.
        let records = matches!(payload.bytes, [20..=63, ..]);
        held.in_records |= records || (payload.bytes.is_empty() && payload.missing > 0);
        held.cut |= held.in_records && payload.missing > 0;
    }

    /// Returns what tells the first datagram of another connection between the same ends, if it is a handshake in datagrams.
    pub(crate) fn association(&self) -> Option<Association> {
        self.datagrams.as_ref().map(Datagrams::association)
    }

    /// Notes the end of a direction, and after which byte it comes where that is certain.
    pub(crate) fn close(&mut self, way: Way, ending: Ending, last: Option<u32>) {
        match self.closed.of(way) {
            None => {
                *self.closed.of_mut(way) = Some(ending);
                *self.acknowledged_at_close.of_mut(way) = *self.acknowledges.of(way);
            }
            Some(Ending::Fin) => self.cut_off |= ending == Ending::Reset,
            Some(Ending::Reset) => {}
        }
        if self.last.of(way).is_none() {
            // A RST stands where the stream would go on; one before that may be a FIN that was not captured.
            let reset = (ending == Ending::Reset).then(|| self.sequence.of(way).wrapping_sub(1));
            *self.last.of_mut(way) = last.or(reset);
        }
        self.fresh = true;
        self.stirred = true;
    }

    /// Tells whether a direction cannot end here.
    pub(crate) fn is_stray_end(&mut self, way: Way, end: u32) -> bool {
        self.streams.of_mut(way).is_stray_end(end)
    }

    /// Forgets the reset that seemed to end a direction.
    pub(crate) fn go_on(&mut self, way: Way) {
        self.closed.of_mut(way).take_if(|ending| *ending == Ending::Reset);
        *self.last.of_mut(way) = None;
        self.cut_off = false;
    }

    /// Notes that the bound on held bytes ends it: what is missing then is missing for that. Called before the last
    /// [`Opening::answer`].
    pub(crate) const fn give_up(&mut self) {
        self.given_up = true;
    }

    /// Tells whether bytes before others, or before the stream's end, are missing so far.
    fn incomplete(&self, way: Way) -> bool {
        let stream = self.streams.of(way);
        let short = match (stream.expected(), *self.last.of(way)) {
            (Some(next), Some(last)) => after(last, next),
            (None, _) | (_, None) => false,
        };
        short || stream.has_hole()
    }

    /// Tells whether the opening of a connection that is silent for now may be settled with what it shows.
    pub(crate) fn may_rest(&self) -> bool {
        !self.lacks(Way::Up)
            && !self.lacks(Way::Down)
            && self.tls.as_ref().is_some_and(|tls| tls.handshake.may_rest())
    }

    /// Tells whether nothing is missing before what was seen, and before the ends of the streams where those are known.
    pub(crate) fn whole(&self) -> bool {
        !self.incomplete(Way::Up) && !self.incomplete(Way::Down)
    }

    /// Gives back the room that is not in use.
    pub(crate) fn shrink(&mut self) {
        for way in [Way::Up, Way::Down] {
            let Held { bytes, later, .. } = self.held.of_mut(way);
            bytes.shrink_to_fit();
            later.shrink_to_fit();
        }
        if let Some(tls) = &mut self.tls {
            tls.handshake.shrink();
        }
    }

    /// Tells whether no protocol is possible any more, so that it may perhaps stand in little room.
    #[inline]
    pub(crate) const fn may_wait(&self) -> bool {
        self.tls.is_none() && self.progress.all_ruled_out()
    }

    /// Tells whether there is no more to it than the bytes of a TCP connection since both its SYNs, which begin neither way
    /// like records of TLS.
    fn is_plain(&self) -> bool {
        let plain = |way: Way| {
            let held = self.held.of(way);
            *self.told.of(way)
                && !*self.preceded.of(way)
                && self.closed.of(way).is_none()
                && self.last.of(way).is_none()
                && !(held.full || held.cut || held.in_records)
                && (held.bytes.is_empty() || tls::record_chain(&held.bytes) == Probe::No)
        };
        self.may_wait()
            && self.transport == Transport::Tcp
            && !(self.late || self.cut_off || self.given_up)
            && self.rebased == 0
            && plain(Way::Up)
            && plain(Way::Down)
    }

    /// Returns how many bytes were seen.
    fn seen(&self) -> u64 {
        self.streams.up.position().saturating_add(self.streams.down.position())
    }

    /// Asks for what its next packet touches, as far as that is at hand.
    #[inline]
    fn prefetch(&self) {
        prefetch(&self.streams.up);
        prefetch(&self.streams.down);
        prefetch(&self.datagrams);
        prefetch(&self.progress);
        prefetch(&self.given_up);
    }

    /// Asks for what its next packet touches behind that.
    #[inline]
    fn prefetch_inside(&self) {
        match &self.tls {
            Some(tls) => tls.prefetch(),
            None => {
                self.held.up.prefetch();
                self.held.down.prefetch();
            }
        }
    }

    /// Asks for where what was heard last stands, and what comes next will.
    #[inline]
    fn prefetch_ends(&self) {
        match &self.tls {
            Some(tls) => tls.handshake.prefetch_ends(),
            None => {
                self.held.up.prefetch_end();
                self.held.down.prefetch_end();
            }
        }
    }

    /// Returns how many payload bytes were held when that was last told.
    pub(crate) const fn weight(&self) -> usize {
        self.weight
    }

    /// Tells how many payload bytes are held.
    pub(crate) fn weigh(&mut self) -> usize {
        let Self { held, streams, .. } = self;
        let waiting = streams.up.held().saturating_add(streams.down.held());
        self.weight = if self.tls.is_some() {
            // What was held went to the handshake.
            waiting
        } else {
            waiting.saturating_add(held.up.room()).saturating_add(held.down.room())
        };
        self.weight
    }

    #[inline]
    fn push(&mut self, way: Way, segment: Segment<'_>) {
        let Self { streams, held, tls, fresh, .. } = self;
        // The streams' starts cannot change once TLS is found, so marks can be placed while pieces come out.
        let other = streams.of(way.other()).start;
        let stream = streams.of_mut(way);
        match tls {
            None => stream.push(segment, &mut |piece| {
                held.of_mut(way).keep(&piece);
                *fresh = true;
            }),
            Some(tls) => stream.push(segment, &mut |piece| tls.feed(way, other, &piece)),
        }
    }

    /// Tells whether there may be an answer. Most packets of an opening acknowledge, and say nothing: there was none before
    /// them, so there is none.
    pub(crate) const fn may_answer(&self) -> bool {
        self.stirred || self.packets >= PATIENCE
    }

    /// Returns the answer if there is one; with `ended`, there is unless nothing can be said at all.
    pub(crate) fn answer(
        &mut self,
        client: &mut Way,
        roles_known: bool,
        from_start: bool,
        key: Key,
        ended: bool,
    ) -> Option<Answer> {
        self.stirred = false;
        if self.tls.is_none() {
            if let Some(datagrams) = &self.datagrams {
                if !roles_known {
                    *client = datagrams.client();
                }
                return (ended || datagrams.settled()).then_some(Answer::Tls);
            }
            if let Some(settled) = self.look(client, roles_known, from_start, key, ended) {
                let security = match settled.security {
                    Security::Unknown(reason) => Security::Unknown(self.or_the_bound(reason)),
                    known @ (Security::Tls(..) | Security::Plaintext(_) | Security::Opaque(_)) => known,
                };
                return Some(Answer::Settled(Settled { security, ..settled }));
            }
        }
        // The connection is over: what it was is to be known before the next one resumes its session.
        let ended = ended || (self.cut_off && !self.lacks(Way::Up) && !self.lacks(Way::Down));
        let Self { streams, closed, .. } = self;
        let gone = streams.up.gap || streams.down.gap || closed.up.is_some() || closed.down.is_some();
        if gone || ended {
            self.tell(*client, ended);
        }
        let settled = ended | self.tls.as_mut()?.handshake.settled();
        if settled {
            self.tell_beginning();
        }
        settled.then_some(Answer::Tls)
    }

    /// Tells whether bytes are missing so far, be it before others, before the end, or that were acknowledged.
    fn lacks(&self, way: Way) -> bool {
        self.incomplete(way) || self.streams.of(way).lacks_acknowledged()
    }

    /// Tells the handshake what is missing and what has ended.
    fn tell(&mut self, client: Way, ended: bool) {
        if self.streams.of(client).gap || (ended && self.lacks(client)) {
            self.step_over_hello();
        }
        let incomplete = Both { up: self.incomplete(Way::Up), down: self.incomplete(Way::Down) };
        let lacks = Both { up: self.lacks(Way::Up), down: self.lacks(Way::Down) };
        let Self { streams, closed, acknowledged_at_close, tls: Some(tls), .. } = self else { return };
        // A reset ends both directions at once, but may be captured before what it follows.
        let reset = [closed.up, closed.down].contains(&Some(Ending::Reset));
        if reset && !ended && (lacks.up || lacks.down) {
            return;
        }
        for way in [Way::Up, Way::Down] {
            let stream = streams.of(way);
            let lost = stream.gap || (ended && *lacks.of(way));
            if lost && !*tls.gap_told.of(way) {
                *tls.gap_told.of_mut(way) = true;
                tls.handshake.gap(side(client, way));
            }
            if let Some(ending) = *closed.of(way)
                && !*tls.close_told.of(way)
                && (!*incomplete.of(way) || ended)
            {
                *tls.close_told.of_mut(way) = true;
                let other = streams.of(way.other()).start;
                let acknowledged = tls.acknowledged(way, other, *acknowledged_at_close.of(way));
                tls.handshake.close(side(client, way), ending, acknowledged);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flow::Reason;

    use super::*;

    #[test]
    fn what_the_bound_ended_says_so() {
        let ends = |port| flow::Endpoint { ip: std::net::Ipv4Addr::LOCALHOST.into(), port };
        let (key, _) = Key::of(Transport::Tcp, ends(40_000), ends(443));
        for (given_up, expected) in [(false, Reason::NotTls), (true, Reason::Bound)] {
            let mut opening = Opening::new(Transport::Tcp, Way::Up);
            opening.begins_at(Way::Up, 1);
            opening.begins_at(Way::Down, 1);
            let payload = Captured { bytes: &[22, 3], missing: 0 };
            let origin = Origin { packet: 0, acknowledgment: None };
            opening.segment(Way::Up, Segment { sequence: 1, payload, origin }, true);
            if given_up {
                opening.give_up();
            }
            let answer = opening.answer(&mut { Way::Up }, true, true, key, true);
            let Some(Answer::Settled(settled)) = answer else { panic!("an answer at the end") };
            assert_eq!(settled.security, Security::Unknown(expected));
        }
    }
}
