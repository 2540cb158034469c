//! One connection: who talks to whom, how much, and what its opening says about its protection.
//!
//! In come decoded packets of one 5-tuple, from whatever capture points; out come [`flow::Flow`]s. Bytes are held only
//! until the security settles. After that a packet costs its look-up and a few counters.

pub(crate) mod datagrams;
mod opening;
pub(crate) mod reassembly;
pub(crate) mod table;

use std::hash::Hasher as _;

use flow::{
    Close, Endpoint, Flow, FlowId, PerSide, Protocol, Reason, Security, Side, Timestamp, Transport, Tunnel,
    Upgrade,
};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::packet::{Header, Packet, Tcp};
use crate::tls::{Ending, Ends, Sessions};
use opening::Opening;
use reassembly::{Origin, Segment};

/// How many capture points one flow remembers.
const POINTS: usize = 16;

/// How many packets back a copy from another capture point is recognised, in each direction.
const RECENT: usize = 4;

/// The two directions of a connection, named by the order of its endpoints, which both directions share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the smaller endpoint to the larger.
    Up,
    /// From the larger to the smaller.
    Down,
}

impl Way {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// A thing for each direction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Both<T> {
    pub(crate) up: T,
    pub(crate) down: T,
}

impl<T> Both<T> {
    pub(crate) const fn of(&self, way: Way) -> &T {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    pub(crate) const fn of_mut(&mut self, way: Way) -> &mut T {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

/// What makes packets one connection: both directions have the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    low: Endpoint,
    high: Endpoint,
    transport: Transport,
}

impl Key {
    /// Returns the key of a packet, and which way it goes.
    pub(crate) fn of(packet: &Packet<'_>) -> (Self, Way) {
        let transport = match packet.header {
            Header::Tcp(_) => Transport::Tcp,
            Header::Udp { .. } => Transport::Udp,
        };
        if packet.source <= packet.destination {
            (Self { low: packet.source, high: packet.destination, transport }, Way::Up)
        } else {
            (Self { low: packet.destination, high: packet.source, transport }, Way::Down)
        }
    }

    pub(crate) const fn transport(&self) -> Transport {
        self.transport
    }

    const fn sender(&self, way: Way) -> Endpoint {
        match way {
            Way::Up => self.low,
            Way::Down => self.high,
        }
    }
}

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
    /// The sequence number of the SYN.
    syn: Option<u32>,
    fin: bool,
}

/// How far a connection is known.
#[derive(Debug)]
enum State {
    /// No payload byte yet.
    Silent,
    Opening(Box<Opening>),
    Settled(Box<Settled>),
}

/// What the opening came to.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub(crate) security: Security,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) upgrade: Option<Upgrade>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) key: Key,
    start: Timestamp,
    end: Timestamp,
    /// The first packet's sequence number, for the flow's name.
    first_sequence: u32,
    /// Which way the client sends.
    client: Way,
    roles: Roles,
    tunnels: Box<[Tunnel]>,
    points: Vec<u32>,
    halves: Both<Half>,
    reset: bool,
    state: State,
}

/// What a packet did to its connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// The first payload byte came.
    pub(crate) spoke: bool,
    /// The security is settled now and was not before.
    pub(crate) settled: bool,
}

impl Connection {
    pub(crate) fn new(key: Key, way: Way, packet: &Packet<'_>, at: Timestamp, tunnels: &[Tunnel]) -> Self {
        let first_sequence = match packet.header {
            Header::Tcp(tcp) => tcp.sequence,
            Header::Udp { .. } => 0,
        };
        Self {
            key,
            start: at,
            end: at,
            first_sequence,
            client: way,
            roles: Roles::Guessed,
            tunnels: tunnels.into(),
            points: Vec::new(),
            halves: Both::default(),
            reset: false,
            state: State::Silent,
        }
    }

    /// Tells whether a packet belongs to a later connection between the same ends.
    pub(crate) fn replaced_by(&self, way: Way, packet: &Packet<'_>) -> bool {
        let Header::Tcp(tcp) = packet.header else { return false };
        if !tcp.syn || tcp.acknowledgment.is_some() {
            return false;
        }
        match self.halves.of(way).syn {
            Some(syn) => syn != tcp.sequence,
            // Without a SYN so far, this may be the connection's own, captured after the segment it precedes.
            None => match &self.state {
                State::Opening(opening) => !opening.may_begin_at(way, tcp.sequence.wrapping_add(1)),
                State::Settled(_) => true,
                State::Silent => false,
            },
        }
    }

