//! Earlier handshakes, so that a resumption is known by the session it resumes.
//!
//! Bounded in keys, in handshakes a key and in time. Tickets and session ids are kept as hashes, never as bytes.

use std::collections::VecDeque;
use std::hash::Hasher as _;
use std::net::IpAddr;

use flow::{ClientAuth, Endpoint, Timestamp};
use hashbrown::HashMap;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::Ends;

/// Most client, server and name combinations remembered.
const MAX_PEERS: usize = 16_384;
/// Most handshakes remembered of one combination; the oldest gives way.
const MAX_HANDSHAKES: usize = 8;
/// Most exact links (tickets, session ids) remembered; the oldest gives way.
const MAX_EXACT: usize = 65_536;
/// How long a handshake is remembered, in nanoseconds: two days, the life of Envoy's tickets.
const LIFE: i64 = 172_800 * 1_000_000_000;

type Peer = (IpAddr, Endpoint, Option<Vec<u8>>);

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
}

impl Sessions {
    /// Remembers a TLS 1.3 handshake of these peers.
    pub(crate) fn add(&mut self, ends: Ends, name: Option<&[u8]>, client: ClientAuth, tickets: Vec<u32>) {
        let peer = peer(ends, name);
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
    pub(crate) fn find(&self, ends: Ends, name: Option<&[u8]>, identity: u16) -> Option<ClientAuth> {
        let seen = self.peers.get(&peer(ends, name))?;
        let live = || seen.iter().filter(|seen| ends.start.since(seen.at) <= LIFE);
        let mut fitting =
            live().filter(|seen| seen.tickets.iter().any(|inner| fits(*inner, identity))).peekable();
        if fitting.peek().is_some() { agreed(fitting) } else { agreed(live()) }
    }
}

/// Hashes a ticket or session id.
pub(super) fn name(bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish128().as_u128()
}

fn peer(ends: Ends, name: Option<&[u8]>) -> Peer {
    (ends.client, ends.server, name.map(<[u8]>::to_vec))
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
    seen.all(|other| std::mem::discriminant(&other.client) == std::mem::discriminant(&first)).then_some(first)
}
