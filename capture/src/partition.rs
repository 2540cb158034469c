//! One part of the flow table with its share of the bounds.
//!
//! The table is split by [`Key::part`] into a fixed number of parts that share nothing, so that threads can work on
//! them and one thread gives the same answers as many. In come decoded packets, out come reports.

use flow::{Close, Flow, FlowId, Timestamp, Transport};

use crate::connection::points::Points;
use crate::connection::table::{Queue, Slot, Table};
use crate::connection::{Conclude, Connection, Context, Counted, Whose};
use crate::engine::Limits;
use crate::key::Key;
use crate::packet::Packet;

/// How long a closed connection waits for stragglers, in nanoseconds.
const LINGER: i64 = 5_000_000_000;

/// How long an opening is silent before it is settled with what it shows, in nanoseconds, if nothing that may still
/// come is likely to change that: so that an idle connection takes no more memory than any other.
const REST: i64 = 1_000_000_000;

/// What is to be done about a connection that has been silent for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Overdue {
    /// Its opening may rest.
    Rest,
    /// It is over.
    End,
}

/// A flow as it stands, and the numbers of the capture points that saw it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) flow: Flow,
    pub(crate) points: Points,
    /// Under which number the flow's security is settled elsewhere; it is in `flow` where this is absent.
    pub(crate) away: Option<u64>,
}

/// What a part of the table came to, to be added up over the parts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) flows: u64,
    pub(crate) from_start: u64,
    pub(crate) mid_stream: u64,
    pub(crate) empty: u64,
    /// Connections that gave way because the table was full.
    pub(crate) evicted: u64,
    /// Openings given up because too many bytes were held.
    pub(crate) given_up: u64,
}

impl Counts {
    /// Adds another part's.
    pub(crate) const fn add(&mut self, other: Self) {
        let Self { flows, from_start, mid_stream, empty, evicted, given_up } = other;
        self.flows = self.flows.saturating_add(flows);
        self.from_start = self.from_start.saturating_add(from_start);
        self.mid_stream = self.mid_stream.saturating_add(mid_stream);
        self.empty = self.empty.saturating_add(empty);
        self.evicted = self.evicted.saturating_add(evicted);
        self.given_up = self.given_up.saturating_add(given_up);
    }
}

/// A part of the table.
#[derive(Debug)]
pub(crate) struct Partition {
    table: Table,
    account: Account,
}

/// What is known of the connections of a part taken together, and what is to be said of some.
#[derive(Debug)]
struct Account {
    limits: Limits,
    /// How many payload bytes their openings hold.
    held: usize,
    counts: Counts,
    out: Vec<Report>,
}

impl Partition {
    /// Makes a part with these bounds, which are its own share.
    pub(crate) fn new(limits: Limits) -> Self {
        let account = Account { limits, held: 0, counts: Counts::default(), out: Vec::new() };
        Self { table: Table::default(), account }
    }

    /// Returns what it came to so far.
    pub(crate) const fn counts(&self) -> Counts {
        self.account.counts
    }

    /// Returns what has become known, to be taken.
    #[inline]
    pub(crate) const fn out(&mut self) -> &mut Vec<Report> {
        &mut self.account.out
    }

    /// Hashes a key as this part of the table does.
    #[inline]
    pub(crate) const fn hash(&self, key: &Key) -> u64 {
        self.table.hash(key)
    }

    /// Returns the part of the table.
    #[inline]
    pub(crate) const fn table(&self) -> &Table {
        &self.table
    }

    /// Takes a packet, given its key's hash and where its connection stood a moment ago.
    #[inline]
    pub(crate) fn packet(
        &mut self,
        (hash, hint): (u64, Option<u32>),
        packet: &Packet<'_>,
        context: Context<'_>,
        now: Timestamp,
        conclude: &mut impl Conclude,
    ) {
        let Self { table, account } = self;
        if let Some(place) = hint
            && let Some(slot) = table.slot_mut(place)
            && slot.connection.key == packet.key
            && !packet.begins()
            && !slot.connection.has_begun()
        {
            if let Some(queue) = account.take(slot, packet, context, now, conclude) {
                table.touch(place, queue, now);
            }
            return;
        }
        self.search(hash, packet, context, now, conclude);
    }

