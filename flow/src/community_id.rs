//! The Community ID of a connection: the name under which Zeek, Suricata and their kind know it too.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha1::{Digest as _, Sha1};

use crate::{Endpoint, Transport};

/// How long it is, in ASCII characters: `1:` and a SHA-1 in base64.
const LENGTH: usize = 30;

/// A Community ID, version 1 with seed 0: the same for either direction, and for every connection between the same ends. Source:
/// the Community ID specification of Corelight, "Technical details".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommunityId([u8; 20]);

impl CommunityId {
    /// Names the connections between two ends.
    #[must_use]
    pub fn new(transport: Transport, one: Endpoint, other: Endpoint) -> Self {
        let protocol = match transport {
            Transport::Tcp => 6,
            Transport::Udp => 17,
        };
        let (first, second) =
            if (one.ip, one.port) <= (other.ip, other.port) { (one, other) } else { (other, one) };
        let mut hash = Sha1::new();
        hash.update([0, 0]);
        for end in [first, second] {
            match end.ip {
                IpAddr::V4(address) => hash.update(address.octets()),
                IpAddr::V6(address) => hash.update(address.octets()),
            }
        }
        hash.update([protocol, 0]);
        hash.update(first.port.to_be_bytes());
        hash.update(second.port.to_be_bytes());
        Self(hash.finalize().into())
    }

    /// Returns the 30 characters.
    pub(crate) fn text(self) -> [u8; LENGTH] {
        let mut text = *b"1:0000000000000000000000000000";
        if let Some(place) = text.get_mut(2..) {
            // Twenty bytes are twenty-eight characters: there is room, always.
            let _ = STANDARD.encode_slice(self.0, place);
        }
        text
    }

    /// Returns 64 bits that stand for all 160, as a key to look flows up by: its pieces of eight bytes, little endian and the last one
    /// filled up with zeros, in an exclusive or.
    #[must_use]
    pub fn folded(self) -> u64 {
        self.0.chunks(8).fold(0, |folded, piece| {
            let mut bytes = [0; 8];
            for (place, byte) in bytes.iter_mut().zip(piece) {
                *place = *byte;
            }
            folded ^ u64::from_le_bytes(bytes)
        })
    }
}

impl fmt::Display for CommunityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

impl FromStr for CommunityId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hash = text.strip_prefix("1:").and_then(|hash| STANDARD.decode(hash).ok());
        hash.and_then(|hash| hash.try_into().ok())
            .map(Self)
            .ok_or_else(|| format!("'{text}' is no Community ID: 1: and the base64 of 20 bytes expected"))
    }
}

impl Serialize for CommunityId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_values_come_out_in_either_direction() {
        // From the specification's own baseline, and the last two from Zeek's tests.
        for (transport, one, other, expected) in [
            (
                Transport::Tcp,
                ("128.232.110.120", 34855),
                ("66.35.250.204", 80),
                "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            ),
            (Transport::Udp, ("192.168.1.52", 54585), ("8.8.8.8", 53), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
            (
                Transport::Tcp,
                ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943),
                ("2607:f8b0:400c:c03::1a", 25),
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
            (Transport::Tcp, ("1.2.3.4", 1122), ("5.6.7.8", 3344), "1:wCb3OG7yAFWelaUydu0D+125CLM="),
            (Transport::Udp, ("1.2.3.4", 1122), ("5.6.7.8", 3344), "1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg="),
        ] {
            let end = |(ip, port): (&str, u16)| Endpoint { ip: ip.parse().unwrap(), port };
            let name = CommunityId::new(transport, end(one), end(other));
            assert_eq!(name.to_string(), expected);
            assert_eq!(CommunityId::new(transport, end(other), end(one)), name);
            assert_eq!(expected.parse(), Ok(name));
        }
    }

    #[test]
    fn ports_decide_where_the_addresses_are_one() {
        let end = |port| Endpoint { ip: [127, 0, 0, 1].into(), port };
        let name = CommunityId::new(Transport::Tcp, end(80), end(40_000));
        assert_eq!(name, CommunityId::new(Transport::Tcp, end(40_000), end(80)));
        assert_ne!(name, CommunityId::new(Transport::Udp, end(80), end(40_000)));
    }

    #[test]
    fn what_is_no_community_id_is_refused() {
        for text in [
            "",
            "1:",
            "1:wCb3OG7yAFWelaUydu0D+125CL==",
            "2:wCb3OG7yAFWelaUydu0D+125CLM=",
            "1:wCb3OG7yAFWelaUydu0D+125CLM",
            "1:wCb3OG7yAFWelaUydu0D 125CLM=",
        ] {
            assert!(text.parse::<CommunityId>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_bit_counts_in_what_it_is_looked_up_by() {
        let name = CommunityId::new(
            Transport::Tcp,
            Endpoint { ip: [1, 2, 3, 4].into(), port: 5 },
            Endpoint { ip: [5, 6, 7, 8].into(), port: 9 },
        );
        let mut met = vec![name.folded()];
        for bit in 0..160 {
            let mut other = name;
            other.0[bit / 8] ^= 1 << (bit % 8);
            met.push(other.folded());
        }
        assert!(met.iter().skip(1).all(|other| *other != met[0]));
        // Stores keep it: it stays what it is.
        assert_eq!(CommunityId([1; 20]).folded(), 0x0101_0101);
    }
}
