//! The whole pipeline without I/O: frames in, flows out, time from the capture.
//!
//! [`Engine::frame`] takes what a source captured, [`Engine::poll`] gives what has become known. A flow comes out when
//! its security settles and again, under the same id, when it ends. Nothing here fails: odd bytes become counts in
//! [`Engine::coverage`]. The same frames always give the same flows.

use std::collections::{BTreeMap, VecDeque};

use flow::{Close, Coverage, Flow, Timestamp, Transport, Tunnel};
use hashbrown::HashMap;

use crate::connection::table::{Queue, Table};
use crate::connection::{Connection, Key, Way};
use crate::fragments::{Added, Fragments};
use crate::packet::{self, Captured, Decoded, Layer, Packet, Skip};
use crate::tls::Sessions;

pub use crate::frame::{Frame, LinkType};

/// How many capture points the engine tells apart; later ones count as the last.
const MAX_POINTS: usize = 4096;

/// How long a closed connection waits for stragglers, in nanoseconds.
const LINGER: i64 = 5_000_000_000;

/// How often time-outs are looked at, in nanoseconds.
const TICK: i64 = 1_000_000_000;

/// The bounds of the engine. Each is counted in coverage when it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most connections tracked at a time.
    pub connections: usize,
    /// The most of them that may be without a payload byte.
    pub silent: usize,
    /// The most payload bytes held for openings, over all connections.
    pub held_bytes: usize,
    /// Seconds of silence after which a TCP connection counts as over.
    pub tcp_idle: u32,
    /// Seconds of silence after which a UDP flow counts as over.
    pub udp_idle: u32,
    /// Seconds of silence after which a connection without payload counts as over.
    pub silent_idle: u32,
    /// Whether connections without a payload byte are reported too.
    pub report_empty: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_048_576,
            silent: 131_072,
            held_bytes: 256 * 1024 * 1024,
            tcp_idle: 3_600,
            udp_idle: 180,
            silent_idle: 120,
            report_empty: false,
        }
    }
}

/// Where a frame was captured: the source's interface, and the one that the frame itself names (SLL2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Point {
    interface: u32,
    named: Option<u32>,
}

/// The state of an observation.
#[derive(Debug, Default)]
pub struct Engine {
    limits: Limits,
    table: Table,
    fragments: Fragments,
    sessions: Sessions,
    /// Capture points by number, and the numbers of those met.
    points: Vec<Point>,
    point_numbers: HashMap<Point, u32>,
    names: HashMap<u32, String>,
    now: Timestamp,
    ticked: Timestamp,
    held: usize,
    packets: u64,
    bytes: u64,
    flows: u64,
    from_start: u64,
    mid_stream: u64,
    empty: u64,
    skipped: BTreeMap<Skip, u64>,
    tunnels: Vec<Tunnel>,
    out: VecDeque<Flow>,
}

impl Engine {
    /// Starts an observation.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Gives an interface its name, by which flows say where they were seen.
    pub fn name_interface(&mut self, interface: u32, name: &str) {
        self.names.insert(interface, name.to_owned());
    }

    /// Takes a captured frame. Time never goes back: a frame dated before an earlier one counts as simultaneous with it
    /// where time-outs are concerned.
    pub fn frame(&mut self, frame: &Frame<'_>) {
        self.advance(frame.at);
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(frame.bytes.len() as u64);
        let point = self.point(frame);
        let mut tunnels = std::mem::take(&mut self.tunnels);
        tunnels.clear();
        let decoded = packet::decode(frame, &mut tunnels);
        self.decoded(decoded, frame.at, point, &mut tunnels, 0);
        self.tunnels = tunnels;
    }

