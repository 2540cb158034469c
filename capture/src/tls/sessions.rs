//! Earlier handshakes, so that a resumption is known by the session it resumes.
//!
//! Bounded in keys, in handshakes a key and in time. Tickets and session ids are kept as hashes, never as bytes.

use std::hash::{BuildHasher as _, Hasher as _};
use std::net::IpAddr;

use flow::{ClientAuth, Endpoint, Evidence, Presented, Proof, Reason, Timestamp, Withheld};
use hashbrown::{DefaultHashBuilder, HashTable};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::Ends;

/// Most handshakes remembered of one combination; the oldest gives way.
const MAX_HANDSHAKES: usize = 8;
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
pub(super) type Tickets = [u16; TICKET_RECORDS];

/// Values by a hash, as many as the bound lets: the oldest gives way.
///
/// They stand in the order in which they came, so that a new one takes the place of the oldest; beside them an index that is
/// small, because nearly every connection looks here, and mostly finds nothing.
#[derive(Debug)]
struct Bounded<V> {
    values: Vec<(u128, V)>,
    /// Where the oldest stands, once there are as many as the bound lets.
    oldest: usize,
    /// Where each name stands.
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
    most: usize,
    forgotten: u64,
}

impl<V: Default> Bounded<V> {
    fn of(most: usize) -> Self {
        Self {
            values: Vec::new(),
            oldest: 0,
            places: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            most: most.clamp(1, u32::MAX as usize),
            forgotten: 0,
        }
    }

    fn place(&self, name: u128) -> Option<usize> {
        let is_it = |place: &u32| self.values.get(*place as usize).is_some_and(|(known, _)| *known == name);
        self.places.find(self.hasher.hash_one(name), is_it).map(|place| *place as usize)
    }

    fn get(&self, name: u128) -> Option<&V> {
        self.values.get(self.place(name)?).map(|(_, value)| value)
    }

    /// Gives a name a value.
    fn set(&mut self, name: u128, value: V) {
        if let Some(place) = self.of_name(name) {
            *place = value;
        }
    }

    /// Returns the value of a name, which it has from here on: there is one.
    fn of_name(&mut self, name: u128) -> Option<&mut V> {
        let place = self.place(name).unwrap_or_else(|| self.add(name));
        self.values.get_mut(place).map(|(_, value)| value)
    }

    /// Makes a place for a name that is new.
    fn add(&mut self, name: u128) -> usize {
        let Self { values, oldest, places, hasher, most, forgotten } = self;
        let place = if values.len() < *most {
            values.push((name, V::default()));
            values.len().saturating_sub(1)
        } else {
            let place = *oldest;
            if let Some(value) = values.get_mut(place) {
                let is_it = |at: &u32| *at as usize == place;
                if let Ok(entry) = places.find_entry(hasher.hash_one(value.0), is_it) {
                    entry.remove();
                }
                *value = (name, V::default());
            }
            *oldest = place.saturating_add(1).checked_rem(*most).unwrap_or(0);
            *forgotten = forgotten.saturating_add(1);
            place
        };
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        places.insert_unique(hasher.hash_one(name), number, |at| {
            hasher.hash_one(values.get(*at as usize).map_or(0, |(name, _)| *name))
        });
        place
    }
}

/// The latest handshakes of one combination. Mostly it is one, so only that one has its place here: a new combination takes
/// the place of one that nothing has touched for long, and its memory is waited for.
#[derive(Debug, Default)]
struct Latest {
    newest: Option<Seen>,
    /// Those before it, oldest first.
    earlier: Vec<Seen>,
}

const _: () = assert!(size_of::<(u128, Latest)>() == 64, "as much as a line of memory, with its name");

impl Latest {
    fn add(&mut self, seen: Seen) {
        let Some(before) = self.newest.replace(seen) else { return };
        if self.earlier.len() >= MAX_HANDSHAKES.saturating_sub(1) {
            self.earlier.remove(0);
        }
        self.earlier.push(before);
    }

