//! One connection: who talks to whom, how much, and what its opening says about its protection.
//!
//! In come decoded packets of one 5-tuple, from whatever capture points; out come [`flow::Flow`]s. Bytes are held only
//! until the security settles. After that a packet costs its look-up and a few counters.

pub(crate) mod datagrams;
mod ended;
mod ending;
mod index;
mod naming;
pub(crate) mod opening;
pub(crate) mod points;
pub(crate) mod reassembly;
mod stray;
pub(crate) mod table;

use std::mem::offset_of;

use flow::{Protocol, Reason, Security, Side, Timestamp, Transport, Tunnel, Upgrade};

use crate::key::{self, Both, Key, Way};
use crate::packet::{Captured, Header, Packet, Tcp};
use crate::prefetch::prefetch;
use crate::tls::{Ending, Ends, Memory};
use ended::Ended;
pub(crate) use opening::Unsettled;
use opening::{Opening, Waiting};
use points::Rare;
use reassembly::{Origin, Segment};
pub(crate) use stray::Whose;

/// How many packets back a copy from another capture point is recognised, in each direction.
const RECENT: usize = 4;

/// How it is known which end is the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Roles {
    /// A SYN told.
    Known,
    /// Only the order of the packets did.
    Guessed,
}

/// What is counted and remembered of one direction.
#[derive(Debug, Clone, Copy, Default)]
struct Half {
    packets: u64,
    bytes: u64,
    /// Fingerprints of the last packets, newest first.
    recent: [u32; RECENT],
}

/// What tells where a direction begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    #[default]
    Nothing,
    /// The first segment of it, or the first to acknowledge it: no earlier than its beginning.
    Guessed,
    /// The SYN of the other side, which acknowledges its own.
    Answered,
    /// Its SYN.
    Syn,
}

/// How far a connection is known.
#[derive(Debug)]
pub(crate) enum State {
    /// No payload byte yet.
    Silent,
    Opening(Box<Opening>),
    /// An opening in which no protocol is possible any more.
    Waiting(Box<Waiting>),
    Settled(Settled),
    /// Settled elsewhere, under this number.
    Away(u64),
}

/// Concludes openings of TLS. What they come to depends on the connections before them, so it takes place in the order
/// of their packets, wherever the connections are tracked.
pub(crate) trait Conclude {
    /// Takes an opening whose answer is settled, and says how its connection stands now.
    fn conclude(&mut self, opening: Box<Opening>, ends: Ends) -> State;
}

impl Conclude for Memory {
    fn conclude(&mut self, opening: Box<Opening>, ends: Ends) -> State {
        State::Settled(opening.conclude(ends, self))
    }
}

/// What the opening came to.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub(crate) security: Security,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) upgrade: Option<Upgrade>,
}

/// What is known of a packet beside its headers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) at: Timestamp,
    /// The number of the capture point.
    pub(crate) point: u16,
    /// The encapsulations around it, outside in.
    pub(crate) tunnels: &'a [Tunnel],
}

/// One connection. Small, since each is kept as long as it lasts, and in the order of the lines of memory that it fills:
/// one with the first two fields, then two more.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Connection {
    pub(crate) key: Key,
    state: State,
    end: Timestamp,
    start: Timestamp,
    halves: Both<Half>,
    rare: Option<Box<Rare>>,
    /// The sequence number of each direction's SYN, or the best guess at it, and what that rests on.
    syns: Both<u32>,
    /// A mixture of the timestamps of the first SYN-ACK; 0 where there are none.
    stamps: u32,
    /// What names the flow beside its ends and its start; known from the first packet, so that the name never changes: the
    /// client's initial sequence number, which every capture that holds the opening tells, or where the connection was
    /// joined late the first packet's own; for datagrams how many connections were seen before it between the same ends.
    named: u32,
    /// Where the latest reset stands in its sender's stream.
    reset_at: u32,
    /// The number of the first capture point.
    point: u16,
    told: Both<Told>,
    ended: Ended,
    joined: bool,
    /// Which way the client sends.
    client: Way,
    roles: Roles,
}

const _: () = assert!(offset_of!(Connection, end) == 64, "the second line of memory begins with it");
const _: () = assert!(offset_of!(Connection, rare) / 64 == 2, "in the third line of memory");

