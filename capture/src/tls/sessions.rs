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

/// One handshake that was seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Timestamp,
    client: ClientAuth,
    tickets: Tickets,
}

/// How many server records after the client's flight may hold tickets.
pub(super) const TICKET_RECORDS: usize = 4;

/// Lengths without overhead of the server's first records after the client's flight, where tickets are; 0 for none.
pub(super) type Tickets = [u32; TICKET_RECORDS];

/// Values by a hash, as many as the bound lets: the oldest gives way.
#[derive(Debug)]
struct Bounded<V> {
    values: HashMap<u128, V>,
    order: VecDeque<u128>,
    most: usize,
    forgotten: u64,
}

impl<V: Default> Bounded<V> {
    fn of(most: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), most, forgotten: 0 }
    }

    fn get(&self, name: u128) -> Option<&V> {
        self.values.get(&name)
    }

    /// Returns the value of a name, which it has from here on.
    fn of_name(&mut self, name: u128) -> &mut V {
        if !self.values.contains_key(&name) {
            if self.order.len() >= self.most
                && let Some(oldest) = self.order.pop_front()
            {
                self.values.remove(&oldest);
                self.forgotten = self.forgotten.saturating_add(1);
            }
            self.order.push_back(name);
        }
        self.values.entry(name).or_default()
    }
}

/// Earlier handshakes, bounded, for linking resumptions to them.
#[derive(Debug)]
pub(crate) struct Sessions {
    peers: Bounded<VecDeque<Seen>>,
    exact: Bounded<Option<(ClientAuth, Timestamp)>>,
    ports: Bounded<Siblings>,
    hops: Bounded<Option<(ClientAuth, Timestamp)>>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            peers: Bounded::of(MAX_PEERS),
            exact: Bounded::of(MAX_EXACT),
            ports: Bounded::of(MAX_PORTS),
            hops: Bounded::of(MAX_HOPS),
        }
    }
}

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
    /// Returns how many sessions were forgotten because a bound was reached: resumptions of theirs are not linked.
    pub(crate) const fn forgotten(&self) -> u64 {
        let Self { peers, exact, ports, hops } = self;
        peers
            .forgotten
            .saturating_add(exact.forgotten)
            .saturating_add(ports.forgotten)
            .saturating_add(hops.forgotten)
    }

    /// Remembers a TLS 1.3 handshake of these peers.
    pub(crate) fn add(&mut self, ends: Ends, name: Option<&[u8]>, client: ClientAuth, tickets: Tickets) {
        let seen = self.peers.of_name(peer(Some(ends.client), ends.server, name));
        if seen.len() >= MAX_HANDSHAKES {
            seen.pop_front();
        }
        seen.push_back(Seen { at: ends.start, client, tickets });
    }

    /// Remembers a full TLS 1.3 handshake at a server port, whoever its client was.
    pub(super) fn add_sibling(
        &mut self,
        ends: Ends,
        name: Option<&[u8]>,
        client: ClientAuth,
        tickets: Tickets,
    ) {
        let siblings = self.ports.of_name(peer(None, ends.server, name));
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
        siblings.seen.push_back(Seen { at: ends.start, client, tickets });
    }

    /// Infers what a session was that was not seen from the full handshakes at the same server port: all of them went
    /// one way, and the tickets given out in them are as long as this identity.
    pub(super) fn siblings(&self, ends: Ends, name: Option<&[u8]>, identity: u16) -> Option<ClientAuth> {
        let siblings = self.ports.get(peer(None, ends.server, name))?;
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
        *self.hops.of_name(name) = Some((client, at));
    }

    /// Finds what a session came to that began with this hello at about this time.
    pub(super) fn find_hop(&self, name: u128, now: Timestamp) -> Option<ClientAuth> {
        let (client, at) = (*self.hops.get(name)?)?;
        (now.since(at) <= HOP).then_some(client)
    }

    /// Remembers what a ticket or session id stands for.
    pub(super) fn add_exact(&mut self, name: u128, client: ClientAuth, at: Timestamp) {
        *self.exact.of_name(name) = Some((client, at));
    }

    /// Finds the session that a ticket or session id names.
    pub(super) fn find_exact(&self, name: u128, now: Timestamp) -> Option<ClientAuth> {
        let (client, at) = (*self.exact.get(name)?)?;
        (now.since(at) <= LIFE).then_some(client)
    }

    /// Finds what the session behind a PSK identity of this length was: the handshakes whose tickets it fits, else
    /// all of these peers, if they agree. `None` when nothing is remembered, or they differ, or one is not known.
    pub(crate) fn find(&self, ends: Ends, name: Option<&[u8]>, identity: u16) -> Option<ClientAuth> {
        let seen = self.peers.get(peer(Some(ends.client), ends.server, name))?;
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

/// Hashes a server's port with the name that is asked for there, and the client if it is to count.
fn peer(client: Option<IpAddr>, server: Endpoint, name: Option<&[u8]>) -> u128 {
    let mut hasher = SipHasher13::new();
    for ip in [client, Some(server.ip)].into_iter().flatten() {
        match ip {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
    }
    hasher.write(&server.port.to_be_bytes());
    hasher.write_u8(u8::from(name.is_some()));
    hasher.write(name.unwrap_or_default());
    hasher.finish128().as_u128()
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