    /// Lists them, oldest first.
    fn iter(&self) -> impl Iterator<Item = &Seen> {
        self.earlier.iter().chain(&self.newest)
    }
}

/// Earlier handshakes, bounded, for linking resumptions to them.
#[derive(Debug)]
pub(crate) struct Sessions {
    peers: Bounded<Latest>,
    exact: Bounded<Option<(ClientAuth, Timestamp)>>,
    ports: Bounded<Siblings>,
    hops: Bounded<Option<(ClientAuth, Timestamp)>>,
}

#[cfg(test)]
impl Default for Sessions {
    fn default() -> Self {
        Self::bounded(crate::engine::Limits::default().sessions)
    }
}

/// The full handshakes at one server port.
#[derive(Debug, Default)]
struct Siblings {
    /// The last of them.
    seen: Latest,
    /// The first client, and whether there were others.
    client: Option<IpAddr>,
    several: bool,
    /// Whether they differed, once for all, or one was not known: then none of them is kept.
    mixed: bool,
}

impl Sessions {
    /// Remembers so many sessions by ticket or session id, and in proportion what tells of them in other ways; the oldest give
    /// way. At least one of each is remembered.
    pub(crate) fn bounded(most: usize) -> Self {
        Self {
            peers: Bounded::of(most.div_ceil(4)),
            exact: Bounded::of(most),
            ports: Bounded::of(most.div_ceil(16)),
            hops: Bounded::of(most.div_ceil(8)),
        }
    }

    /// Returns how many sessions were forgotten because a bound was reached: resumptions of theirs are not linked.
    pub(crate) const fn forgotten(&self) -> u64 {
        let Self { peers, exact, ports, hops } = self;
        peers
            .forgotten
            .saturating_add(exact.forgotten)
            .saturating_add(ports.forgotten)
            .saturating_add(hops.forgotten)
    }

    /// Remembers a TLS 1.3 handshake of these peers; a telling one, which was full, also at the server's port, whoever its
    /// client was.
    pub(crate) fn add(
        &mut self,
        ends: Ends,
        name: Option<&[u8]>,
        client: ClientAuth,
        tickets: Tickets,
        telling: bool,
    ) {
        let port = Port::of(ends.server, name);
        let seen = Seen { at: ends.start, client, tickets };
        if telling {
            self.add_sibling(port.name(), ends.client, seen);
        }
        if let Some(peers) = self.peers.of_name(port.name_for(ends.client)) {
            peers.add(seen);
        }
    }

    fn add_sibling(&mut self, port: u128, ip: IpAddr, seen: Seen) {
        let client = seen.client;
        let Some(siblings) = self.ports.of_name(port) else { return };
        let first = *siblings.client.get_or_insert(ip);
        siblings.several |= first != ip;
        // An empty Certificate is the client's choice, not the server's: it tells nothing of the others.
        let telling = matches!(client, ClientAuth::Proved(..) | ClientAuth::Refuted(Withheld::Absent, _));
        let alike = siblings.seen.iter().last().is_none_or(|last| same(&last.client, &client));
        siblings.mixed |= !telling || !alike;
        if siblings.mixed {
            siblings.seen = Latest::default();
            return;
        }
        siblings.seen.add(seen);
    }

