//! WireGuard (protocol page, section 5.4): messages of fixed kinds and lengths.

use flow::{Protocol, Side};

use super::Opening;
use super::catalogue::{Detector, Form, UDP, answer};

use crate::tls::Probe;

pub(crate) const DETECTOR: Detector = Detector {
    protocol: Protocol::Wireguard,
    form: Form::Encrypted,
    carriers: UDP,
    ports: &[51820],
    probe,
    sample: &[(Side::Client, &INITIATION)],
};

/// A handshake initiation of 148 bytes.
const INITIATION: [u8; 148] = {
    let mut message = [0xa5; 148];
    let [kind, one, two, three, ..] = &mut message;
    (*kind, *one, *two, *three) = (1, 0, 0, 0);
    message
};

fn probe(opening: &Opening<'_>) -> Probe {
    let initiated = matches!(opening.client, [1, 0, 0, 0, ..]) && opening.client.len() == 148;
    let answered = matches!(opening.server, [2, 0, 0, 0, ..]) && opening.server.len() == 92;
    // Joined late: data both ways, the counters below 2^32, lengths padded to 16.
    let data = |bytes: &[u8]| {
        matches!(bytes, [4, 0, 0, 0, _, _, _, _, _, _, _, _, 0, 0, 0, 0, ..])
            && bytes.len().is_multiple_of(16)
    };
    answer(Some(initiated || answered || (data(opening.client) && data(opening.server))))
}
