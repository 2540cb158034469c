//! What makes packets one connection, in a form that is cheap to compare and to hash.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flow::{Endpoint, Transport};

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

    /// Returns that of a direction, and that of the other.
    pub(crate) const fn pair_mut(&mut self, way: Way) -> (&mut T, &mut T) {
        match way {
            Way::Up => (&mut self.up, &mut self.down),
            Way::Down => (&mut self.down, &mut self.up),
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

impl Key {
    /// Returns the key of a packet between these ends, and which way it goes.
    pub(crate) fn of(transport: Transport, source: Endpoint, destination: Endpoint) -> (Self, Way) {
        let mut kind = match transport {
            Transport::Tcp => 0,
            Transport::Udp => DATAGRAM,
        };
        if source.ip.is_ipv6() {
            kind |= SIX;
        }
        Self::between(kind, (address(source.ip), source.port), (address(destination.ip), destination.port))
    }

    /// The same for TCP over IPv4, whose addresses are given as numbers.
    #[inline]
    pub(crate) fn of_tcp4(source: (u32, u16), destination: (u32, u16)) -> (Self, Way) {
        // An end in one word, which orders as address and port do.
        let end = |(ip, port): (u32, u16)| u64::from(ip) << 16 | u64::from(port);
        let (from, to) = (end(source), end(destination));
        let (low, high) = (from.min(to), from.max(to));
        let ports = (low & 0xffff) << 16 | high & 0xffff;
        let way = if from <= to { Way::Up } else { Way::Down };
        (Self { low: [0, low >> 16], high: [0, high >> 16], ports }, way)
    }

    #[inline]
    fn between(kind: u64, source: (Address, u16), destination: (Address, u16)) -> (Self, Way) {
        let ((a, from), (b, to)) = (source, destination);
        let ports = |low: u16, high: u16| kind | u64::from(low) << 16 | u64::from(high);
        if source <= destination {
            (Self { low: a, high: b, ports: ports(from, to) }, Way::Up)
        } else {
            (Self { low: b, high: a, ports: ports(to, from) }, Way::Down)
        }
    }

    /// Returns the port of the end that sends this way.
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the word are cut out on purpose")]
    pub(crate) const fn port(&self, way: Way) -> u16 {
        match way {
            Way::Up => (self.ports >> 16) as u16,
            Way::Down => self.ports as u16,
        }
    }

    #[inline]
    pub(crate) const fn transport(&self) -> Transport {
        if self.ports & DATAGRAM == 0 { Transport::Tcp } else { Transport::Udp }
    }

    /// Returns the end that sends this way.
    #[expect(clippy::cast_possible_truncation, reason = "an IPv4 address fills the lower half of its word")]
    pub(crate) fn sender(&self, way: Way) -> Endpoint {
        let [first, second] = match way {
            Way::Up => self.low,
            Way::Down => self.high,
        };
        let ip = if self.ports & SIX == 0 {
            IpAddr::V4(Ipv4Addr::from_bits(second as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(first) << 64 | u128::from(second)))
        };
        Endpoint { ip, port: self.port(way) }
    }

    /// Hashes the key under a secret, so that nobody can choose addresses that collide.
    #[inline]
    pub(crate) const fn hash(&self, secret: &Secret) -> u64 {
        let ([a, b], [c, d]) = (self.low, self.high);
        let [k0, k1, k2, k3, k4] = secret.0;
        let lower = fold(b ^ k0, d ^ k1);
        // Nothing of an IPv4 address stands there.
        let mixed = if a | c == 0 { lower } else { lower ^ fold(a ^ k2, c ^ k3) };
        fold(mixed ^ k4, self.ports ^ k0)
    }

    /// Chooses one of `count` parts of the table, the same in every run, so that the number of threads that share the
    /// parts changes no answer.
    #[inline]
    pub(crate) fn part(&self, count: usize) -> usize {
        let ([a, b], [c, d]) = (self.low, self.high);
        // An odd constant with its bits well spread: digits of the golden ratio. The upper half of the product depends on
        // every bit below.
        let words = a ^ c ^ b.rotate_left(32) ^ d ^ self.ports.rotate_left(16);
        let mixed = words.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (mixed.wrapping_mul(count as u64) >> 32) as usize
    }
}

/// What a hash depends on beside the key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secret([u64; 5]);

impl Default for Secret {
    /// Draws a secret from the system's randomness, by way of the standard library's own keyed hash.
    fn default() -> Self {
        let random = RandomState::new();
        Self([0, 1, 2, 3, 4].map(|number: u64| random.hash_one(number)))
    }
}

/// Mixes words to a number of 32 bits, the same in every run.
#[inline]
pub(crate) const fn mix([a, b, c]: [u64; 3]) -> u32 {
    // Odd constants with their bits well spread: digits of the golden ratio, of pi and of e.
    let mixed = (a ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0x243f_6a88_85a3_08d3)
        ^ b.wrapping_mul(0xb7e1_5162_8aed_2a6b).rotate_left(32)
        ^ c.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 32).wrapping_mul(0xb7e1_5162_8aed_2a6b) >> 32) as u32
}

/// Multiplies to 128 bits and folds the halves: every bit of the result depends on every bit of both.
#[expect(clippy::cast_possible_truncation, reason = "the halves of 128 bits")]
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    product as u64 ^ (product >> 64) as u64
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of 128 bits")]
const fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => [0, ip.to_bits() as u64],
        IpAddr::V6(ip) => [(ip.to_bits() >> 64) as u64, ip.to_bits() as u64],
    }
}
