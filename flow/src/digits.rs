//! Digits, two at a time.

use std::net::Ipv4Addr;

/// The digits of every number below 100.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// The hex digits of every byte.
const HEX: [[u8; 2]; 256] = {
    let digits = *b"0123456789abcdef";
    let mut pairs = [[b'0'; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 0x0f]];
        byte += 1;
    }
    pairs
};

/// Returns the two hex digits of a byte.
#[inline]
pub(crate) fn hex(byte: u8) -> [u8; 2] {
    HEX.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Returns the two digits of a number below 100.
#[inline]
pub(crate) fn pair(number: usize) -> [u8; 2] {
    PAIRS.get(number).copied().unwrap_or_default()
}

/// How many digits the largest number has.
const MOST: usize = 20;

/// A number's digits.
pub(crate) struct Digits {
    text: [u8; MOST],
    begin: usize,
}

impl Digits {
    /// Writes a number.
    #[inline]
    pub(crate) fn of(mut number: u64) -> Self {
        let mut text = [0; MOST];
        let mut begin = MOST;
        while number >= 100 {
            begin -= 2;
            put(&mut text, begin, pair((number % 100) as usize));
            number /= 100;
        }
        let [tens, ones] = pair(number as usize);
        begin -= 1;
        put(&mut text, begin, [ones]);
        if number >= 10 {
            begin -= 1;
            put(&mut text, begin, [tens]);
        }
        Self { text, begin }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.text.get(self.begin..).unwrap_or_default()
    }
}

/// An IPv4 address in its usual form.
pub(crate) struct Dotted {
    text: [u8; "255.255.255.255".len()],
    length: usize,
}

impl Dotted {
    /// Writes an address.
    pub(crate) fn of(ip: Ipv4Addr) -> Self {
        let mut dotted = Self { text: [0; _], length: 0 };
        for octet in ip.octets() {
            if dotted.length > 0 {
                dotted.push([b'.']);
            }
            let [tens, ones] = pair(usize::from(octet % 100));
            match octet {
                100.. => dotted.push([b'0' + octet / 100, tens, ones]),
                10.. => dotted.push([tens, ones]),
                _ => dotted.push([ones]),
            }
        }
        dotted
    }

    fn push<const N: usize>(&mut self, bytes: [u8; N]) {
        put(&mut self.text, self.length, bytes);
        self.length += N;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }
}

/// Puts digits at a place.
#[inline]
fn put<const N: usize>(text: &mut [u8], at: usize, digits: [u8; N]) {
    if let Some(place) = text.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = digits;
    }
}

#[cfg(test)]
mod tests {
    use super::{Digits, Dotted, Ipv4Addr};

    #[test]
    fn every_octet() {
        for octet in 0..=u8::MAX {
            let ip = Ipv4Addr::new(octet, 255, octet, octet);
            assert_eq!(Dotted::of(ip).bytes(), ip.to_string().as_bytes());
        }
    }

    #[test]
    fn every_length() {
        let mut number = 1_u64;
        for _ in 0..20 {
            for near in [number - 1, number, number + 1, number.saturating_mul(7)] {
                assert_eq!(Digits::of(near).bytes(), near.to_string().as_bytes());
            }
            number = number.saturating_mul(10);
        }
        assert_eq!(Digits::of(u64::MAX).bytes(), u64::MAX.to_string().as_bytes());
    }
}
