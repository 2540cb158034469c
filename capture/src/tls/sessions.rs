//! Earlier handshakes, so that a resumption is known by the session it resumes.
//!
//! Bounded in keys, in handshakes a key and in time. Tickets and session ids are kept as hashes, never as bytes.

use std::collections::VecDeque;
use std::hash::Hasher as _;
use std::net::IpAddr;

use flow::{ClientAuth, Endpoint, Evidence, Presented, Proof, Reason, Timestamp, Withheld};
use hashbrown::HashMap;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::Ends;

/// Most client, server and name combinations remembered.
const MAX_PEERS: usize = 16_384;
/// Most handshakes remembered of one combination; the oldest gives way.
const MAX_HANDSHAKES: usize = 8;
/// Most exact links (tickets, session ids) remembered; the oldest gives way.
const MAX_EXACT: usize = 65_536;
/// Most server ports (with the name asked for) whose handshakes are compared.
const MAX_PORTS: usize = 4_096;
/// Most hellos remembered to know them again on another hop; the oldest gives way.
const MAX_HOPS: usize = 8_192;
/// How long apart two hops of one session begin at most, in nanoseconds.
const HOP: i64 = 10 * 1_000_000_000;
/// How many full handshakes at a server port, all alike and not all of one client, tell of another.
const SIBLINGS: usize = 3;
/// How long a handshake is remembered, in nanoseconds: two days, the life of Envoy's tickets.
const LIFE: i64 = 172_800 * 1_000_000_000;

type Peer = (IpAddr, Endpoint, Option<String>);

/// One handshake that was seen.
#[derive(Debug, Clone)]
struct Seen {
    at: Timestamp,
    client: ClientAuth,
    /// Length without overhead of the server's first records after the client's flight, where tickets are.
    tickets: Vec<u32>,
}

/// Earlier handshakes, bounded, for linking resumptions to them.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    peers: HashMap<Peer, VecDeque<Seen>>,
    peer_order: VecDeque<Peer>,
    exact: HashMap<u128, (ClientAuth, Timestamp)>,
    exact_order: VecDeque<u128>,
    ports: HashMap<Port, Siblings>,
    port_order: VecDeque<Port>,
    hops: HashMap<u128, (ClientAuth, Timestamp)>,
    hop_order: VecDeque<u128>,
}

type Port = (Endpoint, Option<String>);

/// The full handshakes at one server port.
#[derive(Debug, Default)]
struct Siblings {
    /// The last of them.
    seen: VecDeque<Seen>,
    /// The first client, and whether there were others.
    client: Option<IpAddr>,
    several: bool,
    /// Whether they differed, once for all, or one was not known.
    mixed: bool,
}

impl Sessions {
    /// Remembers a TLS 1.3 handshake of these peers.
    pub(crate) fn add(&mut self, ends: Ends, sni: Option<&str>, client: ClientAuth, tickets: Vec<u32>) {
        let peer = peer(ends, sni);
        if !self.peers.contains_key(&peer) {
            if self.peers.len() >= MAX_PEERS
                && let Some(oldest) = self.peer_order.pop_front()
            {
                self.peers.remove(&oldest);
            }
            self.peer_order.push_back(peer.clone());
        }
        let seen = self.peers.entry(peer).or_default();
        if seen.len() >= MAX_HANDSHAKES {
            seen.pop_front();
        }
        seen.push_back(Seen { at: ends.start, client, tickets });
    }

    /// Remembers a full TLS 1.3 handshake at a server port, whoever its client was.
    pub(super) fn add_sibling(&mut self, ends: Ends, sni: Option<&str>, client: ClientAuth, tickets: &[u32]) {
        let port = (ends.server, sni.map(str::to_owned));
        if !self.ports.contains_key(&port) {
            if self.ports.len() >= MAX_PORTS
                && let Some(oldest) = self.port_order.pop_front()
            {
                self.ports.remove(&oldest);
            }
            self.port_order.push_back(port.clone());
        }
        let siblings = self.ports.entry(port).or_default();
        let first = *siblings.client.get_or_insert(ends.client);
        siblings.several |= first != ends.client;
        // An empty Certificate is the client's choice, not the server's: it tells nothing of the others.
        let telling = matches!(client, ClientAuth::Proved(..) | ClientAuth::Refuted(Withheld::Absent, _));
        let alike = siblings.seen.back().is_none_or(|last| same(&last.client, &client));
        siblings.mixed |= !telling || !alike;
        if siblings.mixed {
            siblings.seen.clear();
            return;
        }
        if siblings.seen.len() >= MAX_HANDSHAKES {
            siblings.seen.pop_front();
        }
        siblings.seen.push_back(Seen { at: ends.start, client, tickets: tickets.to_vec() });
    }