/// What is to be done about a packet that was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Nothing,
    /// It began or ended something: the connection may belong to another queue.
    Turn,
    /// It is to be looked at.
    Look,
}

/// What a packet did to its connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// The first payload byte came.
    pub(crate) spoke: bool,
    /// The security is settled now and was not before.
    pub(crate) settled: bool,
    /// How many payload bytes it held before, and holds now.
    pub(crate) held: (usize, usize),
}

impl Connection {
    pub(crate) fn new(packet: &Packet<'_>, context: Context<'_>) -> Self {
        let (key, way) = (packet.key, packet.way);
        let (named, joined) = match packet.header {
            Header::Tcp(tcp) if tcp.syn() => match tcp.acknowledgment() {
                None => (tcp.sequence, false),
                Some(number) => (number.wrapping_sub(1), false),
            },
            Header::Tcp(tcp) => (tcp.sequence, true),
            Header::Udp { .. } => (0, true),
        };
        Self {
            key,
            start: context.at,
            end: context.at,
            named,
            joined,
            client: way,
            roles: Roles::Guessed,
            point: context.point,
            rare: Rare::of(context.tunnels),
            halves: Both::default(),
            syns: Both::default(),
            told: Both::default(),
            ended: Ended::default(),
            stamps: 0,
            reset_at: 0,
            state: State::Silent,
        }
    }

    /// Counts a packet; says what is to be done about it. What was seen before is not looked at, nor what comes after the
    /// security is settled, nor what ends nothing because it stands where its receiver takes none.
    #[inline]
    pub(crate) fn count(&mut self, packet: &Packet<'_>, context: Context<'_>) -> Counted {
        let way = packet.way;
        let several = self.note(context.point);
        self.end = self.end.max(context.at);
        let half = self.halves.of_mut(way);
        let (fingerprint, telling) = fingerprint(packet);
        if (telling || several) && half.recent.contains(&fingerprint) {
            return Counted::Nothing;
        }
        let [first, second, third, _] = half.recent;
        half.recent = [fingerprint, first, second, third];
        half.packets = half.packets.saturating_add(1);
        half.bytes = half.bytes.saturating_add(packet.payload.on_wire() as u64);

        let mut turned = false;
        if let Header::Tcp(tcp) = &packet.header {
            if tcp.turns() != 0 {
                if self.is_stray(way, tcp, packet.payload.on_wire()) {
                    return Counted::Nothing;
                }
                self.flags(way, tcp);
                turned = true;
            } else if self.ended.by_reset() && packet.payload.on_wire() > 0 {
                self.go_on(way, tcp, packet.payload.on_wire());
                turned = true;
            }
            if !tcp.reset() && (self.told.up == Told::Nothing || self.told.down == Told::Nothing) {
                self.guess(way, tcp);
            }
        }
        match self.state {
            State::Opening(_) | State::Waiting(_) => Counted::Look,
            State::Silent if packet.payload.on_wire() > 0 => Counted::Look,
            State::Silent | State::Settled(_) | State::Away(_) if turned => Counted::Turn,
            State::Silent | State::Settled(_) | State::Away(_) => Counted::Nothing,
        }
    }

    /// Takes a packet that an opening in little room has room for and waits on; returns whether it did.
    #[inline]
    pub(crate) fn waits(&mut self, packet: &Packet<'_>) -> bool {
        let State::Waiting(waiting) = &mut self.state else { return false };
        let Header::Tcp(tcp) = packet.header else { return false };
        tcp.turns() == 0 && waiting.take(packet.way, segment(&tcp, packet.payload, number(&self.halves)))
    }

    /// Takes a packet of a connection whose security is not settled, once it is counted.
    pub(crate) fn look(&mut self, packet: &Packet<'_>, conclude: &mut impl Conclude) -> Change {
        let way = packet.way;
        match &mut self.state {
            State::Settled(_) | State::Away(_) => Change::default(),
            State::Waiting(waiting) => {
                let before = waiting.weight();
                if waiting.grow(way, packet.payload.bytes.len()) && self.waits(packet) {
                    return Change { held: (before, self.held()), ..Change::default() };
                }
                self.wake();
                let change = self.open(way, packet, conclude);
                Change { held: (before, change.held.1), ..change }
            }
            State::Silent => {
                let mut opening = Opening::new(self.key.transport(), way);
                for way in [Way::Up, Way::Down] {
                    let first = self.syns.of(way).wrapping_add(1);
                    match self.told.of(way) {
                        Told::Syn => opening.begins_at(way, first),
                        Told::Answered => opening.may_have_begun_at(way, first),
                        Told::Guessed | Told::Nothing => {}
                    }
                }
                self.state = State::Opening(Box::new(opening));
                Change { spoke: true, ..self.open(way, packet, conclude) }
            }
            State::Opening(_) => self.open(way, packet, conclude),
        }
    }

