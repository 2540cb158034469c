//! Whether unrecognised bytes can be read: text, or so regular that no cipher made them.

/// Fewest bytes that are judged: below, chance decides.
const FEWEST: usize = 16;
/// Fewest bytes of text that ends a line: chance ends one in 30,000 so.
const FEWEST_OF_A_LINE: usize = 6;
/// Fewest equal pairs that count as regular, so that a short run of chance does not.
const FEWEST_PAIRS: u64 = 24;
/// How many times more equal pairs than random bytes have make a regular text.
const TIMES: u64 = 6;
/// From how many equal bytes in a row on they may be padding.
const RUN: usize = 12;
/// Fewest bytes beside padding that are judged without it.
const FEWEST_BESIDE_RUN: usize = 48;
/// How many bytes of a direction are judged.
const JUDGED: usize = 2048;

/// Tells whether the bytes are text-like or of low entropy. Ciphertext and compressed data are neither.
pub(crate) fn readable(bytes: &[u8]) -> bool {
    let bytes = bytes.get(..JUDGED).unwrap_or(bytes);
    bytes.len() >= FEWEST && (text_like(bytes) || regular(bytes))
}

/// Tells whether both directions are readable, so that a plain greeting before ciphertext makes no plaintext. One too
/// short to judge counts for nothing, unless it is clean text.
pub(crate) fn both_readable(client: &[u8], server: &[u8]) -> bool {
    let clean = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n'));
    let ends_line = |bytes: &[u8]| bytes.ends_with(b"\n");
    let line = clean(client) && clean(server) && (ends_line(client) || ends_line(server));
    let enough = client.len().saturating_add(server.len()) >= if line { FEWEST_OF_A_LINE } else { FEWEST };
    let readable = |bytes: &[u8]| clean(bytes) || readable(bytes);
    enough && readable(client) && readable(server)
}

/// Tells whether nearly all bytes are printable: random bytes are so in 3 of 8 cases.
fn text_like(bytes: &[u8]) -> bool {
    let printable = bytes.iter().filter(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')).count();
    // UTF-8 text in other scripts has no ASCII to speak of; the encoding itself is the evidence.
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    let control = bytes.iter().any(|byte| matches!(byte, 0..=8 | 14..=31));
    printable.saturating_mul(10) >= bytes.len().saturating_mul(9) || (valid && !control)
}

/// Tells whether equal pairs of bytes are far more frequent than among random bytes (the index of coincidence), and not only for what
/// they are padded with.
fn regular(bytes: &[u8]) -> bool {
    coincide(bytes) && without_padding(bytes).is_none_or(|rest| coincide(&rest))
}

/// Returns the bytes without what may be padding, if there is any and enough is left to be judged.
fn without_padding(bytes: &[u8]) -> Option<Vec<u8>> {
    let runs = bytes.chunk_by(|one, other| one == other);
    let rest: Vec<u8> = runs.filter(|run| run.len() < RUN).flatten().copied().collect();
    (FEWEST_BESIDE_RUN..bytes.len()).contains(&rest.len()).then_some(rest)
}

fn coincide(bytes: &[u8]) -> bool {
    let mut counts = [0_u16; 256];
    let mut equal: u64 = 0;
    for &byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            // With each of those before it, it makes a pair.
            equal = equal.saturating_add(u64::from(*count));
            *count = count.saturating_add(1);
        }
    }
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let all = length.saturating_mul(length.saturating_sub(1)) / 2;
    equal >= FEWEST_PAIRS && equal.saturating_mul(256) >= all.saturating_mul(TIMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look random, by a fixed linear congruence.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    #[test]
    fn noise_of_any_length_is_not_readable() {
        for seed in 0..200 {
            for length in [16, 24, 32, 48, 64, 128, 512, 2048] {
                assert!(!readable(&noise(seed, length)), "seed {seed}, {length} bytes");
            }
        }
    }

    #[test]
    fn padding_makes_noise_no_more_readable() {
        for seed in 0..200 {
            for (length, zeros) in [(76, 16), (64, 64), (148, 52), (500, 1000)] {
                let padded =
                    [noise(seed, length / 2), vec![0; zeros], noise(seed + 1, length - length / 2)].concat();
                assert!(!readable(&padded), "seed {seed}, {length} bytes and {zeros}");
            }
        }
        // Nor does it make a layout of fields less so.
        let fields = [0, 0, 0, 7, 0, 0, 1, 2, 0, 0, 0, 9, 0, 0, 0, 1].repeat(4);
        assert!(readable(&[&fields[..], &[0; 64]].concat()));
    }

    #[test]
    fn text_and_fixed_layouts_are_readable() {
        assert!(readable(b"whois example.org\r\n"));
        assert!(readable("Привет, как дела?".as_bytes()));
        assert!(readable(&[0, 0, 0, 28, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 0]));
    }

    #[test]
    fn both_directions_have_to_be_readable() {
        let noise = noise(1, 64);
        let check =
            |client: &[u8], server: &[u8], expected| assert_eq!(both_readable(client, server), expected);
        check(b"example.com\r\n", b"% no match\r\n", true);
        check(b"hello, who are you?\n", &noise, false);
        check(&noise, b"", false);
        check(b"hello", b"", false);
        check(b"quit\r\n", b"", true);
        check(b"isro\n", b"rw", true);
        check(b"a\r\n", b"", false);
        check(b"hello\x01", b"a line of text\r\n", false);
    }

    #[test]
    fn too_few_bytes_are_not_judged() {
        assert!(!readable(b"hello"));
    }
}
