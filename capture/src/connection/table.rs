//! Who is tracked, and for how long: a bounded table of connections with their time-outs on capture time.
//!
//! Connections stand in three queues by the last packet: without payload, with it, and closed. When the table is full
//! the oldest without payload gives way first, then the oldest closed one, then the one silent for longest; what gives
//! way is reported as evicted and counted. Queues are put in order lazily, at most once a second a connection.

use flow::Timestamp;
use hashbrown::{DefaultHashBuilder, HashMap};

use super::{Connection, Key};

/// How stale a connection's place in its queue may be, in nanoseconds.
const STALE: i64 = 1_000_000_000;

/// Names the absence of a neighbour in a queue.
const NONE: u32 = u32::MAX;

/// The queues, in the order in which they give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Without a payload byte.
    Silent,
    /// Ended by FIN or RST, kept for stragglers.
    Closed,
    /// UDP.
    Datagram,
    /// TCP with payload.
    Open,
}

impl Queue {
    pub(crate) const ALL: [Self; 4] = [Self::Silent, Self::Closed, Self::Datagram, Self::Open];
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    head: u32,
    tail: u32,
    count: usize,
}

#[derive(Debug)]
struct Slot {
    connection: Connection,
    queue: Queue,
    queued_at: Timestamp,
    earlier: u32,
    later: u32,
}

/// The connections being tracked.
#[derive(Debug)]
pub(crate) struct Table {
    index: HashMap<Key, u32, DefaultHashBuilder>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    queues: [Ends; 4],
}

impl Default for Table {
    fn default() -> Self {
        let empty = Ends { head: NONE, tail: NONE, count: 0 };
        Self { index: HashMap::default(), slots: Vec::new(), free: Vec::new(), queues: [empty; 4] }
    }
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn count(&self, queue: Queue) -> usize {
        self.ends(queue).count
    }

    pub(crate) fn find(&self, key: &Key) -> Option<u32> {
        self.index.get(key).copied()
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut Connection> {
        self.slots.get_mut(place as usize)?.as_mut().map(|slot| &mut slot.connection)
    }

    pub(crate) fn insert(&mut self, connection: Connection, queue: Queue, now: Timestamp) -> u32 {
        let key = connection.key;
        let slot = Slot { connection, queue, queued_at: now, earlier: NONE, later: NONE };
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(NONE)
            }
        };
        if let Some(empty) = self.slots.get_mut(place as usize) {
            *empty = Some(slot);
        }
        self.index.insert(key, place);
        self.append(place, queue, now);
        place
    }

    /// Puts a connection at the end of a queue, if it is not near it already.
    pub(crate) fn touch(&mut self, place: u32, queue: Queue, now: Timestamp) {
        let Some(Some(slot)) = self.slots.get(place as usize) else { return };
        if slot.queue != queue || now.since(slot.queued_at) > STALE {
            self.unlink(place);
            self.append(place, queue, now);
        }
    }

    /// Returns the connection of a queue that has been silent for longest.
    pub(crate) fn oldest(&self, queue: Queue) -> Option<(u32, Timestamp)> {
        let place = self.ends(queue).head;
        let slot = self.slots.get(place as usize)?.as_ref()?;
        Some((place, slot.connection.last()))
    }

    pub(crate) fn remove(&mut self, place: u32) -> Option<Connection> {
        self.unlink(place);
        let slot = self.slots.get_mut(place as usize)?.take()?;
        self.index.remove(&slot.connection.key);
        self.free.push(place);
        Some(slot.connection)
    }

    const fn ends(&self, queue: Queue) -> &Ends {
        let [silent, closed, datagram, open] = &self.queues;
        match queue {
            Queue::Silent => silent,
            Queue::Closed => closed,
            Queue::Datagram => datagram,
            Queue::Open => open,
        }
    }

    const fn ends_mut(&mut self, queue: Queue) -> &mut Ends {
        let [silent, closed, datagram, open] = &mut self.queues;
        match queue {
            Queue::Silent => silent,
            Queue::Closed => closed,
            Queue::Datagram => datagram,
            Queue::Open => open,
        }
    }

    fn append(&mut self, place: u32, queue: Queue, now: Timestamp) {
        let tail = self.ends(queue).tail;
        if let Some(Some(slot)) = self.slots.get_mut(place as usize) {
            (slot.queue, slot.queued_at, slot.earlier, slot.later) = (queue, now, tail, NONE);
        }
        if let Some(Some(last)) = self.slots.get_mut(tail as usize) {
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
        let Some(Some(slot)) = self.slots.get(place as usize) else { return };
        let (queue, earlier, later) = (slot.queue, slot.earlier, slot.later);
        if let Some(Some(before)) = self.slots.get_mut(earlier as usize) {
            before.later = later;
        }
        if let Some(Some(after)) = self.slots.get_mut(later as usize) {
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
