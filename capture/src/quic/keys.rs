//! Initial keys: derived from the connection id and public salts, so anyone may read Initial packets (RFC 9001
//! section 5.2, RFC 9369 section 3.3.1).

use aes::Aes128;
use aes::cipher::{BlockEncrypt as _, KeyInit as _, generic_array::GenericArray};
use aes_gcm::{AeadInPlace as _, Aes128Gcm};
use hkdf::Hkdf;
use sha2::Sha256;

const SALT_V1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
    0xbb, 0x7f, 0x0a,
];
const SALT_V2: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9,
    0xbd, 0x2e, 0xd9,
];
const SALT_DRAFT_29: [u8; 20] = [
    0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43,
    0x90, 0xa8, 0x99,
];
const SALT_DRAFT_22: [u8; 20] = [
    0x7f, 0xbc, 0xdb, 0x0e, 0x7c, 0x66, 0xbb, 0xe9, 0x19, 0x3a, 0x96, 0xcd, 0x21, 0x51, 0x9e, 0xbd, 0x7a,
    0x02, 0x64, 0x4a,
];
/// Of Google's QUIC with TLS, before and after its last change.
const SALT_T050: [u8; 20] = [
    0x7f, 0xf5, 0x79, 0xe5, 0xac, 0xd0, 0x72, 0x91, 0x55, 0x80, 0x30, 0x4c, 0x43, 0xa2, 0x36, 0x7c, 0x60,
    0x48, 0x83, 0x10,
];
const SALT_T051: [u8; 20] = [
    0x7a, 0x4e, 0xde, 0xf4, 0xe7, 0xcc, 0xee, 0x5f, 0xa4, 0x50, 0x6c, 0x19, 0x12, 0x4f, 0xc8, 0xcc, 0xda,
    0x6e, 0x03, 0x3d,
];
const SALT_DRAFT_23: [u8; 20] = [
    0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4, 0x63, 0x65, 0xbe,
    0xf9, 0xf5, 0x02,
];

/// The keys of one direction's Initial packets.
pub(super) struct Keys {
    seal: Aes128Gcm,
    iv: [u8; 12],
    header: Aes128,
}

impl Keys {
    /// Derives both directions' keys, client's first; `None` for a version whose salt is not known.
    pub(super) fn derive(version: u32, connection: &[u8]) -> Option<(Self, Self)> {
        let salt = match version {
            1 | 0xff00_0021 | 0xff00_0022 => SALT_V1,
            super::VERSION_2 => SALT_V2,
            0xff00_001d..=0xff00_0020 => SALT_DRAFT_29,
            // Facebook's own versions stand on drafts.
            0xff00_0017..=0xff00_001c | 0xface_b002 | 0xface_b00e => SALT_DRAFT_23,
            0xff00_0016 | 0xface_b001 => SALT_DRAFT_22,
            super::VERSION_T050 => SALT_T050,
            super::VERSION_T051 => SALT_T051,
            _ => return None,
        };
        let initial = Hkdf::<Sha256>::new(Some(&salt), connection);
        let side = |label: &str| {
            let mut secret = [0; 32];
            expand(&initial, label, &mut secret)?;
            let secret = Hkdf::<Sha256>::from_prk(&secret).ok()?;
            let prefix = if version == super::VERSION_2 { "quicv2" } else { "quic" };
            let (mut key, mut iv, mut header) = ([0; 16], [0; 12], [0; 16]);
            expand(&secret, &format!("{prefix} key"), &mut key)?;
            expand(&secret, &format!("{prefix} iv"), &mut iv)?;
            expand(&secret, &format!("{prefix} hp"), &mut header)?;
            Some(Self { seal: Aes128Gcm::new(&key.into()), iv, header: Aes128::new(&header.into()) })
        };
        Some((side("client in")?, side("server in")?))
    }

    /// Opens a packet whose packet number starts at `number_at`; `None` when it is not under this key.
    pub(super) fn open(&self, packet: &[u8], number_at: usize) -> Option<Vec<u8>> {
        let sample = packet.get(number_at.checked_add(4)?..)?.get(..16)?;
        let mut mask = GenericArray::clone_from_slice(sample);
        self.header.encrypt_block(&mut mask);
        let first = packet.first()? ^ (mask.first()? & 0x0f);
        let number_length = usize::from(first & 3).checked_add(1)?;
        let payload_at = number_at.checked_add(number_length)?;
        let mut header = packet.get(..payload_at)?.to_vec();
        *header.first_mut()? = first;
        let mut nonce = self.iv;
        let place = 12_usize.checked_sub(number_length)?;
        for ((byte, mask), nonce) in
            header.get_mut(number_at..)?.iter_mut().zip(mask.iter().skip(1)).zip(nonce.get_mut(place..)?)
        {
            *byte ^= mask;
            // Initial packet numbers of an opening are small: what was sent is the whole number.
            *nonce ^= *byte;
        }
        let sealed = packet.get(payload_at..)?;
        let (body, tag) = sealed.split_at_checked(sealed.len().checked_sub(16)?)?;
        let mut body = body.to_vec();
        let tag = GenericArray::from_slice(tag);
        self.seal.decrypt_in_place_detached(&nonce.into(), &header, &mut body, tag).ok()?;
        Some(body)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
impl Keys {
    /// Protects a packet whose header ends with a packet number of one byte, the reverse of [`Keys::open`].
    pub(super) fn seal(&self, mut packet: Vec<u8>, body: &[u8]) -> Vec<u8> {
        let number_at = packet.len() - 1;
        let mut nonce = self.iv;
        nonce[11] ^= packet[number_at];
        let mut sealed = body.to_vec();
        let tag = self.seal.encrypt_in_place_detached(&nonce.into(), &packet, &mut sealed).unwrap();
        packet.extend(sealed);
        packet.extend(tag);
        let mut mask = GenericArray::clone_from_slice(&packet[number_at + 4..number_at + 20]);
        self.header.encrypt_block(&mut mask);
        packet[0] ^= mask[0] & 0x0f;
        packet[number_at] ^= mask[1];
        packet
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
fn expand(secret: &Hkdf<Sha256>, label: &str, out: &mut [u8]) -> Option<()> {
    let label = format!("tls13 {label}");
    let mut info = u16::try_from(out.len()).ok()?.to_be_bytes().to_vec();
    info.push(u8::try_from(label.len()).ok()?);
    info.extend_from_slice(label.as_bytes());
    info.push(0);
    secret.expand(&info, out).ok()
}