    pub(crate) fn packet(
        &mut self,
        way: Way,
        packet: &Packet<'_>,
        at: Timestamp,
        point: u32,
        sessions: &mut Sessions,
    ) -> Change {
        let new_point = !self.points.contains(&point);
        if new_point && self.points.len() < POINTS {
            self.points.push(point);
        }
        self.end = self.end.max(at);
        let several = self.points.len() > 1;
        let half = self.halves.of_mut(way);
        let (fingerprint, telling) = fingerprint(packet);
        if half.recent.contains(&fingerprint) && (telling || several) {
            return Change::default();
        }
        half.recent.rotate_right(1);
        half.recent[0] = fingerprint;
        half.packets = half.packets.saturating_add(1);
        half.bytes = half.bytes.saturating_add(packet.payload.on_wire() as u64);

        if let Header::Tcp(tcp) = packet.header {
            self.flags(way, &tcp);
        }
        let spoke = packet.payload.on_wire() > 0 && matches!(self.state, State::Silent);
        if spoke {
            let mut opening = Opening::new(self.key.transport, way);
            for way in [Way::Up, Way::Down] {
                if let Some(syn) = self.halves.of(way).syn {
                    opening.begins_at(way, syn.wrapping_add(1));
                }
            }
            self.state = State::Opening(Box::new(opening));
        }
        let from_start = self.seen_from_start();
        if let State::Opening(opening) = &mut self.state {
            let number = self.halves.up.packets.saturating_add(self.halves.down.packets).saturating_sub(1);
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            match packet.header {
                Header::Tcp(tcp) => {
                    if tcp.syn {
                        opening.begins_at(way, tcp.sequence.wrapping_add(1));
                    }
                    let origin = Origin { packet: number, acknowledgment: tcp.acknowledgment };
                    let sequence = tcp.sequence.wrapping_add(u32::from(tcp.syn));
                    opening.segment(way, Segment { sequence, payload: packet.payload, origin }, from_start);
                    if tcp.fin {
                        let length = u32::try_from(packet.payload.on_wire()).unwrap_or_default();
                        opening.close(way, Ending::Fin, Some(sequence.wrapping_add(length)));
                    }
                    if tcp.reset {
                        opening.close(way, Ending::Reset, None);
                    }
                }
                Header::Udp { .. } => opening.datagram(way, packet.payload),
            }
            let settled = self.settle(false, sessions);
            return Change { spoke, settled };
        }
        Change { spoke, settled: false }
    }

    fn flags(&mut self, way: Way, tcp: &Tcp) {
        if tcp.syn {
            let half = self.halves.of_mut(way);
            half.syn.get_or_insert(tcp.sequence);
            if self.roles == Roles::Guessed {
                self.client = if tcp.acknowledgment.is_some() { way.other() } else { way };
                self.roles = Roles::Known;
            }
        }
        if tcp.fin {
            self.halves.of_mut(way).fin = true;
        }
        if tcp.reset && !(self.halves.up.fin && self.halves.down.fin) {
            self.reset = true;
        }
    }

    /// Asks the opening for its answer; returns whether there is one now.
    fn settle(&mut self, ended: bool, sessions: &mut Sessions) -> bool {
        let ends = self.ends();
        let from_start = self.seen_from_start();
        let State::Opening(opening) = &mut self.state else { return false };
        let roles_known = self.roles == Roles::Known;
        let answer = opening.answer(&mut self.client, roles_known, from_start, self.key, ended);
        let answer = match answer {
            Some(answer) => answer,
            None if ended => opening::Answer::Settled(Settled {
                security: Security::Unknown(Reason::Incomplete),
                protocol: None,
                upgrade: None,
            }),
            None => return false,
        };
        let ends = Ends {
            client: self.key.sender(self.client).ip,
            server: self.key.sender(self.client.other()),
            ..ends
        };
        let settled = match answer {
            opening::Answer::Settled(settled) => settled,
            opening::Answer::Tls => opening.conclude(ends, sessions),
        };
        self.state = State::Settled(Box::new(settled));
        true
    }

    const fn ends(&self) -> Ends {
        Ends {
            client: self.key.sender(self.client).ip,
            server: self.key.sender(self.client.other()),
            start: self.start,
        }
    }

    /// Tells whether the capture holds the connection's opening.
    pub(crate) const fn seen_from_start(&self) -> bool {
        match self.key.transport {
            Transport::Tcp => {
                self.halves.of(self.client).syn.is_some() || self.halves.of(self.client.other()).syn.is_some()
            }
            Transport::Udp => true,
        }
    }

