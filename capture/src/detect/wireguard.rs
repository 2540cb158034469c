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
    answer(Some(initiated || answered || is_data(opening.client) || is_data(opening.server)))
}

/// Data, as a connection joined late shows it: whose it is, a counter below 2^32, a length padded to 16, and a tag that no chance
/// makes of zeros.
fn is_data(bytes: &[u8]) -> bool {
    matches!(bytes, [4, 0, 0, 0, _, _, _, _, _, _, _, _, 0, 0, 0, 0, ..])
        && bytes.len().is_multiple_of(16)
        && bytes.last_chunk::<16>().is_some_and(|tag| tag.iter().filter(|&&byte| byte == 0).count() <= 2)
        && bytes.len() >= 32
}
