//! An opening in which no protocol is possible any more, in little room: until there is enough to judge it by, its packets ask
//! for nothing but whether each is simply the next one, and whether a record of TLS may begin in it.
//!
//! What is more than that makes it the [`Opening`] again that it stands for, in which the pieces that came are one: no TLS
//! begins in them, so which packet brought which byte does not matter.

use flow::Transport;

use super::super::reassembly::{Origin, Segment, Stream, after};
use super::held::Held;
use super::look::{PATIENCE, next_asked};
use super::{Opening, may_precede};
use crate::detect::{JUDGED, Progress, begun_record};
use crate::key::{Both, Way};
use crate::prefetch::{prefetch, prefetch_at};
use crate::tls::{self, Probe};

/// For how many bytes of each direction there is room beyond those that are there, so that those of a packet do not move them
/// all.
const ROOM: usize = 64;

/// What stands for an opening: a line of memory and what was said. A packet touches the one, and a place in the other.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Waiting {
    /// What both sides said: half of it has room for each, up first.
    said: Box<[u8]>,
    sides: Both<Side>,
    lasts: Both<Last>,
    /// Of how many bytes detection was asked last.
    asked: u16,
    packets: u16,
    client: Way,
    first: Way,
}

const _: () = assert!(size_of::<Waiting>() == 64, "a line of memory");

/// The latest packet with payload of one direction.
#[derive(Debug, Clone, Copy)]
struct Last {
    acknowledgment: u32,
    number: u16,
    /// With how many of its last bytes a record of TLS may begin.
    tail: u8,
}

/// The order of one direction, nothing of which is missing.
#[derive(Debug, Clone, Copy)]
struct Side {
    start: u32,
    next: u32,
    /// The highest acknowledgment that the other side sent.
    acknowledged: u32,
}

impl Side {
    fn of(stream: &Stream) -> Option<Self> {
        let (start, acknowledged) = stream.in_order()?;
        Some(Self { start, next: stream.next()?, acknowledged })
    }

    const fn length(&self) -> u32 {
        self.next.wrapping_sub(self.start)
    }
}

impl Waiting {
    /// Lets an opening stand in little room, if there is no more to it than that: both sides' SYNs, and bytes of which
    /// detection, just asked of all of them, has ruled out everything.
    pub(crate) fn of(opening: &Opening) -> Option<Self> {
        let seen = opening.seen();
        if opening.asked != seen || !opening.is_plain() {
            return None;
        }
        let (client, true) = opening.seen_as? else { return None };
        let sides = Both { up: Side::of(&opening.streams.up)?, down: Side::of(&opening.streams.down)? };
        let (from_client, from_server) = (opening.held.of(client), opening.held.of(client.other()));
        let clean = opening.progress.without_records() == (from_client.bytes.len(), from_server.bytes.len());
        // What is no PROXY header, which detection would have waited for, may still be a hello after the server's answer.
        let begins = tls::client_hello(&from_client.bytes) != Probe::No
            || (!from_server.bytes.is_empty() && tls::server_answer(&from_server.bytes) != Probe::No);
        if !clean || begins {
            return None;
        }
        let small = |number: u64| u16::try_from(number).ok();
        let last = |way: Way| {
            let number = small(u64::from(opening.held.of(way).latest()))?;
            Some(Last { acknowledgment: 0, number, tail: 0 })
        };
        let mut waiting = Self {
            said: Box::default(),
            sides,
            lasts: Both { up: last(Way::Up)?, down: last(Way::Down)? },
            asked: small(seen)?,
            packets: small(u64::from(opening.packets))?,
            client,
            first: opening.first,
        };
        waiting.hold([&opening.held.up.bytes, &opening.held.down.bytes], 0);
        Some(waiting)
    }