    /// Tells whether no payload byte was seen.
    pub(crate) const fn silent(&self) -> bool {
        matches!(self.state, State::Silent)
    }

    /// Tells whether both sides, or a reset, have ended it.
    pub(crate) const fn closed(&self) -> bool {
        self.reset || (self.halves.up.fin && self.halves.down.fin)
    }

    /// Returns how many payload bytes it holds.
    pub(crate) fn held(&self) -> usize {
        match &self.state {
            State::Opening(opening) => opening.held(),
            State::Silent | State::Settled(_) => 0,
        }
    }

    pub(crate) const fn last(&self) -> Timestamp {
        self.end
    }

    /// Gives up the opening because the bound on held bytes was reached.
    pub(crate) fn give_up(&mut self, sessions: &mut Sessions) -> bool {
        self.settle(true, sessions)
    }

    /// Reports the connection at its end.
    pub(crate) fn finish(
        mut self,
        otherwise: Close,
        sessions: &mut Sessions,
        names: &impl Fn(u32) -> Option<String>,
    ) -> Flow {
        self.settle(true, sessions);
        let close = if self.reset {
            Close::Reset
        } else if self.halves.up.fin || self.halves.down.fin {
            Close::Fin
        } else {
            otherwise
        };
        self.report(close, names)
    }

    /// Reports the connection as it stands.
    pub(crate) fn report(&self, close: Close, names: &impl Fn(u32) -> Option<String>) -> Flow {
        let settled = match &self.state {
            State::Settled(settled) => Settled::clone(settled),
            State::Silent => {
                Settled { security: Security::Unknown(Reason::NoPayload), protocol: None, upgrade: None }
            }
            State::Opening(_) => {
                Settled { security: Security::Unknown(Reason::Incomplete), protocol: None, upgrade: None }
            }
        };
        let (client, server) = (self.halves.of(self.client), self.halves.of(self.client.other()));
        Flow {
            id: self.id(),
            start: self.start,
            end: self.end,
            transport: self.key.transport,
            client: self.key.sender(self.client),
            server: self.key.sender(self.client.other()),
            tunnel: self.tunnels.to_vec(),
            seen_at: self.points.iter().filter_map(|point| names(*point)).collect(),
            security: settled.security,
            protocol: settled.protocol,
            upgrade: settled.upgrade,
            from_start: self.seen_from_start(),
            close,
            packets: PerSide { client: client.packets, server: server.packets },
            bytes: PerSide { client: client.bytes, server: server.bytes },
        }
    }

    /// Names the flow: a hash with a fixed key, so that the same capture gives the same names everywhere.
    fn id(&self) -> FlowId {
        let mut hash = SipHasher13::new();
        for end in [self.key.low, self.key.high] {
            match end.ip {
                std::net::IpAddr::V4(ip) => hash.write(&ip.octets()),
                std::net::IpAddr::V6(ip) => hash.write(&ip.octets()),
            }
            hash.write(&end.port.to_be_bytes());
        }
        hash.write(self.key.transport.name().as_bytes());
        hash.write(&self.start.as_nanos().to_be_bytes());
        hash.write(&self.first_sequence.to_be_bytes());
        FlowId(hash.finish128().as_u128())
    }
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
fn fingerprint(packet: &Packet<'_>) -> (u32, bool) {
    let mut mixed = Mix(0);
    mixed.add(u64::from(packet.identification));
    mixed.add(packet.payload.on_wire() as u64);
    let telling = match packet.header {
        Header::Tcp(tcp) => {
            mixed.add(u64::from(tcp.sequence));
            mixed.add(u64::from(tcp.acknowledgment.unwrap_or_default()));
            mixed.add(u64::from(tcp.stamp.unwrap_or_default()));
            mixed.add(u64::from(tcp.syn) | u64::from(tcp.fin) << 1 | u64::from(tcp.reset) << 2);
            tcp.stamp.is_some() || packet.identification != 0
        }
        Header::Udp { checksum } => {
            mixed.add(u64::from(checksum));
            packet.identification != 0 && checksum != 0
        }
    };
    // 0 is what an empty place holds.
    (mixed.low().max(1), telling)
}

struct Mix(u64);

impl Mix {
    const fn add(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    #[expect(clippy::cast_possible_truncation, reason = "a fingerprint")]
    const fn low(&self) -> u32 {
        (self.0 ^ (self.0 >> 32)) as u32
    }
}
