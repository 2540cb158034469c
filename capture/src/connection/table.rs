//! Who is tracked, and for how long: a bounded table of connections with their time-outs on capture time.
//!
//! Connections stand in five queues by their last packet. When the table is full the oldest without payload gives way
//! first, then the oldest closed one, then the one silent for longest; what gives way is reported as evicted and
//! counted. Queues are put in order lazily, at most once a second a connection.
//!
//! Connections live in chunks that never move, so that growing costs neither a copy nor twice the memory; the index
//! beside them holds a number of four bytes for each.

use super::index::Index;
use super::{Connection, Unsettled};
use crate::key::{Key, Secret};
use flow::Timestamp;

/// Names the absence of a neighbour in a queue.
const NONE: u32 = u32::MAX;

/// How many connections a chunk holds.
const CHUNK: usize = 64;

/// The queues, in the order in which they give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Without a payload byte.
    Silent,
    /// Ended by FIN or RST, kept for stragglers.
    Closed,
    /// UDP.
    Datagram,
    /// TCP with payload whose security is not settled.
    Opening,
    /// TCP with payload.
    Open,
}

impl Queue {
    pub(crate) const ALL: [Self; 5] = [Self::Silent, Self::Closed, Self::Datagram, Self::Opening, Self::Open];
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    head: u32,
    tail: u32,
    count: usize,
}

/// A place for a connection, and where it stands in its queue: whole lines of memory, of which every packet touches all.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    pub(crate) connection: Connection,
    /// When it was last put at the end of a queue.
    queued_at: Moment,
    /// Absent while the place is free.
    queue: Option<Queue>,
}

const _: () = assert!(size_of::<Slot>() == 192, "three lines of memory");

/// Capture time in steps of 2 to the 30 nanoseconds, a little over a second: how stale a place in a queue may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment(u32);

impl Moment {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "only whether two are the same is asked")]
    const fn of(now: Timestamp) -> Self {
        Self((now.as_nanos() >> 30) as u32)
    }
}

impl Slot {
    /// Tells whether the connection belongs at the end of a queue and is not near it.
    #[inline]
    pub(crate) fn is_stale(&self, queue: Queue, now: Timestamp) -> bool {
        self.queue != Some(queue) || !self.is_recent(now)
    }

    /// Tells whether the connection was put at the end of its queue a moment ago.
    #[inline]
    pub(crate) fn is_recent(&self, now: Timestamp) -> bool {
        self.queued_at == Moment::of(now)
    }
}

/// The neighbours of a connection in its queue.
#[derive(Debug, Clone, Copy)]
struct Link {
    earlier: u32,
    later: u32,
}

/// The connections being tracked.
#[derive(Debug)]
pub(crate) struct Table {
    secret: Secret,
    index: Index,
    chunks: Vec<Vec<Slot>>,
    /// One for each place, apart from it: what is done to a connection's place in its queue need not wait for the memory of
    /// its neighbours.
    links: Vec<Link>,
    free: Vec<u32>,
    queues: [Ends; 5],
}

impl Default for Table {
    fn default() -> Self {
        let empty = Ends { head: NONE, tail: NONE, count: 0 };
        Self {
            secret: Secret::default(),
            index: Index::default(),
            chunks: Vec::new(),
            links: Vec::new(),
            free: Vec::new(),
            queues: [empty; 5],
        }
    }
}

/// Returns a place, free or not.
#[inline]
fn at(chunks: &[Vec<Slot>], place: u32) -> Option<&Slot> {
    let place = place as usize;
    chunks.get(place / CHUNK)?.get(place % CHUNK)
}

