//! TDS pre-login encryption (MS-TDS section 2.2.6.5): agreed on in options, then TLS inside TDS packets.

use flow::{Protocol, Upgrade};

use super::super::cursor::Cursor;
use super::super::tds::PRELOGIN;
use super::super::{Opening, Read};
use super::{Known, Turn};
use crate::tls::{self, Probe};

pub(super) const KNOWN: Known = Known { protocol: Protocol::Tds, upgrade: Upgrade::Tds, turn };

/// Length of a packet header.
const HEADER: usize = 8;
/// Most bytes of the list of options that are read: 51 options, of which there are some ten.
const OPTIONS: usize = 255;
/// Values of the option ENCRYPTION: for the login only, for all, impossible, demanded.
const LOGIN_ONLY: u8 = 0;
const IMPOSSIBLE: u8 = 2;
/// Kind of a server's answer packet.
const RESPONSE: u8 = 4;

fn turn(opening: &Opening<'_>, _: &mut Read) -> Turn {
    if opening.client.first() != Some(&PRELOGIN) {
        return Turn::Past;
    }
    let Some((wanted, client)) = prelogin(opening.client) else { return Turn::Possible };
    let Some((offered, server)) = prelogin(opening.server) else { return Turn::Possible };
    match (wanted, offered) {
        // Nobody can, or only one can.
        (Some(IMPOSSIBLE) | None, _) => Turn::Past,
        (_, Some(IMPOSSIBLE) | None) => Turn::Refused,
        // TLS for the login packet alone: everything after it goes in the clear.
        (Some(LOGIN_ONLY), Some(LOGIN_ONLY)) => Turn::Refused,
        (Some(_), Some(_)) => {
            let rest = opening.client.get(client..).unwrap_or(&[]);
            match (rest.first(), rest.get(HEADER..)) {
                (Some(&PRELOGIN), Some(hello)) => match tls::client_hello(hello) {
                    Probe::Yes => Turn::BegunInTds { client, server },
                    Probe::More => Turn::Possible,
                    Probe::No => Turn::Past,
                },
                (Some(&PRELOGIN) | None, _) => Turn::Possible,
                (Some(_), _) => Turn::Past,
            }
        }
    }
}

/// Reads a pre-login packet: what it says of encryption, and its length.
fn prelogin(bytes: &[u8]) -> Option<(Option<u8>, usize)> {
    let mut cursor = Cursor::new(bytes);
    cursor.be16()?;
    let length = usize::from(cursor.be16()?);
    let packet = bytes.get(..length)?;
    let options = packet.get(HEADER..)?;
    let mut cursor = Cursor::new(options.get(..OPTIONS).unwrap_or(options));
    loop {
        match cursor.u8() {
            None | Some(0xff) => return Some((None, length)),
            Some(1) => {
                let at = usize::from(cursor.be16()?);
                return Some((options.get(at).copied(), length));
            }
            Some(_) => {
                cursor.be32()?;
            }
        }
    }
}

/// Takes the TDS packets off one direction of a TLS handshake; once raw records come, they pass as they are.
#[derive(Debug, Default)]
pub(crate) struct Unwrapper {
    state: Wrapping,
}

/// Where in the wrapping a direction stands.
#[derive(Debug)]
enum Wrapping {
    /// Inside a packet header of which this much was read.
    Header { bytes: [u8; HEADER], read: usize },
    /// Inside a packet that has this many bytes left, never zero.
    Packet { left: usize },
    /// No packets any more.
    Raw,
}

impl Default for Wrapping {
    fn default() -> Self {
        Self::Header { bytes: [0; HEADER], read: 0 }
    }
}

impl Unwrapper {
    /// Takes the next run of TLS bytes off the front of `bytes`; `None` once they are used up. Ask until then.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        loop {
            let &first = bytes.first()?;
            match &mut self.state {
                Wrapping::Raw => return Some(std::mem::take(bytes)),
                Wrapping::Packet { left } => {
                    let taken = bytes.len().min(*left);
                    *left = left.saturating_sub(taken);
                    if *left == 0 {
                        self.state = Wrapping::default();
                    }
                    let (run, rest) = bytes.split_at_checked(taken)?;
                    *bytes = rest;
                    return Some(run);
                }
                Wrapping::Header { read: 0, .. } if first != PRELOGIN && first != RESPONSE => {
                    self.state = Wrapping::Raw;
                }
                Wrapping::Header { bytes: header, read } => {
                    if let Some(slot) = header.get_mut(*read) {
                        *slot = first;
                    }
                    *bytes = bytes.get(1..).unwrap_or(&[]);
                    *read = read.saturating_add(1);
                    if *read == HEADER {
                        let [_, _, high, low, ..] = *header;
                        let left = usize::from(u16::from_be_bytes([high, low])).saturating_sub(HEADER);
                        self.state = if left == 0 { Wrapping::default() } else { Wrapping::Packet { left } };
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrap(pieces: &[&[u8]]) -> Vec<u8> {
        let mut unwrapper = Unwrapper::default();
        let mut out = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(run) = unwrapper.next(&mut piece) {
                out.extend_from_slice(run);
            }
        }
        out
    }

    #[test]
    fn packets_come_off_however_they_are_cut() {
        let stream = b"\x12\x01\x00\x0c\x00\x00\x00\x00\x16\x03\x01\x00\x12\x01\x00\x08\x00\x00\x00\x00\x04\x01\x00\x09\x00\x00\x00\x00\x05\x17\x03\x03\x00\x00\x12";
        let expected = b"\x16\x03\x01\x00\x05\x17\x03\x03\x00\x00\x12";
        for cut in 0..=stream.len() {
            let (before, after) = stream.split_at(cut);
            assert_eq!(unwrap(&[before, after]), expected, "cut at {cut}");
        }
    }
}