    /// Takes a segment that neither begins nor ends anything, if it is simply the next one of its direction or acknowledges
    /// only, and if there is room for it; returns whether it does.
    #[inline]
    pub(crate) fn take(&mut self, way: Way, segment: Segment<'_>) -> bool {
        let Segment { sequence, payload, origin } = segment;
        let Some(acknowledgment) = origin.acknowledgment else { return false };
        let half = self.said.len() / 2;
        let (own, other) = self.sides.pair_mut(way);
        // One beyond the stream may be the sender's FIN.
        let unknown = acknowledgment.wrapping_sub(other.start) > other.length().saturating_add(1);
        if unknown || u32::from(self.packets).saturating_add(1) >= PATIENCE {
            return false;
        }
        if payload.on_wire() > 0 {
            let (Ok(length), Ok(number)) = (u16::try_from(payload.bytes.len()), u16::try_from(origin.packet))
            else {
                return false;
            };
            let before = own.length();
            let seen = before.saturating_add(other.length()).saturating_add(u32::from(length));
            let next = sequence == own.next && payload.missing == 0 && before > 0 && (seen as usize) < JUDGED;
            let begins = if way == Way::Down { half } else { 0 };
            let fits = half.saturating_sub(before as usize) >= payload.bytes.len();
            let place = begins.saturating_add(before as usize);
            let Some(room) = self.said.get_mut(place..place.saturating_add(payload.bytes.len())) else {
                return false;
            };
            if !(next && fits) {
                return false;
            }
            let last = self.lasts.of_mut(way);
            let Some(tail) = tail(last.tail, payload.bytes) else { return false };
            room.copy_from_slice(payload.bytes);
            if u64::from(seen) >= next_asked(u64::from(self.asked)) {
                // Asked now, detection would say nothing new.
                self.asked = u16::try_from(seen).unwrap_or(u16::MAX);
            }
            *last = Last { acknowledgment, number: last.number.max(number), tail };
            own.next = own.next.wrapping_add(u32::from(length));
        }
        other.acknowledged =
            if after(acknowledgment, other.acknowledged) { acknowledgment } else { other.acknowledged };
        self.packets = self.packets.saturating_add(1);
        true
    }

    /// Makes room for so many more bytes of a direction, if they may be taken and that is what they lack; returns whether it
    /// did.
    pub(crate) fn grow(&mut self, way: Way, more: usize) -> bool {
        let length = self.sides.of(way).length() as usize;
        let fits = (self.said.len() / 2).saturating_sub(length) >= more;
        if fits || more >= JUDGED {
            return false;
        }
        let [up, down] = self.apart();
        self.hold([&up, &down], more);
        true
    }

    /// Holds what was said, with room for so many more bytes of either direction and some.
    fn hold(&mut self, [up, down]: [&[u8]; 2], more: usize) {
        let length = up.len().max(down.len());
        let half = length.saturating_add(more.max(length / 2)).saturating_add(ROOM);
        let mut said = Vec::with_capacity(half.saturating_mul(2));
        said.extend_from_slice(up);
        said.resize(half, 0);
        said.extend_from_slice(down);
        said.resize(half.saturating_mul(2), 0);
        self.said = said.into_boxed_slice();
    }

    /// Returns the opening that it stands for.
    pub(crate) fn opening(&self) -> Opening {
        let mut opening = Opening::new(Transport::Tcp, self.first);
        let [up, down] = self.apart();
        for (way, bytes) in [(Way::Up, up), (Way::Down, down)] {
            let side = self.sides.of(way);
            *opening.streams.of_mut(way) = Stream::resumed(side.start, side.length(), side.acknowledged);
            let Last { acknowledgment, number, tail } = *self.lasts.of(way);
            let origin = |acknowledgment| Origin { packet: u32::from(number), acknowledgment };
            let tail = (usize::from(tail), origin(Some(acknowledgment)));
            *opening.held.of_mut(way) = Held::in_one(bytes, origin(None), tail);
        }
        let without =
            |way: Way| opening.held.of(way).bytes.len().saturating_sub(usize::from(self.lasts.of(way).tail));
        let without_records = (without(self.client), without(self.client.other()));
        opening.told = Both { up: true, down: true };
        opening.packets = u32::from(self.packets);
        opening.asked = u64::from(self.asked);
        opening.fresh = opening.seen() != opening.asked;
        opening.seen_as = Some((self.client, true));
        opening.progress = Progress::without_protocol(without_records);
        opening.weigh();
        opening
    }

    /// Returns what was said up, and down.
    fn apart(&self) -> [Vec<u8>; 2] {
        let (up, down) = self.said.split_at_checked(self.said.len() / 2).unwrap_or_default();
        [(up, self.sides.up), (down, self.sides.down)]
            .map(|(said, side)| said.get(..side.length() as usize).unwrap_or(said).to_vec())
    }

