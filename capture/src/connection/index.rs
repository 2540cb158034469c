//! Where in the table each connection stands: an open-addressed index of one word a connection.
//!
//! An entry holds half of its key's hash beside the place, which also says where the entry belongs: a lookup reads one
//! line of memory here and touches the connection itself only where that half agrees, and nothing else touches it at
//! all. Whether it is the one is for the caller to compare, who can so let the ways of many packets through memory
//! overlap.

use crate::prefetch::prefetch_at;

/// What an empty entry holds.
const EMPTY: u64 = 0;

/// How many entries the smallest index has.
const LEAST: usize = 16;

/// The index: hashes in, places out.
#[derive(Debug)]
pub(super) struct Index {
    /// A power of two of entries: the upper half of a hash, then the place plus one.
    entries: Vec<u64>,
    used: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self { entries: vec![EMPTY; LEAST], used: 0 }
    }
}

impl Index {
    pub(super) const fn len(&self) -> usize {
        self.used
    }

    /// Asks for where the search for a hash begins.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch_at(&self.entries, self.home(hash));
    }

    /// Returns the first place under this hash that `is_it` accepts.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.entry(hash, is_it).map(|(_, place)| place)
    }

    #[inline]
    fn entry(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<(usize, u32)> {
        let mut at = self.home(hash);
        loop {
            let entry = *self.entries.get(at)?;
            if entry == EMPTY {
                return None;
            }
            if same(entry, hash) && is_it(place(entry)) {
                return Some((at, place(entry)));
            }
            at = self.after(at);
        }
    }

    /// Adds a place that is not in the index under this hash.
    pub(super) fn insert(&mut self, hash: u64, place: u32) {
        // Three quarters full, runs of occupied entries become long.
        if self.used.saturating_mul(4) >= self.entries.len().saturating_mul(3) {
            let grown = vec![EMPTY; self.entries.len().saturating_mul(2)];
            for entry in
                std::mem::replace(&mut self.entries, grown).into_iter().filter(|entry| *entry != EMPTY)
            {
                self.put(entry);
            }
        }
        self.put(hash & UPPER | u64::from(place).saturating_add(1));
        self.used = self.used.saturating_add(1);
    }

    fn put(&mut self, entry: u64) {
        let mut at = self.home(entry);
        while self.entries.get(at).is_some_and(|occupied| *occupied != EMPTY) {
            at = self.after(at);
        }
        if let Some(empty) = self.entries.get_mut(at) {
            *empty = entry;
        }
    }

    /// Takes a place out. Entries after it that it kept from their own places move up, so that no lookup ends early.
    pub(super) fn remove(&mut self, hash: u64, place: u32) {
        let Some((mut hole, _)) = self.entry(hash, |found| found == place) else { return };
        self.used = self.used.saturating_sub(1);
        let mut at = hole;
        loop {
            at = self.after(at);
            let entry = self.entries.get(at).copied().unwrap_or(EMPTY);
            if entry == EMPTY {
                break;
            }
            let home = self.home(entry);
            // Distances along the ring: it may move up if its home lies no later than the hole.
            let mask = self.entries.len().wrapping_sub(1);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                if let Some(empty) = self.entries.get_mut(hole) {
                    *empty = entry;
                }
                hole = at;
            }
        }
        if let Some(last) = self.entries.get_mut(hole) {
            *last = EMPTY;
        }
    }

    /// Where the search for a hash, or for an entry's, begins: both have the upper half.
    const fn home(&self, hash: u64) -> usize {
        (hash >> 32) as usize & self.entries.len().wrapping_sub(1)
    }

    const fn after(&self, at: usize) -> usize {
        at.wrapping_add(1) & self.entries.len().wrapping_sub(1)
    }
}

/// The half of a hash that an entry holds.
const UPPER: u64 = 0xffff_ffff << 32;

const fn same(entry: u64, hash: u64) -> bool {
    (entry ^ hash) & UPPER == 0
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half of an entry")]
const fn place(entry: u64) -> u32 {
    (entry as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Hashes that often collide in their homes and sometimes altogether.
    fn hash(place: u32) -> u64 {
        u64::from(place % 7) << 40 | u64::from(place % 5) << 32
    }

    proptest! {
        #[test]
        fn it_holds_what_was_put_in_and_not_taken_out(steps in prop::collection::vec((any::<bool>(), 0..60_u32), 0..400)) {
            let mut index = Index::default();
            let mut model = HashMap::new();
            for (add, place) in steps {
                if add && model.insert(place, ()).is_none() {
                    index.insert(hash(place), place);
                } else if !add && model.remove(&place).is_some() {
                    index.remove(hash(place), place);
                }
                prop_assert_eq!(index.len(), model.len());
                for place in 0..60 {
                    let found = index.find(hash(place), |found| found == place);
                    prop_assert_eq!(found.is_some(), model.contains_key(&place), "{}", place);
                }
            }
        }
    }
}