    /// Lets capture time pass up to `now`: what has been silent for too long ends.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        if self.now.since(self.ticked) < TICK {
            return;
        }
        self.ticked = self.now;
        for queue in Queue::ALL {
            let idle = self.idle(queue);
            while let Some((place, last)) = self.table.oldest(queue) {
                if self.now.since(last) <= idle {
                    break;
                }
                self.end(place, Close::Idle);
            }
        }
        let lost = self.fragments.expire(self.now);
        self.skip(Skip::Fragments, lost as u64);
    }

    /// Ends the observation: everything still tracked is reported.
    pub fn finish(&mut self) {
        let lost = self.fragments.finish();
        self.skip(Skip::Fragments, lost as u64);
        for queue in Queue::ALL {
            while let Some((place, _)) = self.table.oldest(queue) {
                self.end(place, Close::CaptureEnd);
            }
        }
    }

    /// Returns the next flow that became known, if there is one.
    pub fn poll(&mut self) -> Option<Flow> {
        self.out.pop_front()
    }

    /// Returns what was read and what was not, so far.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        Coverage {
            packets: self.packets,
            bytes: self.bytes,
            flows: self.flows,
            from_start: self.from_start,
            mid_stream: self.mid_stream,
            empty: self.empty,
            skipped: self.skipped.iter().map(|(reason, count)| (reason.name().to_owned(), *count)).collect(),
            kernel_dropped: None,
            damaged: Vec::new(),
        }
    }

    fn decoded(
        &mut self,
        decoded: Result<Decoded<'_>, Skip>,
        at: Timestamp,
        point: u32,
        tunnels: &mut Vec<Tunnel>,
        depth: usize,
    ) {
        match decoded {
            Ok(Decoded::Packet(packet)) => self.packet(&packet, at, point, tunnels),
            Ok(Decoded::Fragment(fragment)) => match self.fragments.add(&fragment, at) {
                // Fragments of a tunnel's packets may hold fragments again.
                Added::Whole(_) if depth >= packet::MAX_TUNNELS => self.skip(Skip::TooDeep, 1),
                Added::Whole(bytes) => {
                    let captured = Captured { bytes: &bytes, missing: 0 };
                    let inner = packet::decode_from(Layer::Inside(fragment.network), captured, tunnels);
                    self.decoded(inner, at, point, tunnels, depth.saturating_add(1));
                }
                Added::Waiting => {}
                Added::Refused => self.skip(Skip::FragmentTable, 1),
            },
            Err(reason) => self.skip(reason, 1),
        }
    }

    fn packet(&mut self, packet: &Packet<'_>, at: Timestamp, point: u32, tunnels: &[Tunnel]) {
        let (key, way) = Key::of(packet);
        let mut place = self.table.find(&key);
        if let Some(found) = place
            && self.table.get_mut(found).is_some_and(|connection| connection.replaced_by(way, packet))
        {
            self.end(found, Close::Reused);
            place = None;
        }
        let place = place.unwrap_or_else(|| self.track(key, way, packet, at, tunnels));
        let Some(connection) = self.table.get_mut(place) else { return };
        let held = connection.held();
        let mut change = connection.packet(way, packet, at, point, &mut self.sessions);
        let mut total = self.held.saturating_sub(held).saturating_add(connection.held());
        if total > self.limits.held_bytes {
            total = total.saturating_sub(connection.held());
            change.settled |= connection.give_up(&mut self.sessions);
            let count = self.skipped.entry(Skip::BytesHeld).or_default();
            *count = count.saturating_add(1);
        }
        self.held = total;
        let queue = if connection.closed() {
            Queue::Closed
        } else if connection.silent() {
            Queue::Silent
        } else if key.transport() == Transport::Udp {
            Queue::Datagram
        } else {
            Queue::Open
        };
        let from_start = connection.seen_from_start();
        if change.settled {
            let flow = connection.report(Close::Open, &names(&self.points, &self.names));
            self.out.push_back(flow);
        }
        if change.spoke {
            self.flows = self.flows.saturating_add(1);
            if key.transport() == Transport::Tcp {
                let count = if from_start { &mut self.from_start } else { &mut self.mid_stream };
                *count = count.saturating_add(1);
            }
        }
        self.table.touch(place, queue, self.now);
    }

    fn track(&mut self, key: Key, way: Way, packet: &Packet<'_>, at: Timestamp, tunnels: &[Tunnel]) -> u32 {
        while self.table.len() >= self.limits.connections.max(1) {
            let Some((oldest, _)) = Queue::ALL.into_iter().find_map(|queue| self.table.oldest(queue)) else {
                break;
            };
            self.skip(Skip::TableFull, 1);
            self.end(oldest, Close::Evicted);
        }
        while self.table.count(Queue::Silent) >= self.limits.silent.max(1) {
            let Some((oldest, _)) = self.table.oldest(Queue::Silent) else { break };
            self.skip(Skip::TableFull, 1);
            self.end(oldest, Close::Evicted);
        }
        self.table.insert(Connection::new(key, way, packet, at, tunnels), Queue::Silent, self.now)
    }

    fn end(&mut self, place: u32, close: Close) {
        let Some(connection) = self.table.remove(place) else { return };
        self.held = self.held.saturating_sub(connection.held());
        let silent = connection.silent();
        if silent {
            self.empty = self.empty.saturating_add(1);
            if !self.limits.report_empty {
                return;
            }
        }
        let flow = connection.finish(close, &mut self.sessions, &names(&self.points, &self.names));
        self.out.push_back(flow);
    }

    fn idle(&self, queue: Queue) -> i64 {
        let seconds = |seconds: u32| i64::from(seconds).saturating_mul(1_000_000_000);
        match queue {
            Queue::Silent => seconds(self.limits.silent_idle),
            Queue::Closed => LINGER,
            Queue::Datagram => seconds(self.limits.udp_idle),
            Queue::Open => seconds(self.limits.tcp_idle),
        }
    }

    fn point(&mut self, frame: &Frame<'_>) -> u32 {
        let named = match (frame.link, frame.bytes.get(4..8)) {
            (LinkType::LINUX_SLL2, Some(&[a, b, c, d])) => Some(u32::from_be_bytes([a, b, c, d])),
            _ => None,
        };
        let point = Point { interface: frame.interface, named };
        if let Some(number) = self.points.iter().take(8).position(|known| *known == point) {
            return u32::try_from(number).unwrap_or_default();
        }
        if let Some(number) = self.point_numbers.get(&point) {
            return *number;
        }
        let number = u32::try_from(self.points.len().min(MAX_POINTS)).unwrap_or_default();
        if self.points.len() < MAX_POINTS {
            self.points.push(point);
            self.point_numbers.insert(point, number);
        }
        number
    }

    fn skip(&mut self, reason: Skip, count: u64) {
        if count > 0 {
            let total = self.skipped.entry(reason).or_default();
            *total = total.saturating_add(count);
        }
    }
}

/// Tells how a capture point is called in reports: by its interface's name, else by its number where there are several.
fn names(points: &[Point], names: &HashMap<u32, String>) -> impl Fn(u32) -> Option<String> {
    move |number| {
        let point = points.get(number as usize)?;
        match (names.get(&point.interface), point.named) {
            (Some(name), None) => Some(name.clone()),
            (Some(name), Some(index)) => Some(format!("{name}/{index}")),
            (None, Some(index)) => Some(index.to_string()),
            (None, None) if points.len() > 1 => Some(point.interface.to_string()),
            (None, None) => None,
        }
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
