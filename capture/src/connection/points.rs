//! Where a connection was seen.

/// The most capture points that one flow remembers.
const MOST: usize = 16;

/// The numbers of the capture points that saw a connection, in order of first sight.
///
/// Nearly every connection is seen at one, so only the others take memory of their own.
#[derive(Debug, Clone)]
pub(crate) struct Points {
    first: u16,
    #[expect(clippy::box_collection, reason = "a pointer is a third of a Vec, and most are absent")]
    others: Option<Box<Vec<u16>>>,
}

impl Points {
    pub(crate) const fn of(first: u16) -> Self {
        Self { first, others: None }
    }

    /// Notes that a point saw the connection; returns whether several have.
    #[inline]
    pub(crate) fn add(&mut self, point: u16) -> bool {
        if point != self.first {
            let others = self.others.get_or_insert_default();
            if others.len() < MOST.saturating_sub(1) && !others.contains(&point) {
                others.push(point);
            }
        }
        self.others.is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        std::iter::once(self.first).chain(self.others.iter().flat_map(|others| others.iter().copied()))
    }
}
