//! The whole pipeline without I/O: frames in, flows out, time from the capture.
//!
//! [`Engine::frame`] takes what a source captured, [`Engine::poll`] gives what has become known. A flow comes out when
//! its security settles and again, under the same id, when it ends. Nothing here fails: odd bytes become counts in
//! [`Engine::coverage`]. The same frames always give the same flows, in the same order.

use std::collections::VecDeque;

use flow::{Close, Coverage, Flow, Timestamp};

use crate::clock::Clock;
use crate::connection::Context;
use crate::intake::Intake;
use crate::key::Key;
use crate::packet::{self, Packet};
use crate::partition::{Counts, Partition, Report};
use crate::tls::Memory;

pub use crate::frame::{Frame, LinkType};

/// How many packets are looked up at a time, so that their ways through memory overlap.
const BATCH: usize = 32;

/// How many ahead connections are asked for that have been silent for long.
const AHEAD: usize = 8;

/// The bounds of the engine. Each is counted in coverage when it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most connections tracked at a time. Beside each, one SYN between the same ends may wait to be answered.
    pub connections: usize,
    /// The most of them that may be without a payload byte.
    pub silent: usize,
    /// The most payload bytes held for openings, over all connections.
    pub held_bytes: usize,
    /// The most datagrams put together from fragments at a time.
    pub datagrams: usize,
    /// The most encapsulations around a packet.
    pub tunnels: usize,
    /// The most sessions remembered, by ticket or session id, so that resumptions are known by them. Of what tells of a session
    /// in other ways there are as many as this bounds in proportion: a quarter for client and server pairs, a sixteenth for
    /// server ports, an eighth for hops.
    pub sessions: usize,
    /// In how many parts the table is split, up to 4,096; each has its share of the first three bounds above.
    pub parts: usize,
    /// Seconds of silence after which a TCP connection counts as over.
    pub tcp_idle: u32,
    /// Seconds of silence after which a UDP flow counts as over.
    pub udp_idle: u32,
    /// Seconds of silence after which a connection without payload counts as over.
    pub silent_idle: u32,
    /// Whether connections without a payload byte are reported too.
    pub report_empty: bool,
    /// Whether a flow is reported when its security settles too, not only when it ends.
    pub report_settled: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_048_576,
            silent: 131_072,
            held_bytes: 256 * 1024 * 1024,
            datagrams: 1024,
            tunnels: 16,
            sessions: 65_536,
            parts: 16,
            tcp_idle: 3_600,
            udp_idle: 180,
            silent_idle: 120,
            report_empty: false,
            report_settled: true,
        }
    }
}

impl Limits {
    /// Returns the number of parts, at least one.
    pub(crate) fn parts(&self) -> usize {
        self.parts.clamp(1, 4096)
    }

    /// Returns the share of one part.
    pub(crate) fn share(&self) -> Self {
        let parts = self.parts();
        Self {
            connections: self.connections.div_ceil(parts),
            silent: self.silent.div_ceil(parts),
            held_bytes: self.held_bytes.div_ceil(parts),
            parts: 1,
            ..*self
        }
    }
}

/// The state of an observation.
#[derive(Debug)]
pub struct Engine {
    intake: Intake,
    parts: Vec<Partition>,
    memory: Memory,
    clock: Clock,
    out: VecDeque<Report>,
    /// What is left to report after the end, latest end first: a flow is made from its entry only when it is asked for.
    remaining: Vec<(Timestamp, u16, u32)>,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

/// A frame whose turn has not come.
struct Ahead<'a> {
    at: Timestamp,
    point: u16,
    what: What<'a>,
}