    /// Infers what a session was that was not seen from the full handshakes at the same server port: all of them went
    /// one way, and the tickets given out in them are as long as this identity.
    pub(super) fn siblings(&self, ends: Ends, sni: Option<&str>, identity: u16) -> Option<ClientAuth> {
        let siblings = self.ports.get(&(ends.server, sni.map(str::to_owned)))?;
        let live = || siblings.seen.iter().filter(|seen| ends.start.since(seen.at) <= LIFE);
        let fit = live().all(|seen| seen.tickets.iter().any(|inner| fits(*inner, identity)));
        if siblings.mixed || !siblings.several || !fit || live().count() < SIBLINGS {
            return None;
        }
        let evidence = Evidence::because(Proof::Inferred, Reason::Siblings);
        match live().next()?.client {
            ClientAuth::Proved(..) => Some(ClientAuth::Proved(Presented::Sent, evidence)),
            ClientAuth::Refuted(how, _) => Some(ClientAuth::Refuted(how, evidence)),
            ClientAuth::Hidden(_) => None,
        }
    }

    /// Remembers what the session came to that began with this hello.
    pub(super) fn add_hop(&mut self, name: u128, client: ClientAuth, at: Timestamp) {
        if self.hops.insert(name, (client, at)).is_none() {
            self.hop_order.push_back(name);
            if self.hop_order.len() > MAX_HOPS
                && let Some(oldest) = self.hop_order.pop_front()
            {
                self.hops.remove(&oldest);
            }
        }
    }

    /// Finds what a session came to that began with this hello at about this time.
    pub(super) fn find_hop(&self, name: u128, now: Timestamp) -> Option<ClientAuth> {
        let (client, at) = self.hops.get(&name)?;
        (now.since(*at) <= HOP).then_some(*client)
    }

    /// Remembers what a ticket or session id stands for.
    pub(super) fn add_exact(&mut self, name: u128, client: ClientAuth, at: Timestamp) {
        if self.exact.insert(name, (client, at)).is_none() {
            self.exact_order.push_back(name);
            if self.exact_order.len() > MAX_EXACT
                && let Some(oldest) = self.exact_order.pop_front()
            {
                self.exact.remove(&oldest);
            }
        }
    }

    /// Finds the session that a ticket or session id names.
    pub(super) fn find_exact(&self, name: u128, now: Timestamp) -> Option<ClientAuth> {
        let (client, at) = self.exact.get(&name)?;
        (now.since(*at) <= LIFE).then_some(*client)
    }

    /// Finds what the session behind a PSK identity of this length was: the handshakes whose tickets it fits, else
    /// all of these peers, if they agree. `None` when nothing is remembered, or they differ, or one is not known.
    pub(crate) fn find(&self, ends: Ends, sni: Option<&str>, identity: u16) -> Option<ClientAuth> {
        let seen = self.peers.get(&peer(ends, sni))?;
        let live = || seen.iter().filter(|seen| ends.start.since(seen.at) <= LIFE);
        let mut fitting =
            live().filter(|seen| seen.tickets.iter().any(|inner| fits(*inner, identity))).peekable();
        if fitting.peek().is_some() { agreed(fitting) } else { agreed(live()) }
    }
}

/// Hashes a ticket, a session id or a hello.
pub(super) fn name(bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish128().as_u128()
}

fn peer(ends: Ends, sni: Option<&str>) -> Peer {
    (ends.client, ends.server, sni.map(str::to_owned))
}

/// Whether a record of this inner length can be one to four NewSessionTickets with an identity of that length (a
/// message is 17 bytes and the identity, and up to 64 of nonce and extensions).
fn fits(inner: u32, identity: u16) -> bool {
    (1..=4_u32).any(|count| {
        inner
            .checked_div(count)
            .and_then(|one| one.checked_sub(u32::from(identity).saturating_add(17)))
            .is_some_and(|rest| rest <= 64)
    })
}

fn agreed<'a>(mut seen: impl Iterator<Item = &'a Seen>) -> Option<ClientAuth> {
    let first = seen.next()?.client;
    if matches!(first, ClientAuth::Hidden(_)) {
        return None;
    }
    seen.all(|other| same(&other.client, &first)).then_some(first)
}

/// Whether two answers are the same but for their evidence and the way a certificate was withheld.
fn same(one: &ClientAuth, other: &ClientAuth) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}