    /// Infers what a session was that was not seen from the full handshakes at the same server port: all of them went
    /// one way, and the tickets given out in them are as long as this identity.
    pub(super) fn siblings(&self, ends: Ends, name: Option<&[u8]>, identity: u16) -> Option<ClientAuth> {
        let siblings = self.ports.get(Port::of(ends.server, name).name())?;
        let live = || siblings.seen.iter().filter(|seen| ends.start.since(seen.at) <= LIFE);
        let fit = live().all(|seen| seen.tickets.iter().any(|inner| fits(*inner, identity)));
        if !siblings.several || !fit || live().count() < SIBLINGS {
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
        self.hops.set(name, Some((client, at)));
    }

    /// Finds what a session came to that began with this hello at about this time.
    pub(super) fn find_hop(&self, name: u128, now: Timestamp) -> Option<ClientAuth> {
        let (client, at) = (*self.hops.get(name)?)?;
        (now.since(at) <= HOP).then_some(client)
    }

    /// Remembers what a ticket or session id stands for.
    pub(super) fn add_exact(&mut self, name: u128, client: ClientAuth, at: Timestamp) {
        self.exact.set(name, Some((client, at)));
    }

    /// Finds the session that a ticket or session id names.
    pub(super) fn find_exact(&self, name: u128, now: Timestamp) -> Option<ClientAuth> {
        let (client, at) = (*self.exact.get(name)?)?;
        (now.since(at) <= LIFE).then_some(client)
    }

    /// Finds what the session behind a PSK identity of this length was: the handshakes whose tickets it fits, else
    /// all of these peers, if they agree. `None` when nothing is remembered, or they differ, or one is not known; and where
    /// certificates were sent and the tickets of each are known to be others: this one is another program's behind the
    /// client's address, of which nothing was seen.
    pub(crate) fn find(&self, ends: Ends, name: Option<&[u8]>, identity: u16) -> Option<ClientAuth> {
        let seen = self.peers.get(Port::of(ends.server, name).name_for(ends.client))?;
        let live = || seen.iter().filter(|seen| ends.start.since(seen.at) <= LIFE);
        let mut fitting =
            live().filter(|seen| seen.tickets.iter().any(|inner| fits(*inner, identity))).peekable();
        if fitting.peek().is_some() {
            return agreed(fitting);
        }
        let known = agreed(live())?;
        let others = live().all(|seen| seen.tickets.iter().any(|inner| *inner > 0));
        (!others || matches!(known, ClientAuth::Refuted(..))).then_some(known)
    }
}

/// Hashes a ticket or a session id.
pub(super) fn name(bytes: &[u8]) -> u128 {
    SipHasher13::new().hash(bytes).as_u128()
}

/// Hashes what tells a hello from every other: what it begins with, and how long it is.
pub(super) fn hello_name(beginning: &[u8], length: usize) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(beginning);
    hasher.write_usize(length);
    hasher.finish128().as_u128()
}

/// A server's port and the name that is asked for there, hashed.
struct Port(SipHasher13);

impl Port {
    fn of(server: Endpoint, name: Option<&[u8]>) -> Self {
        let mut hasher = SipHasher13::new();
        hash_ip(&mut hasher, server.ip);
        hasher.write_u64(u64::from(server.port) << 1 | u64::from(name.is_some()));
        hasher.write(name.unwrap_or_default());
        Self(hasher)
    }

    /// Names the port.
    fn name(&self) -> u128 {
        self.0.finish128().as_u128()
    }

    /// Names the port as one client uses it.
    fn name_for(&self, client: IpAddr) -> u128 {
        let mut hasher = self.0;
        hash_ip(&mut hasher, client);
        hasher.finish128().as_u128()
    }
}

fn hash_ip(hasher: &mut SipHasher13, ip: IpAddr) {
    match ip {
        // Whole words, which are quicker to take than bytes; an IPv4 address is one, an IPv6 address two.
        IpAddr::V4(ip) => hasher.write_u64(u64::from(ip.to_bits())),
        IpAddr::V6(ip) => hasher.write_u128(ip.to_bits()),
    }
}