    /// Takes a packet that may begin a connection, or whose connection stands elsewhere than it was thought to.
    #[inline(never)]
    fn search(
        &mut self,
        hash: u64,
        packet: &Packet<'_>,
        context: Context<'_>,
        now: Timestamp,
        conclude: &mut impl Conclude,
    ) {
        let found = self.table.find(hash, &packet.key);
        let unanswered = found
            .and_then(|place| self.table.slot_mut(place))
            .and_then(|slot| slot.connection.give_up_begun(context.at));
        if let Some(mut unanswered) = unanswered {
            self.account.close(&mut unanswered, Close::Idle, conclude);
        }
        let place = match found.zip(found.and_then(|place| self.table.get(place)).map(|it| it.whose(packet)))
        {
            Some((place, Whose::Own)) => place,
            Some((place, Whose::Perhaps)) => {
                let slot = self.table.slot_mut(place);
                if let Some(mut other) = slot.and_then(|slot| slot.connection.hold(packet, context)) {
                    self.account.close(&mut other, Close::Reused, conclude);
                }
                return;
            }
            Some((place, Whose::Next)) => {
                let begun = self.table.slot_mut(place).and_then(|slot| slot.connection.take_begun());
                let next = match self.table.get(place) {
                    Some(connection) => connection.followed_by(packet, context),
                    None => Connection::new(packet, context),
                };
                self.end(place, Close::Reused, conclude);
                match begun {
                    Some(begun) if !(packet.begins() && begun.replaced_by(packet)) => {
                        self.track(*begun, now, conclude)
                    }
                    other => {
                        if let Some(mut other) = other {
                            self.account.close(&mut other, Close::Reused, conclude);
                        }
                        self.track(next, now, conclude)
                    }
                }
            }
            None => self.track(Connection::new(packet, context), now, conclude),
        };
        let Self { table, account } = self;
        let Some(slot) = table.slot_mut(place) else { return };
        if let Some(queue) = account.take(slot, packet, context, now, conclude) {
            table.touch(place, queue, now);
        }
    }

    fn track(&mut self, connection: Connection, now: Timestamp, conclude: &mut impl Conclude) -> u32 {
        while self.table.len() >= self.account.limits.connections.max(1) {
            let Some((oldest, _)) = Queue::ALL.into_iter().find_map(|queue| self.table.oldest(queue)) else {
                break;
            };
            self.evict(oldest, conclude);
        }
        while self.table.count(Queue::Silent) >= self.account.limits.silent.max(1) {
            let Some((oldest, _)) = self.table.oldest(Queue::Silent) else { break };
            self.evict(oldest, conclude);
        }
        self.table.insert(connection, Queue::Silent, now)
    }

    fn evict(&mut self, place: u32, conclude: &mut impl Conclude) {
        self.account.counts.evicted = self.account.counts.evicted.saturating_add(1);
        self.end(place, Close::Evicted, conclude);
    }

    /// Lists what has been silent for too long and will be reported, and the openings that may rest: the last packet of
    /// each, its place, and what is to be done. What will not be reported is counted and dropped.
    pub(crate) fn overdue(
        &mut self,
        now: Timestamp,
        conclude: &mut impl Conclude,
    ) -> Vec<(Timestamp, u32, Overdue)> {
        let empty = self.idle(Queue::Silent);
        while !self.account.limits.report_empty
            && let Some((place, last)) = self.table.oldest(Queue::Silent)
            && now.since(last) > empty
        {
            self.end(place, Close::Idle, conclude);
        }
        let mut overdue = Vec::new();
        for queue in Queue::ALL {
            let idle = self.idle(queue);
            let rest = if queue == Queue::Opening { REST } else { idle };
            for place in self.table.queued(queue) {
                let Some(connection) = self.table.get(place) else { break };
                let silent = now.since(connection.last());
                if silent <= rest {
                    break;
                }
                let what = if silent > idle { Overdue::End } else { Overdue::Rest };
                overdue.push((connection.last(), place, what));
            }
        }
        overdue
    }

    /// Does what [`Partition::overdue`] said.
    pub(crate) fn settle_overdue(
        &mut self,
        place: u32,
        what: Overdue,
        now: Timestamp,
        conclude: &mut impl Conclude,
    ) {
        match what {
            Overdue::End => self.end(place, Close::Idle, conclude),
            Overdue::Rest => {
                let Some(slot) = self.table.slot_mut(place) else { return };
                let connection = &mut slot.connection;
                let held = connection.held();
                if connection.rest(conclude) {
                    self.account.held = self.account.held.saturating_sub(held);
                    if self.account.limits.report_settled {
                        self.account.out.push(connection.report(Close::Open));
                    }
                }
                // Asked once: its next packet brings it back.
                self.table.touch(place, Queue::Open, now);
            }
        }
    }

    /// Counts and drops what will not be reported at the end.
    pub(crate) fn drop_unreported(&mut self, conclude: &mut impl Conclude) {
        if !self.account.limits.report_empty {
            let silent = |place: &u32| self.table.get(*place).is_some_and(Connection::silent);
            let empty: Vec<u32> = self.table.places().filter(silent).collect();
            for place in empty {
                self.end(place, Close::CaptureEnd, conclude);
            }
        }
    }

    /// Lists what is still tracked: the last packet of each connection and its place.
    pub(crate) fn remaining(&self) -> impl Iterator<Item = (Timestamp, u32)> {
        self.table.places().filter_map(|place| self.table.get(place).map(|found| (found.last(), place)))
    }

    /// Returns the name of the flow at a place.
    pub(crate) fn id(&self, place: u32) -> Option<FlowId> {
        self.table.get(place).map(Connection::id)
    }

