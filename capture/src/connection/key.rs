//! What makes packets one connection, in a form that is cheap to compare and to hash.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flow::{Endpoint, Transport};

use crate::packet::{Header, Packet};

/// The two directions of a connection, named by the order of its endpoints, which both directions share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the smaller endpoint to the larger.
    Up,
    /// From the larger to the smaller.
    Down,
}

impl Way {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// A thing for each direction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Both<T> {
    pub(crate) up: T,
    pub(crate) down: T,
}

impl<T> Both<T> {
    pub(crate) const fn of(&self, way: Way) -> &T {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    pub(crate) const fn of_mut(&mut self, way: Way) -> &mut T {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

/// Addresses, ports and transport of a connection: both directions have the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    low: Address,
    high: Address,
    /// The low end's port, the high end's port, and what kind of addresses and transport these are.
    ports: u64,
}

/// An address as two words, in network order; an IPv4 address fills the lower half of the second.
type Address = [u64; 2];

/// Set in [`Key::ports`] for IPv6.
const SIX: u64 = 1 << 32;
/// Set in [`Key::ports`] for UDP.
const DATAGRAM: u64 = 1 << 33;

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Word by word: hashing arrays goes through their bytes and their lengths.
        let ([a, b], [c, d]) = (self.low, self.high);
        for word in [a, b, c, d, self.ports] {
            state.write_u64(word);
        }
    }
}

impl Key {
    /// Returns the key of a packet, and which way it goes.
    pub(crate) fn of(packet: &Packet<'_>) -> (Self, Way) {
        let mut kind = match packet.header {
            Header::Tcp(_) => 0,
            Header::Udp { .. } => DATAGRAM,
        };
        if packet.source.ip.is_ipv6() {
            kind |= SIX;
        }
        let (source, destination) = (address(packet.source.ip), address(packet.destination.ip));
        let (from, to) = (packet.source.port, packet.destination.port);
        let ports = |low: u16, high: u16| kind | u64::from(low) << 16 | u64::from(high);
        if (source, from) <= (destination, to) {
            (Self { low: source, high: destination, ports: ports(from, to) }, Way::Up)
        } else {
            (Self { low: destination, high: source, ports: ports(to, from) }, Way::Down)
        }
    }

    pub(crate) const fn transport(&self) -> Transport {
        if self.ports & DATAGRAM == 0 { Transport::Tcp } else { Transport::Udp }
    }

    /// Returns the end that sends this way.
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the word are cut out on purpose")]
    pub(crate) fn sender(&self, way: Way) -> Endpoint {
        let (words, port) = match way {
            Way::Up => (self.low, (self.ports >> 16) as u16),
            Way::Down => (self.high, self.ports as u16),
        };
        let [first, second] = words;
        let ip = if self.ports & SIX == 0 {
            IpAddr::V4(Ipv4Addr::from_bits(second as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(first) << 64 | u128::from(second)))
        };
        Endpoint { ip, port }
    }

    /// Chooses one of `count` parts of the table, the same in every run, so that the number of threads that share the
    /// parts changes no answer.
    #[expect(clippy::cast_possible_truncation, reason = "a part's number is small")]
    pub(crate) fn part(&self, count: usize) -> usize {
        let ([a, b], [c, d]) = (self.low, self.high);
        let mut mixed = self.ports;
        for word in [a ^ c, b.rotate_left(32) ^ d] {
            mixed = (mixed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^= mixed >> 29;
        }
        mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (u128::from(mixed).wrapping_mul(count as u128) >> 64) as usize
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of 128 bits")]
const fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => [0, ip.to_bits() as u64],
        IpAddr::V6(ip) => [(ip.to_bits() >> 64) as u64, ip.to_bits() as u64],
    }
}