/// Whether a record of this inner length can be one to four NewSessionTickets with an identity of that length (a
/// message is 17 bytes and the identity, and up to 64 of nonce and extensions).
fn fits(inner: u16, identity: u16) -> bool {
    (1..=4_u32).any(|count| {
        u32::from(inner)
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

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_oldest_names_give_way_and_no_other(names in prop::collection::vec(0..12_u128, 0..60)) {
            let mut bounded: Bounded<usize> = Bounded::of(5);
            // Names in the order in which they came, each with its latest value.
            let mut model: Vec<(u128, usize)> = Vec::new();
            let mut forgotten = 0;
            for (value, name) in names.into_iter().enumerate() {
                bounded.set(name, value);
                if let Some(known) = model.iter_mut().find(|known| known.0 == name) {
                    known.1 = value;
                } else {
                    if model.len() == 5 {
                        model.remove(0);
                        forgotten += 1;
                    }
                    model.push((name, value));
                }
                for name in 0..12 {
                    let expected = model.iter().find(|known| known.0 == name).map(|known| &known.1);
                    prop_assert_eq!(bounded.get(name), expected);
                }
                prop_assert_eq!(bounded.forgotten, forgotten);
                prop_assert_eq!(bounded.places.len(), model.len());
            }
        }
    }

    #[test]
    fn a_certificate_is_linked_to_its_own_tickets_alone() {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let ends = Ends { client: ip, server: Endpoint { ip, port: 443 }, start: Timestamp::default() };
        let evidence = Evidence { proof: Proof::Exact, reason: None };
        let sent = ClientAuth::Proved(Presented::Sent, evidence);
        let absent = ClientAuth::Refuted(Withheld::Absent, evidence);
        // Two tickets in one record, as Envoy gives them out.
        let tickets = [2220, 0, 0, 0];
        for (client, seen, identity, expected) in [
            (sent, tickets, 1088, Some(sent)),
            (sent, tickets, 208, None),
            (sent, Tickets::default(), 208, Some(sent)),
            (absent, tickets, 208, Some(absent)),
        ] {
            let mut sessions = Sessions::default();
            sessions.add(ends, None, client, seen, false);
            assert_eq!(sessions.find(ends, None, identity), expected, "{client:?} {seen:?} {identity}");
        }
    }

    const EVIDENCE: Evidence = Evidence { proof: Proof::Exact, reason: None };
    const SENT: ClientAuth = ClientAuth::Proved(Presented::Sent, EVIDENCE);
    const ABSENT: ClientAuth = ClientAuth::Refuted(Withheld::Absent, EVIDENCE);
    const HIDDEN: ClientAuth = ClientAuth::Hidden(Reason::Gap);

    fn ends(client: u8, server: u8, port: u16, at: i64) -> Ends {
        let ip = |last| IpAddr::from([192, 0, 2, last]);
        let server = Endpoint { ip: ip(server), port };
        Ends { client: ip(client), server, start: Timestamp::from_nanos(at) }
    }

    /// Tickets whose records hold one with an identity of 208 bytes, without nonce or extensions.
    const TICKETS: Tickets = [225, 0, 0, 0];

    #[test]
    fn a_session_is_that_of_its_client_server_port_and_name_alone() {
        let (mut sessions, name) = (Sessions::default(), Some(&b"a"[..]));
        sessions.add(ends(1, 2, 443, 0), name, SENT, TICKETS, false);
        assert_eq!(sessions.find(ends(1, 2, 443, 0), name, 208), Some(SENT));
        for other in [ends(3, 2, 443, 0), ends(1, 3, 443, 0), ends(1, 2, 444, 0)] {
            assert_eq!(sessions.find(other, name, 208), None, "{other:?}");
        }
        for other in [Some(&b"b"[..]), Some(&b""[..]), None] {
            assert_eq!(sessions.find(ends(1, 2, 443, 0), other, 208), None, "{other:?}");
        }
        let mut sessions = Sessions::default();
        sessions.add(ends(1, 2, 443, 0), None, SENT, TICKETS, false);
        assert_eq!(sessions.find(ends(1, 2, 443, 0), Some(b""), 208), None);
    }

    #[test]
    fn nothing_is_known_longer_than_a_session_lives() {
        let (mut sessions, start) = (Sessions::default(), ends(1, 2, 443, 0));
        for client in [1, 3, 1] {
            sessions.add(ends(client, 2, 443, 0), None, SENT, TICKETS, true);
        }
        sessions.add_exact(7, SENT, start.start);
        sessions.add_hop(7, SENT, start.start);
        for (later, known) in [(0, true), (LIFE, true), (LIFE + 1, false)] {
            let at = Timestamp::from_nanos(later);
            assert_eq!(sessions.find(ends(1, 2, 443, later), None, 208).is_some(), known, "{later}");
            assert_eq!(sessions.siblings(ends(9, 2, 443, later), None, 208).is_some(), known, "{later}");
            assert_eq!(sessions.find_exact(7, at).is_some(), known, "{later}");
        }
        assert_eq!(sessions.find_hop(7, Timestamp::from_nanos(HOP)), Some(SENT));
        assert_eq!(sessions.find_hop(7, Timestamp::from_nanos(HOP + 1)), None);
    }

    #[test]
    fn handshakes_that_disagree_tell_nothing() {
        let find = |seen: &[(ClientAuth, Tickets)]| {
            let mut sessions = Sessions::default();
            for (client, tickets) in seen {
                sessions.add(ends(1, 2, 443, 0), None, *client, *tickets, false);
            }
            sessions.find(ends(1, 2, 443, 0), None, 208)
        };
        let other: Tickets = [2220, 0, 0, 0];
        assert_eq!(find(&[(SENT, TICKETS), (ABSENT, TICKETS)]), None);
        assert_eq!(find(&[(ABSENT, TICKETS), (SENT, TICKETS), (ABSENT, TICKETS)]), None);
        assert_eq!(find(&[(HIDDEN, TICKETS)]), None);
        assert_eq!(find(&[(HIDDEN, TICKETS), (HIDDEN, TICKETS)]), None);
        // By its ticket it is one of them.
        assert_eq!(find(&[(ABSENT, other), (SENT, TICKETS)]), Some(SENT));
        // It fits none, and of one the tickets are not known.
        assert_eq!(find(&[(SENT, other), (SENT, Tickets::default())]), Some(SENT));
        assert_eq!(find(&[(SENT, other), (SENT, other)]), None);
        assert_eq!(find(&[(SENT, other), (ABSENT, Tickets::default())]), None);
    }

    #[test]
    fn siblings_that_ever_differed_tell_nothing_again() {
        let siblings = |seen: &[(u8, ClientAuth, Tickets)]| {
            let mut sessions = Sessions::default();
            for (client, answer, tickets) in seen {
                sessions.add(ends(*client, 2, 443, 0), None, *answer, *tickets, true);
            }
            sessions.siblings(ends(9, 2, 443, 0), None, 208).is_some()
        };
        let (one, two) = ((1, SENT, TICKETS), (3, SENT, TICKETS));
        assert!(siblings(&[one, two, one]));
        assert!(!siblings(&[one, two, (1, ABSENT, TICKETS), one, two, one]));
        assert!(!siblings(&[one, two, (1, HIDDEN, TICKETS), one, two, one]));
        assert!(!siblings(&[one, two, (1, SENT, [2220, 0, 0, 0])]), "not all have tickets like it");
    }

    #[test]
    fn a_record_is_tickets_by_the_room_beside_their_identities() {
        for (inner, fit) in [(224, false), (225, true), (289, true), (290, false)] {
            assert_eq!(fits(inner, 208), fit, "{inner}");
            assert_eq!(fits(inner * 4, 208), fit, "{inner}, four of them");
        }
        assert!(!fits(225 * 6, 208), "more than are given out at a time");
    }

    #[test]
    fn the_latest_handshakes_come_oldest_first() {
        let mut latest = Latest::default();
        for at in 0..20 {
            let client = ClientAuth::Hidden(Reason::Gap);
            latest.add(Seen { at: Timestamp::from_nanos(at), client, tickets: Tickets::default() });
            let seen: Vec<i64> = latest.iter().map(|seen| seen.at.as_nanos()).collect();
            let kept = i64::try_from(MAX_HANDSHAKES).unwrap();
            assert_eq!(seen, ((at - kept + 1).max(0)..=at).collect::<Vec<_>>());
        }
    }
}