    /// Takes a packet of an opening.
    fn open(&mut self, way: Way, packet: &Packet<'_>, conclude: &mut impl Conclude) -> Change {
        let from_start = self.seen_from_start();
        let number = number(&self.halves);
        let State::Opening(opening) = &mut self.state else { return Change::default() };
        let before = opening.weight();
        match packet.header {
            Header::Tcp(tcp) => {
                if tcp.syn() {
                    opening.begins_at(way, tcp.sequence.wrapping_add(1));
                }
                let segment = segment(&tcp, packet.payload, number);
                opening.segment(way, segment, from_start);
                if tcp.fin() {
                    let length = u32::try_from(packet.payload.on_wire()).unwrap_or_default();
                    opening.close(way, Ending::Fin, Some(segment.sequence.wrapping_add(length)));
                }
                if tcp.reset() {
                    opening.close(way, Ending::Reset, None);
                }
            }
            Header::Udp { .. } => opening.datagram(way, packet.payload),
        }
        if !opening.may_answer() {
            return Change { held: (before, before), ..Change::default() };
        }
        let settled = self.settle(false, conclude);
        if let State::Opening(opening) = &mut self.state {
            let after = opening.weigh();
            if !opening.may_wait() {
                return Change { spoke: false, settled, held: (before, after) };
            }
            if let Some(waiting) = Waiting::of(opening) {
                self.state = State::Waiting(Box::new(waiting));
            }
        }
        Change { spoke: false, settled, held: (before, self.held()) }
    }

    /// Gives an opening that waits in little room what it needs to be more.
    fn wake(&mut self) {
        if let State::Waiting(waiting) = &self.state {
            self.state = State::Opening(Box::new(waiting.opening()));
        }
    }

    /// Notes a capture point that saw a packet; returns whether several have seen some.
    #[inline]
    fn note(&mut self, point: u16) -> bool {
        if point != self.point {
            self.rare.get_or_insert_default().add(point);
        }
        self.rare.as_ref().is_some_and(|rare| !rare.points.is_empty())
    }

    /// Notes what tells where a direction begins, if nothing as good did.
    fn tell(&mut self, way: Way, told: Told, syn: u32) {
        if told > *self.told.of(way) {
            (*self.told.of_mut(way), *self.syns.of_mut(way)) = (told, syn);
        }
    }

    /// Notes what a segment tells of where both directions begin.
    fn guess(&mut self, way: Way, tcp: &Tcp) {
        self.tell(way, Told::Guessed, tcp.sequence.wrapping_sub(1));
        if let Some(number) = tcp.acknowledgment() {
            self.tell(way.other(), Told::Guessed, number.wrapping_sub(1));
        }
    }

    fn flags(&mut self, way: Way, tcp: &Tcp) {
        if tcp.syn() {
            self.tell(way, Told::Syn, tcp.sequence);
            if let Some(number) = tcp.acknowledgment() {
                self.tell(way.other(), Told::Answered, number.wrapping_sub(1));
                if self.stamps == 0 {
                    self.stamps = tcp.opening_stamps().unwrap_or_default();
                }
            }
            if self.roles == Roles::Guessed {
                self.client = if tcp.acknowledgment().is_some() { way.other() } else { way };
                self.roles = Roles::Known;
            }
        }
        if tcp.fin() {
            self.ended.fin(way);
        }
        if tcp.reset() {
            self.ended.reset(way);
            self.reset_at = tcp.sequence;
        }
    }