    pub(crate) fn end(&mut self, place: u32, close: Close, conclude: &mut impl Conclude) {
        let Some(connection) = self.table.remove(place) else { return };
        self.account.held = self.account.held.saturating_sub(connection.held());
        let begun = connection.take_begun();
        self.account.close(connection, close, conclude);
        // A SYN that nobody answered.
        if let Some(mut begun) = begun {
            self.account.close(&mut begun, close, conclude);
        }
    }

    fn idle(&self, queue: Queue) -> i64 {
        let seconds = |seconds: u32| i64::from(seconds).saturating_mul(1_000_000_000);
        match queue {
            Queue::Silent => seconds(self.account.limits.silent_idle),
            Queue::Closed => LINGER,
            Queue::Datagram => seconds(self.account.limits.udp_idle),
            Queue::Opening | Queue::Open => seconds(self.account.limits.tcp_idle),
        }
    }
}

impl Account {
    /// Counts and reports a connection that is over.
    fn close(&mut self, connection: &mut Connection, close: Close, conclude: &mut impl Conclude) {
        if connection.silent() {
            self.counts.empty = self.counts.empty.saturating_add(1);
            if !self.limits.report_empty {
                return;
            }
        }
        self.out.push(connection.finish(close, conclude));
    }

    /// Gives a connection a packet; returns the queue that it is to go to the end of, if it is.
    #[inline(always)]
    fn take(
        &mut self,
        slot: &mut Slot,
        packet: &Packet<'_>,
        context: Context<'_>,
        now: Timestamp,
        conclude: &mut impl Conclude,
    ) -> Option<Queue> {
        match slot.connection.count(packet, context) {
            Counted::Look if slot.connection.waits(packet) => {
                if slot.is_recent(now) {
                    return None;
                }
            }
            Counted::Look => self.look(&mut slot.connection, packet, conclude),
            // Nothing that says which queue it belongs to has changed.
            Counted::Nothing if slot.is_recent(now) => return None,
            Counted::Turn | Counted::Nothing => {}
        }
        let queue = slot.connection.queue();
        slot.is_stale(queue, now).then_some(queue)
    }

    /// Lets a connection look at a packet, and notes what that did to it.
    #[inline(never)]
    fn look(&mut self, connection: &mut Connection, packet: &Packet<'_>, conclude: &mut impl Conclude) {
        let mut change = connection.look(packet, conclude);
        let (before, after) = change.held;
        if before != after {
            let mut total = self.held.saturating_sub(before).saturating_add(after);
            if total > self.limits.held_bytes {
                total = total.saturating_sub(after);
                change.settled |= connection.give_up(conclude);
                self.counts.given_up = self.counts.given_up.saturating_add(1);
            }
            self.held = total;
        }
        if change.settled && self.limits.report_settled {
            self.out.push(connection.report(Close::Open));
        }
        if change.spoke {
            self.counts.flows = self.counts.flows.saturating_add(1);
            if connection.key.transport() == Transport::Tcp {
                let count = if connection.seen_from_start() {
                    &mut self.counts.from_start
                } else {
                    &mut self.counts.mid_stream
                };
                *count = count.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;
    use crate::frame::{Frame, LinkType};
    use crate::packet;
    use crate::tls::Memory;

    #[test]
    fn an_opening_that_rests_and_goes_on_leaves_nothing_counted_as_held() {
        let mut part = Partition::new(Limits::default().share());
        let mut memory = Memory::default();
        for second in 0..4 {
            let mut bytes = Vec::new();
            // Nothing that a single byte of this kind opens is known yet.
            let tcp = PacketBuilder::ethernet2([0; 6], [1; 6]).ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64).tcp(
                40_000,
                8080,
                1000 + second,
                1024,
            );
            tcp.ack(1).write(&mut bytes, &[1]).unwrap();
            let now = Timestamp::from_nanos(i64::from(second) * 10_000_000_000);
            let original_len = u32::try_from(bytes.len()).unwrap();
            let frame =
                Frame { at: now, link: LinkType::ETHERNET, interface: 0, original_len, bytes: &bytes };
            let packet = packet::alone(&frame).unwrap();
            let context = Context { at: now, point: 0, tunnels: &[] };
            part.packet((part.hash(&packet.key), None), &packet, context, now, &mut memory);
            assert!(part.account.held > 0);
            let later = Timestamp::from_nanos(now.as_nanos() + 2_000_000_000);
            let resting = part.overdue(later, &mut memory);
            assert!(matches!(resting.as_slice(), [(_, _, Overdue::Rest)]));
            for (_, place, what) in resting {
                part.settle_overdue(place, what, later, &mut memory);
            }
        }
        let places: Vec<u32> = part.remaining().map(|(_, place)| place).collect();
        for place in places {
            part.end(place, Close::CaptureEnd, &mut memory);
        }
        assert_eq!(part.account.held, 0);
    }
}