    /// Tells whether the connection's stream may begin at this sequence number, as [`Opening::may_begin_at`] does.
    pub(crate) fn may_begin_at(&self, way: Way, sequence: u32) -> bool {
        may_precede(sequence, self.sides.of(way).start)
    }

    /// Returns how many bytes it holds.
    pub(crate) const fn weight(&self) -> usize {
        self.said.len()
    }

    /// Asks for itself.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch(self);
    }

    /// Asks for where what is said next goes.
    #[inline]
    pub(super) fn prefetch_ends(&self) {
        prefetch_at(&self.said, self.sides.up.length() as usize);
        prefetch_at(&self.said, (self.said.len() / 2).wrapping_add(self.sides.down.length() as usize));
    }
}

/// Returns with how many of the last bytes of a direction a record may begin, given with how many before these; `None` where one
/// may begin with more of them.
#[inline]
fn tail(before: u8, bytes: &[u8]) -> Option<u8> {
    // A version, or its lower half.
    let goes_on = before > 0 && matches!(bytes, [0..=4, ..]);
    begun_record(bytes).filter(|_| !goes_on)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use flow::Endpoint;
    use proptest::prelude::*;

    use super::super::Answer;
    use super::*;
    use crate::key::Key;
    use crate::packet::Captured;

    /// Where both streams begin.
    const START: u32 = u32::MAX - 100;

    /// A segment as a test writes it: its direction, how many bytes before the next one it begins, and its bytes.
    type Said = (Way, u32, Vec<u8>);

    enum Stand {
        Opening(Box<Opening>),
        Waiting(Box<Waiting>),
    }

    /// Shows an opening what was said, in little room where that `may` be; returns what it answers, at the latest at its
    /// end, after which packet, and how many packets it took in little room.
    fn answer(said: &[Said], may: bool) -> (String, usize, usize) {
        let end = |port| Endpoint { ip: std::net::Ipv4Addr::LOCALHOST.into(), port };
        let (key, _) = Key::of(Transport::Tcp, end(40_000), end(7_000));
        let mut opening = Opening::new(Transport::Tcp, said[0].0);
        opening.begins_at(Way::Up, START);
        opening.begins_at(Way::Down, START);
        let mut stand = Stand::Opening(Box::new(opening));
        let (mut next, mut taken) = (Both { up: START, down: START }, 0);
        for (number, (way, back, bytes)) in (0..).zip(said) {
            let origin = Origin { packet: number, acknowledgment: Some(*next.of(way.other())) };
            let sequence = next.of(*way).wrapping_sub(*back);
            let segment = Segment { sequence, payload: Captured { bytes, missing: 0 }, origin };
            let end = sequence.wrapping_add(u32::try_from(bytes.len()).unwrap());
            if after(end, *next.of(*way)) {
                *next.of_mut(*way) = end;
            }
            if let Stand::Waiting(waiting) = &mut stand {
                if waiting.take(*way, segment)
                    || (waiting.grow(*way, bytes.len()) && waiting.take(*way, segment))
                {
                    taken += 1;
                    continue;
                }
                stand = Stand::Opening(Box::new(waiting.opening()));
            }
            let Stand::Opening(opening) = &mut stand else { unreachable!() };
            opening.segment(*way, segment, true);
            if let Some(answer) = opening.answer(&mut { Way::Up }, true, true, key, false) {
                return (describe(&answer, opening), number as usize, taken);
            }
            if may && let Some(waiting) = Waiting::of(opening) {
                stand = Stand::Waiting(Box::new(waiting));
            }
        }
        let mut opening = match stand {
            Stand::Opening(opening) => opening,
            Stand::Waiting(waiting) => Box::new(waiting.opening()),
        };
        let answer = opening.answer(&mut { Way::Up }, true, true, key, true).unwrap();
        (describe(&answer, &opening), said.len(), taken)
    }

    fn describe(answer: &Answer, opening: &Opening) -> String {
        let handshake = opening.tls.as_ref().map(|tls| (tls.start, tls.position, &tls.handshake));
        match answer {
            Answer::Settled(settled) => format!("{settled:?}"),
            Answer::Tls => format!("TLS from {handshake:?}"),
        }
    }

    fn check(said: &[Said]) -> usize {
        let (alike, number, taken) = answer(said, true);
        assert_eq!((alike, number, 0), answer(said, false), "{said:02x?}");
        taken
    }

    #[test]
    fn small_messages_of_nothing_known_take_little_room() {
        let said: Vec<Said> = (0..100_u8)
            .map(|number| {
                (if number % 3 == 0 { Way::Down } else { Way::Up }, 0, vec![number | 0x80, 1, number | 0x40])
            })
            .collect();
        assert!(check(&said) > 70);
    }

    /// Small messages of nothing known, then a hello that comes in pieces of these sizes and what is left, and its answer.
    fn hello_after_small_messages(pieces: &[usize]) -> Vec<Said> {
        let mut said: Vec<Said> = (0..60_u8)
            .map(|number| {
                (if number % 3 == 0 { Way::Down } else { Way::Up }, 0, vec![number | 0x80, 1, number | 0x40])
            })
            .collect();
        let hello = [22, 3, 1, 0, 49, 1, 0, 0, 45, 3, 3]
            .into_iter()
            .chain([7; 32])
            .chain([0, 0, 2, 0x13, 1, 1, 0, 0, 0, 0, 0]);
        let mut hello: Vec<u8> = hello.collect();
        for size in pieces {
            let rest = hello.split_off(*size);
            said.push((Way::Up, 0, std::mem::replace(&mut hello, rest)));
        }
        said.push((Way::Up, 0, hello));
        let answer_to_it =
            [22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3].into_iter().chain([9; 32]).chain([0, 0x13, 1, 0]);
        said.push((Way::Down, 0, answer_to_it.collect()));
        said
    }

    #[test]
    fn tls_inside_something_unknown_is_found_from_little_room() {
        for pieces in [&[][..], &[1], &[2], &[1, 1], &[3], &[1, 1, 1]] {
            let said = hello_after_small_messages(pieces);
            assert!(check(&said) > 30);
            let (found, ..) = answer(&said, true);
            assert!(found.starts_with("TLS from Some((Both { up: 120, down: 60 }"), "{found}");
            // The rest of the hello is still to come: which packet began it, and what that acknowledges, is remembered.
            let mut said = hello_after_small_messages(pieces);
            let at = said.len() - 2;
            said[at].2.truncate(20);
            check(&said);
        }
    }

    #[test]
    fn a_last_byte_that_may_begin_a_record_needs_no_more_room_unless_one_goes_on() {
        let mut said = hello_after_small_messages(&[1]);
        said.truncate(61);
        let before = check(&said);
        // What follows is no version, as often as not.
        said.extend((5..25).map(|number| (Way::Up, 0, vec![number, 22])));
        assert_eq!(check(&said), before + 20);
        said.push((Way::Up, 0, vec![3]));
        assert_eq!(check(&said), before + 20, "a version goes on");
    }

    /// Pieces that matter: text, noise, and what a record of TLS may begin with, whole or in part.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => proptest::collection::vec(any::<u8>(), 0..6),
            4 => proptest::collection::vec(97_u8..110, 1..40),
            1 => Just(vec![22]),
            1 => Just(vec![22, 3]),
            1 => Just(vec![3, 1, 0, 50, 1, 0, 0, 46, 3, 3]),
            1 => Just(vec![22, 3, 1, 0, 50, 1, 0, 0, 46, 3, 3, 9]),
            1 => Just(vec![22, 3, 3, 0, 50, 2, 0, 0, 46, 3, 3, 9]),
            1 => Just(vec![21, 3, 3, 0, 2, 2, 40]),
            1 => Just(vec![0x80, 0x2e, 1, 3, 1]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn an_opening_answers_the_same_from_little_room(
            said in proptest::collection::vec((any::<bool>(), 0_u32..12, piece()), 1..120),
        ) {
            let said: Vec<Said> = said
                .into_iter()
                .map(|(up, back, bytes)| (if up { Way::Up } else { Way::Down }, back.saturating_sub(10), bytes))
                .collect();
            check(&said);
        }
    }
}
