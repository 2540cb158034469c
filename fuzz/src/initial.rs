//! QUIC version 1 Initial packets under their public keys (RFC 9001 section 5), so that frames can be fuzzed behind them.

use aes::Aes128;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockEncrypt as _, KeyInit as _};
use aes_gcm::{AeadInPlace as _, Aes128Gcm};
use flow::Side;
use hkdf::Hkdf;
use sha2::Sha256;

const SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
    0xbb, 0x7f, 0x0a,
];

/// The connection id that the client chose, which the keys come from.
const CHOSEN: [u8; 8] = [7; 8];

/// Puts frames into an Initial packet of this number; nothing if they do not fit.
pub fn sealed(side: Side, number: u8, frames: &[u8]) -> Option<Vec<u8>> {
    let (key, iv, header) = keys(side)?;
    // The sample for the header's mask begins four bytes after the packet number.
    let mut body = frames.to_vec();
    body.resize(body.len().max(4), 0);
    let length = u16::try_from(body.len() + 17).ok().filter(|length| *length < 0x4000)?;
    let (destination, source) = match side {
        Side::Client => (CHOSEN, [8; 8]),
        Side::Server => ([8; 8], [9; 8]),
    };
    let mut packet = vec![0xc0, 0, 0, 0, 1, 8];
    packet.extend(destination);
    packet.push(8);
    packet.extend(source);
    packet.push(0);
    packet.extend((length | 0x4000).to_be_bytes());
    let number_at = packet.len();
    packet.push(number);
    let mut nonce = iv;
    nonce[11] ^= number;
    let tag =
        Aes128Gcm::new(&key.into()).encrypt_in_place_detached(&nonce.into(), &packet, &mut body).ok()?;
    packet.extend(body);
    packet.extend(tag);
    let mut mask = GenericArray::clone_from_slice(packet.get(number_at + 4..number_at + 20)?);
    Aes128::new(&header.into()).encrypt_block(&mut mask);
    packet[0] ^= mask[0] & 0x0f;
    packet[number_at] ^= mask[1];
    Some(packet)
}

fn keys(side: Side) -> Option<([u8; 16], [u8; 12], [u8; 16])> {
    let mut secret = [0; 32];
    let label = match side {
        Side::Client => "client in",
        Side::Server => "server in",
    };
    expand(&Hkdf::new(Some(&SALT), &CHOSEN), label, &mut secret)?;
    let secret = Hkdf::from_prk(&secret).ok()?;
    let (mut key, mut iv, mut header) = ([0; 16], [0; 12], [0; 16]);
    expand(&secret, "quic key", &mut key)?;
    expand(&secret, "quic iv", &mut iv)?;
    expand(&secret, "quic hp", &mut header)?;
    Some((key, iv, header))
}

fn expand(secret: &Hkdf<Sha256>, label: &str, out: &mut [u8]) -> Option<()> {
    let label = format!("tls13 {label}");
    let length = u16::try_from(out.len()).ok()?.to_be_bytes();
    let info = [&length[..], &[u8::try_from(label.len()).ok()?], label.as_bytes(), &[0]].concat();
    secret.expand(&info, out).ok()
}