#[inline]
fn at_mut(chunks: &mut [Vec<Slot>], place: u32) -> Option<&mut Slot> {
    let place = place as usize;
    chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn count(&self, queue: Queue) -> usize {
        self.ends(queue).count
    }

    /// Hashes a key as this table does.
    #[inline]
    pub(crate) const fn hash(&self, key: &Key) -> u64 {
        key.hash(&self.secret)
    }

    /// Asks for where the index would have a hash.
    #[inline]
    pub(crate) fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Tells where a connection may stand, without looking there, and asks for that.
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> Option<u32> {
        let place = self.index.find(hash, |_| true)?;
        self.prefetch(place);
        Some(place)
    }

    /// Asks for a connection.
    #[inline]
    pub(crate) fn prefetch(&self, place: u32) {
        if let Some(slot) = at(&self.chunks, place) {
            slot.connection.prefetch();
        }
    }

    /// Returns the opening of what stands at a place, or stood there last, to ask for its memory.
    #[inline]
    pub(crate) fn opening(&self, place: u32) -> Option<Unsettled<'_>> {
        at(&self.chunks, place).and_then(|slot| slot.connection.opening())
    }

    /// Tells whether a connection stands at a place.
    #[inline]
    pub(crate) fn is_at(&self, place: u32, key: &Key) -> bool {
        self.get(place).is_some_and(|connection| connection.key == *key)
    }

    /// Finds a connection.
    #[inline(never)]
    pub(crate) fn find(&self, hash: u64, key: &Key) -> Option<u32> {
        self.index.find(hash, |place| self.is_at(place, key))
    }

    #[inline]
    pub(crate) fn slot_mut(&mut self, place: u32) -> Option<&mut Slot> {
        at_mut(&mut self.chunks, place).filter(|slot| slot.queue.is_some())
    }

    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<&Connection> {
        at(&self.chunks, place).filter(|slot| slot.queue.is_some()).map(|slot| &slot.connection)
    }

    pub(crate) fn insert(&mut self, connection: Connection, queue: Queue, now: Timestamp) -> u32 {
        let hash = self.hash(&connection.key);
        let place = match self.free.pop() {
            Some(place) => {
                // The next one's, which has long been out of use.
                if let Some(next) = self.free.last().and_then(|next| at(&self.chunks, *next)) {
                    next.connection.prefetch();
                }
                if let Some(slot) = at_mut(&mut self.chunks, place) {
                    slot.connection = connection;
                }
                place
            }
            None => self.push(Slot { connection, queued_at: Moment::of(now), queue: None }),
        };
        self.index.insert(hash, place);
        self.append(place, queue, now);
        place
    }

    fn push(&mut self, slot: Slot) -> u32 {
        if self.chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let full = self.chunks.len().saturating_sub(1).saturating_mul(CHUNK);
        let Some(chunk) = self.chunks.last_mut() else { return NONE };
        let place = full.saturating_add(chunk.len());
        chunk.push(slot);
        self.links.push(Link { earlier: NONE, later: NONE });
        u32::try_from(place).unwrap_or(NONE)
    }

    /// Puts a connection at the end of a queue.
    pub(crate) fn touch(&mut self, place: u32, queue: Queue, now: Timestamp) {
        self.unlink(place);
        self.append(place, queue, now);
    }

    /// Returns the connection of a queue that has been silent for longest.
    pub(crate) fn oldest(&self, queue: Queue) -> Option<(u32, Timestamp)> {
        let place = self.ends(queue).head;
        Some((place, self.get(place)?.last()))
    }

    /// Lists the places of a queue, oldest first.
    pub(crate) fn queued(&self, queue: Queue) -> impl Iterator<Item = u32> {
        let known = |place: u32| Some(place).filter(|place| *place != NONE);
        std::iter::successors(known(self.ends(queue).head), move |place| {
            self.links.get(*place as usize).and_then(|link| known(link.later))
        })
    }

    /// Lists the places of all connections, queue by queue.
    pub(crate) fn places(&self) -> impl Iterator<Item = u32> {
        Queue::ALL.into_iter().flat_map(|queue| self.queued(queue))
    }

    /// Takes a connection out. It still stands there to be finished, until the place is given to another.
    pub(crate) fn remove(&mut self, place: u32) -> Option<&mut Connection> {
        self.unlink(place);
        let slot = at_mut(&mut self.chunks, place)?;
        slot.queue.take()?;
        self.index.remove(slot.connection.key.hash(&self.secret), place);
        self.free.push(place);
        Some(&mut slot.connection)
    }

    const fn ends(&self, queue: Queue) -> &Ends {
        let [silent, closed, datagram, opening, open] = &self.queues;
        match queue {
            Queue::Silent => silent,
            Queue::Closed => closed,
            Queue::Datagram => datagram,
            Queue::Opening => opening,
            Queue::Open => open,
        }
    }

    const fn ends_mut(&mut self, queue: Queue) -> &mut Ends {
        let [silent, closed, datagram, opening, open] = &mut self.queues;
        match queue {
            Queue::Silent => silent,
            Queue::Closed => closed,
            Queue::Datagram => datagram,
            Queue::Opening => opening,
            Queue::Open => open,
        }
    }

    fn append(&mut self, place: u32, queue: Queue, now: Timestamp) {
        let Some(slot) = at_mut(&mut self.chunks, place) else { return };
        (slot.queue, slot.queued_at) = (Some(queue), Moment::of(now));
        let tail = self.ends(queue).tail;
        if let Some(link) = self.links.get_mut(place as usize) {
            *link = Link { earlier: tail, later: NONE };
        }
        if let Some(last) = self.links.get_mut(tail as usize) {
            last.later = place;
        }
        let ends = self.ends_mut(queue);
        ends.tail = place;
        if ends.head == NONE {
            ends.head = place;
        }
        ends.count = ends.count.saturating_add(1);
    }

    fn unlink(&mut self, place: u32) {
        let Some(queue) = at(&self.chunks, place).and_then(|slot| slot.queue) else { return };
        let Some(Link { earlier, later }) = self.links.get(place as usize).copied() else { return };
        if let Some(before) = self.links.get_mut(earlier as usize) {
            before.later = later;
        }
        if let Some(after) = self.links.get_mut(later as usize) {
            after.earlier = earlier;
        }
        let ends = self.ends_mut(queue);
        if ends.head == place {
            ends.head = later;
        }
        if ends.tail == place {
            ends.tail = earlier;
        }
        ends.count = ends.count.saturating_sub(1);
    }
}
