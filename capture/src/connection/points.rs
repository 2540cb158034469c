//! Where a connection was seen, and inside of what.

use flow::Tunnel;

use super::Connection;
use super::datagrams::Association;

/// The most capture points that one flow remembers.
const MOST: usize = 16;

/// The numbers of the capture points that saw a connection, in order of first sight.
#[derive(Debug)]
pub(crate) struct Points {
    first: u16,
    others: Vec<u16>,
}

impl Points {
    pub(crate) const fn of(first: u16, others: Vec<u16>) -> Self {
        Self { first, others }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

/// What few connections have: capture points beside the first, encapsulations, a SYN between the same ends that may begin the
/// next one, and what tells the first datagram of the next one.
#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) points: Vec<u16>,
    pub(super) tunnels: Box<[Tunnel]>,
    pub(super) begun: Option<Box<Connection>>,
    pub(super) association: Option<Association>,
}

impl Rare {
    /// Keeps the encapsulations, if there are any.
    pub(super) fn of(tunnels: &[Tunnel]) -> Option<Box<Self>> {
        (!tunnels.is_empty()).then(|| Box::new(Self { tunnels: tunnels.into(), ..Self::default() }))
    }

    /// Notes a point other than the first.
    pub(super) fn add(&mut self, point: u16) {
        if self.points.len() < MOST.saturating_sub(1) && !self.points.contains(&point) {
            self.points.push(point);
        }
    }
}