    /// Asks the opening for its answer; returns whether there is one now.
    fn settle(&mut self, ended: bool, conclude: &mut impl Conclude) -> bool {
        let from_start = self.seen_from_start();
        if let State::Waiting(_) = self.state {
            self.wake();
        }
        let State::Opening(opening) = &mut self.state else { return false };
        let roles_known = self.roles == Roles::Known;
        let answer = opening.answer(&mut self.client, roles_known, from_start, self.key, ended);
        let settled = match answer {
            None if !ended => return false,
            None => {
                Settled { security: Security::Unknown(Reason::Incomplete), protocol: None, upgrade: None }
            }
            Some(opening::Answer::Settled(settled)) => settled,
            Some(opening::Answer::Tls) => {
                self.associate();
                let ends = self.ends();
                if let State::Opening(opening) = std::mem::replace(&mut self.state, State::Silent) {
                    self.state = conclude.conclude(opening, ends);
                }
                return true;
            }
        };
        self.state = State::Settled(settled);
        true
    }

    fn ends(&self) -> Ends {
        Ends {
            client: self.key.sender(self.client).ip,
            server: self.key.sender(self.client.other()),
            start: self.start,
        }
    }

    /// Tells whether the capture holds the connection's opening.
    pub(crate) const fn seen_from_start(&self) -> bool {
        match self.key.transport() {
            Transport::Tcp => matches!(self.told.up, Told::Syn) || matches!(self.told.down, Told::Syn),
            Transport::Udp => true,
        }
    }

    /// Tells whether no payload byte was seen.
    pub(crate) const fn silent(&self) -> bool {
        matches!(self.state, State::Silent)
    }

    /// Asks for its memory, its opening's not included.
    #[inline]
    pub(crate) fn prefetch(&self) {
        prefetch(&self.key);
        prefetch(&self.end);
        prefetch(&self.rare);
    }

    /// Returns its opening, if it is not settled.
    #[inline]
    pub(crate) fn opening(&self) -> Option<Unsettled<'_>> {
        match &self.state {
            State::Opening(opening) => Some(Unsettled::Opening(opening)),
            State::Waiting(waiting) => Some(Unsettled::Waiting(waiting)),
            State::Silent | State::Settled(_) | State::Away(_) => None,
        }
    }

    /// Returns how many payload bytes it holds.
    pub(crate) fn held(&self) -> usize {
        match &self.state {
            State::Opening(opening) => opening.weight(),
            State::Waiting(waiting) => waiting.weight(),
            State::Silent | State::Settled(_) | State::Away(_) => 0,
        }
    }

    pub(crate) const fn last(&self) -> Timestamp {
        self.end
    }
}

/// Returns the number of the packet that was counted last, from 0.
fn number(halves: &Both<Half>) -> u32 {
    let packets = halves.up.packets.saturating_add(halves.down.packets);
    u32::try_from(packets.saturating_sub(1)).unwrap_or(u32::MAX)
}

/// Returns what a packet of this number adds to its stream.
fn segment<'a>(tcp: &Tcp, payload: Captured<'a>, packet: u32) -> Segment<'a> {
    let origin = Origin { packet, acknowledgment: tcp.acknowledgment() };
    Segment { sequence: tcp.sequence.wrapping_add(u32::from(tcp.syn())), payload, origin }
}

/// Returns which role sends this way.
const fn side(client: Way, way: Way) -> Side {
    match (client, way) {
        (Way::Up, Way::Up) | (Way::Down, Way::Down) => Side::Client,
        (Way::Up, Way::Down) | (Way::Down, Way::Up) => Side::Server,
    }
}

/// Fingerprints a packet by what stays the same at every capture point (hop limits and checksums of headers do not),
/// and tells whether a retransmission would look different.
#[inline]
fn fingerprint(packet: &Packet<'_>) -> (u32, bool) {
    let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let shape = pair(packet.identification, u32::try_from(packet.payload.on_wire()).unwrap_or(u32::MAX));
    let (words, telling) = match packet.header {
        Header::Tcp(tcp) => {
            let numbers = pair(tcp.sequence, tcp.acknowledgment().unwrap_or_default());
            let rest = pair(tcp.stamp().unwrap_or_default(), tcp.turns());
            ([numbers, rest], tcp.stamp().is_some() || packet.identification != 0)
        }
        Header::Udp { checksum } => ([u64::from(checksum), 0], packet.identification != 0 && checksum != 0),
    };
    // 0 is what an empty place holds.
    (key::mix([shape, words[0], words[1]]).max(1), telling)
}
