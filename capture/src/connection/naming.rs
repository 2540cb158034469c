//! What names a connection: its flow, and its handshake, for who captured them elsewhere.

use flow::{FlowId, TcpHandshake};
use siphasher::sip128::SipHasher13;

use super::{Connection, Told};
use crate::key::Way;

impl Connection {
    /// Names the handshake by its SYN-ACK. Sequence numbers alone would not do: there are stacks that begin all connections
    /// with the same few.
    pub(super) fn tcp_handshake(&self) -> Option<TcpHandshake> {
        let (client, server) = (self.client, self.client.other());
        if self.stamps == 0 || *self.told.of(client) < Told::Answered || *self.told.of(server) < Told::Syn {
            return None;
        }
        let mut named = [0; 12];
        for (place, part) in named.chunks_exact_mut(4).zip([
            *self.syns.of(server),
            self.syns.of(client).wrapping_add(1),
            self.stamps,
        ]) {
            place.copy_from_slice(&part.to_be_bytes());
        }
        Some(TcpHandshake(SipHasher13::new().hash(&named).h1))
    }

    /// Names the flow, by hashes with a fixed key: the same capture gives the same names everywhere, and captures that
    /// hold the same opening agree on what names it.
    pub(crate) fn id(&self) -> FlowId {
        let (mut named, mut length) = ([0; 2 * 18 + 3 + 12], 0_usize);
        let mut add = |part: &[u8]| {
            let after = length.saturating_add(part.len());
            if let Some(place) = named.get_mut(length..after) {
                place.copy_from_slice(part);
                length = after;
            }
        };
        for end in [self.key.sender(Way::Up), self.key.sender(Way::Down)] {
            match end.ip {
                std::net::IpAddr::V4(ip) => add(&ip.octets()),
                std::net::IpAddr::V6(ip) => add(&ip.octets()),
            }
            add(&end.port.to_be_bytes());
        }
        add(self.key.transport().name().as_bytes());
        if self.joined {
            add(&self.start.as_nanos().to_be_bytes());
        }
        add(&self.named.to_be_bytes());
        let hash = SipHasher13::new().hash(named.get(..length).unwrap_or_default());
        if self.joined { FlowId(hash.as_u128()) } else { FlowId::of_opening(hash.h1, self.start) }
    }
}