enum What<'a> {
    /// A packet without encapsulation, and where it belongs.
    Packet(Packet<'a>, Place),
    /// Anything else.
    Frame(Frame<'a>),
}

/// Where a connection stands, as far as is known before its packet's turn.
#[derive(Clone, Copy)]
struct Place {
    hash: u64,
    part: u16,
    hint: Option<u32>,
}

impl Engine {
    /// Starts an observation.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let parts = (0..limits.parts()).map(|_| Partition::new(limits.share())).collect();
        Self {
            intake: Intake::new(&limits),
            parts,
            memory: Memory::bounded(limits.sessions),
            clock: Clock::default(),
            out: VecDeque::new(),
            remaining: Vec::new(),
        }
    }

    /// Gives an interface its name, by which flows say where they were seen. Before its first frame, so that every flow
    /// has it.
    pub fn name_interface(&mut self, interface: u32, name: &str) {
        self.intake.name(interface, name);
    }

    /// Takes a captured frame. Time never goes back: a frame dated before an earlier one counts as simultaneous with it
    /// where time-outs are concerned.
    pub fn frame(&mut self, frame: &Frame<'_>) {
        self.frames(std::iter::once(*frame));
    }

    /// Takes captured frames, in order: the same as one after the other, and faster.
    pub fn frames<'a>(&mut self, frames: impl IntoIterator<Item = Frame<'a>>) {
        let mut frames = frames.into_iter();
        // All of a batch are looked up before the first is taken, so that their ways through memory overlap.
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.clear();
            let mut bytes: u64 = 0;
            for frame in frames.by_ref().take(BATCH) {
                bytes = bytes.saturating_add(frame.bytes.len() as u64);
                self.read(frame, &mut batch);
            }
            if batch.is_empty() {
                return;
            }
            self.intake.count(batch.len(), bytes);
            self.look_up(&mut batch);
            for ahead in &batch {
                self.advance(ahead.at);
                self.turn(ahead);
            }
        }
    }

    #[inline(always)]
    fn read<'a>(&mut self, frame: Frame<'a>, batch: &mut Vec<Ahead<'a>>) {
        // Each kind is put where it goes at once: what is made in one place and copied to another costs as much as
        // reading it.
        match packet::plain(&frame) {
            Some(packet) => {
                let point = self.intake.point_of_ethernet(&frame);
                let what = What::Packet(packet, self.place(&packet.key));
                batch.push(Ahead { at: frame.at, point, what });
            }
            None => self.read_other(frame, batch),
        }
    }

    #[inline(never)]
    fn read_other<'a>(&mut self, frame: Frame<'a>, batch: &mut Vec<Ahead<'a>>) {
        let point = self.intake.point(&frame);
        let what = match packet::bare(&frame) {
            Some(packet) => What::Packet(packet, self.place(&packet.key)),
            None => What::Frame(frame),
        };
        batch.push(Ahead { at: frame.at, point, what });
    }

    #[inline]
    fn place(&self, key: &Key) -> Place {
        let number = key.part(self.parts.len());
        let hash = self.parts.get(number).map_or(0, |part| {
            let hash = part.hash(key);
            part.table().prefetch_index(hash);
            hash
        });
        Place { part: u16::try_from(number).unwrap_or(u16::MAX), hash, hint: None }
    }

    /// Finds the connections of a batch: where they may stand, then the connections, then what is known of their openings,
    /// each step for all of them before the next, so that what one waits for in memory comes while others are looked at.
    /// Whether it is the right connection its packet finds out when its turn comes.
    fn look_up(&self, batch: &mut [Ahead<'_>]) {
        for ahead in &mut *batch {
            if let What::Packet(_, place) = &mut ahead.what {
                place.hint =
                    self.parts.get(usize::from(place.part)).and_then(|part| part.table().guess(place.hash));
            }
        }
        let mut openings = [None; BATCH];
        let mut places = openings.iter_mut();
        for ahead in batch.iter() {
            if let What::Packet(packet, Place { part, hint: Some(hint), .. }) = &ahead.what
                && let Some(part) = self.parts.get(usize::from(*part))
                && let Some(found) = part.table().opening(*hint)
            {
                found.prefetch();
                // Without payload, it is only acknowledged what is there.
                if !packet.payload.bytes.is_empty()
                    && let Some(place) = places.next()
                {
                    *place = Some(found);
                }
            }
        }
        for opening in openings.iter().map_while(Option::as_ref) {
            opening.prefetch_inside();
        }
        for opening in openings.iter().map_while(Option::as_ref) {
            opening.prefetch_ends();
        }
    }

    #[inline]
    fn turn(&mut self, ahead: &Ahead<'_>) {
        let Self { intake, parts, memory, clock, out, .. } = self;
        let now = clock.now();
        let (at, point) = (ahead.at, ahead.point);
        match &ahead.what {
            What::Packet(packet, Place { part, hash, hint }) => {
                if let Some(part) = parts.get_mut(usize::from(*part)) {
                    part.packet((*hash, *hint), packet, Context { at, point, tunnels: &[] }, now, memory);
                    if !part.out().is_empty() {
                        out.extend(part.out().drain(..));
                    }
                }
            }
            What::Frame(frame) => intake.read(frame, &mut |packet, tunnels| {
                let number = packet.key.part(parts.len());
                if let Some(part) = parts.get_mut(number) {
                    let hash = part.hash(&packet.key);
                    part.packet((hash, None), packet, Context { at, point, tunnels }, now, memory);
                    if !part.out().is_empty() {
                        out.extend(part.out().drain(..));
                    }
                }
            }),
        }
    }

    /// Lets capture time pass up to `now`: what has been silent for too long ends.
    #[inline]
    pub fn advance(&mut self, now: Timestamp) {
        if let Some(now) = self.clock.advance(now) {
            self.expire(now);
        }
    }

    #[inline(never)]
    fn expire(&mut self, now: Timestamp) {
        let mut overdue = Vec::new();
        for (number, part) in self.parts.iter_mut().enumerate() {
            let due = part.overdue(now, &mut self.memory).into_iter();
            overdue.extend(due.map(|(last, place, what)| (last, number, place, what)));
        }
        // The parts know nothing of each other, so their number must not show in the order. Names are computed only where
        // times are equal.
        let id = |number: usize, place: u32| self.parts.get(number).and_then(|part| part.id(place));
        // Each part's come nearly in order, which this sort makes use of.
        overdue.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| id(a.1, a.2).cmp(&id(b.1, b.2))));
        for (at, &(_, number, place, what)) in overdue.iter().enumerate() {
            // Nothing touched them for long: they are asked for a few ahead.
            if let Some(&(_, number, place, _)) = overdue.get(at.saturating_add(AHEAD))
                && let Some(part) = self.parts.get(number)
            {
                part.table().prefetch(place);
            }
            if let Some(part) = self.parts.get_mut(number) {
                part.settle_overdue(place, what, now, &mut self.memory);
                self.out.extend(part.out().drain(..));
            }
        }
        self.intake.expire(now);
    }

    /// Ends the observation: everything still tracked is reported, by its last packet.
    pub fn finish(&mut self) {
        self.intake.finish();
        let Self { parts, remaining, memory, .. } = self;
        for (number, part) in parts.iter_mut().enumerate() {
            part.drop_unreported(memory);
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            remaining.extend(part.remaining().map(|(end, place)| (end, number, place)));
        }
        // Names are computed only where times are equal.
        let id = |number: u16, place: u32| parts.get(usize::from(number)).and_then(|part| part.id(place));
        remaining.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| id(b.1, b.2).cmp(&id(a.1, a.2))));
    }

    /// Returns the next flow that became known, if there is one.
    pub fn poll(&mut self) -> Option<Flow> {
        if self.out.is_empty()
            && let Some((_, number, place)) = self.remaining.pop()
            && let Some(part) = self.parts.get_mut(usize::from(number))
        {
            part.end(place, Close::CaptureEnd, &mut self.memory);
            self.out.extend(part.out().drain(..));
        }
        let Report { mut flow, points, .. } = self.out.pop_front()?;
        flow.seen_at = self.intake.seen_at(&points);
        Some(flow)
    }

    /// Returns what was read and what was not, so far.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        let mut counts = Counts::default();
        for part in &self.parts {
            counts.add(part.counts());
        }
        self.intake.coverage(counts, self.memory.sessions.forgotten())
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;

    /// Shows the engine an exchange: a SYN, its answer, then segments as (from the client, offset, text).
    fn observe(segments: &[(bool, u32, &[u8])]) -> Vec<Flow> {
        let mut engine = Engine::new(Limits::default());
        let mut at = 0;
        let mut send = |client: bool,
                        build: &dyn Fn(
            etherparse::PacketBuilderStep<etherparse::TcpHeader>,
        ) -> etherparse::PacketBuilderStep<etherparse::TcpHeader>,
                        sequence: u32,
                        text: &[u8]| {
            let (from, to) =
                if client { ([192, 0, 2, 1], [192, 0, 2, 2]) } else { ([192, 0, 2, 2], [192, 0, 2, 1]) };
            let (source, destination) = if client { (40_000, 8080) } else { (8080, 40_000) };
            let builder = PacketBuilder::ethernet2([0; 6], [1; 6]).ipv4(from, to, 64);
            let mut bytes = Vec::new();
            build(builder.tcp(source, destination, sequence, 1024)).write(&mut bytes, text).unwrap();
            at += 1_000_000;
            let original_len = u32::try_from(bytes.len()).unwrap();
            let at = Timestamp::from_nanos(at);
            engine.frame(&Frame { at, link: LinkType::ETHERNET, interface: 0, original_len, bytes: &bytes });
        };
        send(true, &|tcp| tcp.syn(), 999, b"");
        send(false, &|tcp| tcp.syn().ack(1000), 4999, b"");
        for (client, offset, text) in segments {
            let base = if *client { 1000 } else { 5000 };
            send(*client, &|tcp| tcp.ack(0).psh(), base + offset, text);
        }
        engine.finish();
        std::iter::from_fn(|| engine.poll()).collect()
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn a_flow_is_reported_when_it_settles_and_when_it_ends() {
        let flows = observe(&[(true, 0, REQUEST)]);
        let closes: Vec<_> = flows.iter().map(|flow| flow.close).collect();
        assert_eq!(closes, [Close::Open, Close::CaptureEnd]);
        assert_eq!(flows[0].id, flows[1].id);
        assert_eq!(flows[1].security.class(), flow::Class::Plaintext);
        assert_eq!(flows[1].client.port, 40_000);
        assert!(flows[1].from_start);
    }

    #[test]
    fn a_connection_without_payload_is_only_counted() {
        assert_eq!(observe(&[]), []);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(link in prop::sample::select(vec![0_u16, 1, 9, 101, 113, 276, 999]),
                                frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
            let mut engine = Engine::new(Limits::default());
            for bytes in &frames {
                let at = Timestamp::from_nanos(1);
                engine.frame(&Frame { at, link: LinkType(link), interface: 0, original_len: 200, bytes });
            }
            engine.finish();
            prop_assert_eq!(engine.coverage().packets, frames.len() as u64);
        }

        #[test]
        fn order_and_repeats_do_not_change_the_verdict(
            cuts in prop::collection::vec(1..REQUEST.len(), 0..6), seed in any::<u64>(),
        ) {
            let mut cuts = cuts;
            cuts.extend([0, REQUEST.len()]);
            cuts.sort_unstable();
            let mut pieces: Vec<(bool, u32, &[u8])> = cuts
                .windows(2)
                .filter(|pair| pair[0] < pair[1])
                .map(|pair| (true, u32::try_from(pair[0]).unwrap(), &REQUEST[pair[0]..pair[1]]))
                .collect();
            let repeated = pieces[usize::try_from(seed % pieces.len() as u64).unwrap()];
            pieces.push(repeated);
            pieces.sort_by_key(|(_, offset, _)| seed.rotate_left(*offset) ^ u64::from(*offset).wrapping_mul(seed));
            let whole = observe(&[(true, 0, REQUEST)]);
            let shuffled = observe(&pieces);
            prop_assert_eq!(&shuffled.last().unwrap().security, &whole.last().unwrap().security);
        }
    }
}
