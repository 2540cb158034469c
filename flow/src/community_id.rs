//! The Community ID of a connection: the name under which Zeek, Suricata and their kind know it too.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::{Endpoint, Transport};

/// How long it is, in ASCII characters: `1:` and a SHA-1 in base64.
const LENGTH: usize = 30;

/// Returns the Community ID, version 1 with seed 0: the same for either direction, and for every connection between the
/// same ends. Source: the Community ID specification of Corelight, "Technical details".
pub(crate) fn community_id(transport: Transport, one: Endpoint, other: Endpoint) -> [u8; LENGTH] {
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
    let mut text = *b"1:0000000000000000000000000000";
    if let Some(place) = text.get_mut(2..) {
        // Twenty bytes are twenty-eight characters: there is room, always.
        let _ = STANDARD.encode_slice(hash.finalize(), place);
    }
    text
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
            assert_eq!(community_id(transport, end(one), end(other)), expected.as_bytes());
            assert_eq!(community_id(transport, end(other), end(one)), expected.as_bytes());
        }
    }

    #[test]
    fn ports_decide_where_the_addresses_are_one() {
        let end = |port| Endpoint { ip: [127, 0, 0, 1].into(), port };
        let name = community_id(Transport::Tcp, end(80), end(40_000));
        assert_eq!(name, community_id(Transport::Tcp, end(40_000), end(80)));
        assert_ne!(name, community_id(Transport::Udp, end(80), end(40_000)));
    }
}
