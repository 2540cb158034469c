//! The mTLS question in TLS 1.3: what the lengths of the client's first encrypted records say.
//!
//! In come the lengths of its type-23 records after the ServerHello and the suite's lengths; out comes a [`Reading`].
//! Why this works: a record holds data under one key only, and the client's handshake keys end with Finished (RFC 8446
//! sections 4.4 and 5.1), so the last record of its flight ends exactly there.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "record lengths are 16 bits, held in 32: no sum here overflows"
)]

use flow::Proof;

use super::stream::Record;
use super::suites::Lengths;

/// How many records a Certificate may be spread over and still be followed.
const MAX_FLIGHT: usize = 64;
/// How many records tell block padding.
const PADDING_SAMPLE: usize = 6;
/// Smallest flight content with an authentication in one record: a raw public key and its signature.
pub(super) const SMALLEST_AUTHENTICATION: u32 = 165;
/// A tag of 16 bytes, as every suite but one has: for where the suite is not known.
pub(super) const USUAL: Lengths = Lengths { tag: 16, hash: 32 };
/// Blocks that people choose, and their multiples, in which a Finished or an empty Certificate takes as much room as an authentication.
const BLOCKS: [u32; 2] = [100, 256];
/// From this size on blocks hide a flight.
const LARGE_BLOCK: u32 = 128;
/// What one common stack adds to every protected record.
const PADS: [u32; 2] = [0, 16];

/// What a client's flight says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Finished alone.
    Absent(Proof),
    /// An empty Certificate and Finished; `last` is the index of its last record.
    Declined { proof: Proof, last: usize },
    /// A certificate; `last` is the index of the last record known to belong to the flight.
    Certificate { proof: Proof, last: usize },
    /// The client gave up under handshake keys.
    Aborted,
    /// More records may tell.
    More,
    /// Block padding hides it.
    Padded,
    /// No known shape.
    Shapeless,
}

/// The lengths that a suite makes (a record's overhead is one byte of inner type and the tag).
#[derive(Debug, Clone, Copy)]
pub(super) struct Arithmetic {
    pub(super) overhead: u32,
    pub(super) finished: u32,
    pub(super) empty: u32,
    tag: u32,
    hash: u32,
}

impl Arithmetic {
    pub(super) const fn of(suite: Lengths) -> Self {
        let overhead = 1 + suite.tag;
        Self {
            overhead,
            finished: 4 + suite.hash + overhead,
            empty: 8 + overhead,
            tag: suite.tag,
            hash: suite.hash,
        }
    }

    pub(super) fn is_alert(&self, length: u32) -> bool {
        PADS.into_iter().any(|pad| length == self.alert(pad))
    }

    /// The length of an alert's record, given the padding.
    pub(super) const fn alert(&self, pad: u32) -> u32 {
        2 + self.overhead + pad
    }

    /// The padding of the side whose Finished came in a record of this length; absent if it is no Finished alone.
    pub(super) fn padding(&self, length: u32) -> Option<u32> {
        PADS.into_iter().find(|pad| length == self.finished + pad)
    }

    /// Whether a record is a CertificateVerify by its length, given the padding.
    pub(super) const fn is_certificate_verify(&self, length: u32, pad: u32) -> bool {
        let Some(signature) = length.checked_sub(8 + self.overhead + pad) else { return false };
        matches!(
            signature,
            64 | 68..=72 | 100..=104 | 114 | 128 | 131..=139 | 256 | 384 | 512 | 2420 | 3309 | 4627
        )
    }

    /// Whether a record's content ends where a block does in which a Finished or an empty Certificate takes as much room as an
    /// authentication.
    pub(super) fn fills_large_blocks(&self, length: u32) -> bool {
        let inner = length.saturating_sub(self.tag);
        BLOCKS.into_iter().any(|block| inner.is_multiple_of(block))
    }

    /// Whether all records are padded to blocks of one size, be it no power of two.
    fn is_padded_alike(&self, lengths: &[u32]) -> bool {
        // Pieces of a long message are all as long as a limit, up to the last one: so of all that are here.
        let common = lengths.iter().map(|length| length.saturating_sub(self.tag)).fold(0, gcd);
        lengths.len() > 1 && common >= LARGE_BLOCK
    }

    /// The largest block size, 16 to 4096, that every sampled length is a multiple of; `None` when there is none.
    fn block(&self, lengths: &[u32]) -> Option<u32> {
        let sample = lengths.get(..PADDING_SAMPLE.min(lengths.len()))?;
        (4..=12).rev().map(|power| 1_u32 << power).find(|block| {
            sample
                .iter()
                .all(|length| length.checked_sub(self.tag).is_some_and(|inner| inner.is_multiple_of(*block)))
        })
    }
}

/// The greatest common divisor; 0 divides by everything.
const fn gcd(mut one: u32, mut other: u32) -> u32 {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// Whether records may hold one message: as much in each as goes in, and the rest in the last.
fn are_pieces(lengths: &[u32]) -> bool {
    let Some((last, whole)) = lengths.split_last() else { return false };
    whole.iter().all(|length| Some(length) == whole.first() && length >= last)
}

/// Reads a flight; `ended` says that no more records will come.
pub(super) fn read(suite: Lengths, lengths: &[u32], ended: bool) -> Reading {
    let size = Arithmetic::of(suite);
    let Some(&first) = lengths.first() else { return Reading::More };
    let second = lengths.get(1).copied();
    for pad in PADS {
        let proof = if pad == 0 { Proof::Exact } else { Proof::Strong };
        let finished = size.finished + pad;
        if first == finished {
            return Reading::Absent(proof);
        }
        if first == finished + 8 {
            return Reading::Declined { proof, last: 0 };
        }
        if first == size.empty + pad && second == Some(finished) {
            return Reading::Declined { proof, last: 1 };
        }
    }
    // After these: what follows a padded Finished may look like the end of a flight that is not padded.
    for pad in PADS {
        if first >= 57 + size.overhead {
            let finished = size.finished + pad;
            let flight = lengths.get(..MAX_FLIGHT.min(lengths.len())).unwrap_or_default();
            let found = flight.windows(2).skip(1).enumerate().position(|(at, pair)| {
                matches!(pair, [verify, last] if *last == finished && size.is_certificate_verify(*verify, pad))
                    && flight.get(..=at).is_some_and(are_pieces)
            });
            if let Some(at) = found {
                let proof = if pad == 0 { Proof::Exact } else { Proof::Strong };
                return Reading::Certificate { proof, last: at + 2 };
            }
        }
    }
    if lengths.len() <= 2 && lengths.iter().all(|length| size.is_alert(*length)) {
        return if ended { Reading::Aborted } else { Reading::More };
    }
    if size.empty <= first && first < size.finished {
        match second {
            None if !ended => return Reading::More,
            // Nothing else in a client's flight is shorter than Finished: this is an empty Certificate, padded or
            // compressed.
            Some(second) if first > size.empty && second >= size.finished => {
                return Reading::Declined { proof: Proof::Strong, last: 1 };
            }
            Some(_) | None => {}
        }
    }
    let large = first >= SMALLEST_AUTHENTICATION + size.overhead;
    if size.is_padded_alike(lengths) {
        return Reading::Padded;
    }
    match size.block(lengths) {
        Some(block) if block >= LARGE_BLOCK => Reading::Padded,
        Some(_) if large => Reading::Certificate { proof: Proof::Inferred, last: 0 },
        // A few records are multiples of a small block by chance.
        Some(_) if lengths.len() < 3 && ended => Reading::Shapeless,
        Some(block) => {
            if lengths.len() < PADDING_SAMPLE && !ended {
                Reading::More
            } else if first.saturating_sub(size.overhead) < 4 + size.hash + 1 + block {
                Reading::Absent(Proof::Inferred)
            } else {
                Reading::Padded
            }
        }
        None if large => Reading::Certificate { proof: Proof::Strong, last: 0 },
        None if lengths.len() < 3 && !ended && first >= 57 + size.overhead => Reading::More,
        None => Reading::Shapeless,
    }
}

/// Whether a flight that reads as a certificate in one record goes on to, whatever comes after these: a second record that fills no
/// block with it rules padding out, once it is not the second message of a flight in several records.
pub(super) fn stays_a_certificate(suite: Lengths, lengths: &[u32]) -> bool {
    let verifies =
        |length: u32| PADS.into_iter().any(|pad| Arithmetic::of(suite).is_certificate_verify(length, pad));
    match *lengths {
        [] | [_] => false,
        [_, second] => !verifies(second),
        [..] => true,
    }
}

/// Reads a flight whose suite is not known because the server's side was not captured.
pub(super) fn read_one_sided(lengths: &[u32]) -> Reading {
    let proof = Proof::Inferred;
    // Block padding makes a flight of any kind large.
    let size = Arithmetic::of(USUAL);
    let in_blocks = size.block(lengths).is_some_and(|block| block >= LARGE_BLOCK);
    if in_blocks || size.is_padded_alike(lengths) {
        return Reading::Padded;
    }
    match *lengths {
        [] => Reading::More,
        [53 | 69 | 85, ..] => Reading::Absent(proof),
        [61 | 77 | 93, ..] | [25, 53 | 69, ..] | [41, 69 | 85, ..] => Reading::Declined { proof, last: 0 },
        [25 | 41] => Reading::More,
        [first, ..] if first >= 182 => Reading::Certificate { proof, last: 0 },
        [_, ..] => Reading::Shapeless,
    }
}

/// Whether three records in a row look like a post-handshake authentication (RFC 8446 section 4.6.2): one answer, so nothing of the
/// server's came between them.
pub(super) fn post_handshake(suite: Lengths, records: &[Record]) -> bool {
    let size = Arithmetic::of(suite);
    records.windows(3).any(|three| {
        let [certificate, verify, last] = three else { return false };
        certificate.length > 100
            && size.is_certificate_verify(u32::from(verify.length), 0)
            && u32::from(last.length) == size.finished
            && certificate.mark.acknowledged == last.mark.acknowledged
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Mark, suites};

    const SUITES: [u16; 5] = [0x1301, 0x1302, 0x1303, 0x1304, 0x1305];

    #[test]
    fn every_suite_padding_and_layout() {
        for suite in SUITES {
            let suite = suites::lengths(suite).unwrap();
            let size = Arithmetic::of(suite);
            for pad in PADS {
                let proof = if pad == 0 { Proof::Exact } else { Proof::Strong };
                let (f, e, x) = (size.finished + pad, size.empty + pad, size.overhead + pad);
                let check = |lengths: &[u32], expected: Reading| {
                    assert_eq!(read(suite, lengths, true), expected, "{lengths:?} pad {pad}");
                };
                check(&[f], Reading::Absent(proof));
                check(&[f, 4000, 17], Reading::Absent(proof));
                check(&[f + 8], Reading::Declined { proof, last: 0 });
                check(&[e, f], Reading::Declined { proof, last: 1 });
                for signature in [64, 70, 103, 114, 139, 256, 512, 3309] {
                    check(&[839 + x, 8 + signature + x, f], Reading::Certificate { proof, last: 2 });
                    check(
                        &[500 + x, 339 + x, 8 + signature + x, f, 99],
                        Reading::Certificate { proof, last: 3 },
                    );
                }
                check(&[565 + x, 22 + x], Reading::Certificate { proof: Proof::Strong, last: 0 });
            }
            assert_eq!(read(suite, &[size.overhead + 2], true), Reading::Aborted);
            assert_eq!(read(suite, &[size.overhead + 2], false), Reading::More);
            assert_eq!(read(suite, &[], true), Reading::More);
            assert_eq!(read(suite, &[512 + size.tag; 6], true), Reading::Padded);
        }
    }

    #[test]
    fn a_suite_is_never_read_with_another_ones_lengths() {
        let (sha256, short_tag) = (suites::lengths(0x1301).unwrap(), suites::lengths(0x1305).unwrap());
        assert_eq!(read(sha256, &[53], true), Reading::Absent(Proof::Exact));
        assert_eq!(read(short_tag, &[53], true), Reading::Declined { proof: Proof::Exact, last: 0 });
        assert_eq!(read(sha256, &[69], true), Reading::Absent(Proof::Strong));
    }

    #[test]
    fn more_records_never_contradict_fewer() {
        let class = |reading| match reading {
            Reading::Absent(_) | Reading::Declined { .. } | Reading::Aborted => Some(false),
            Reading::Certificate { .. } => Some(true),
            Reading::More | Reading::Padded | Reading::Shapeless => None,
        };
        let sizes = [19, 25, 41, 53, 61, 64, 69, 80, 96, 112, 200, 256 + 16, 528, 600, 1232];
        let suite = suites::lengths(0x1301).unwrap();
        for a in sizes {
            for b in sizes {
                for c in sizes {
                    let mut known = None;
                    for end in 1..=3 {
                        let now = class(read(suite, &[a, b, c][..end], false));
                        // What only more of them show is that all are padded alike.
                        let withdrawn = now.is_none() && a == b && (end == 2 || b == c);
                        assert!(
                            known.is_none() || now == known || withdrawn,
                            "{a} {b} {c}: {known:?} then {now:?}"
                        );
                        known = now;
                    }
                }
            }
        }
    }

    #[test]
    fn what_follows_a_padded_finished_makes_no_certificate() {
        for suite in SUITES {
            let suite = suites::lengths(suite).unwrap();
            let size = Arithmetic::of(suite);
            let (absent, declined) = (size.finished + 16, size.finished + 24);
            let (verify, finished) = (80 + size.overhead, size.finished);
            let read = |first| read(suite, &[first, 300, verify, finished, 99], true);
            assert_eq!(read(absent), Reading::Absent(Proof::Strong));
            assert_eq!(read(declined), Reading::Declined { proof: Proof::Strong, last: 0 });
        }
    }

    #[test]
    fn records_before_a_verify_are_pieces_of_one_message() {
        let suite = suites::lengths(0x1301).unwrap();
        let read = |lengths: &[u32]| read(suite, lengths, true);
        let exact = |last| Reading::Certificate { proof: Proof::Exact, last };
        assert_eq!(read(&[100, 97, 53]), exact(2));
        assert_eq!(read(&[529, 529, 529, 80, 97, 53]), exact(5));
        // Something of another stack's, then payload.
        for payload in [&[100, 120, 97, 53][..], &[100, 90, 120, 97, 53], &[144, 300, 97, 53]] {
            assert_eq!(read(payload), Reading::Shapeless, "{payload:?}");
        }
    }

    /// What every border of the arithmetic makes of the record beside it.
    #[test]
    fn the_borders_of_each_reading() {
        let suite = suites::lengths(0x1301).unwrap();
        let (absent, strong) = (Reading::Absent(Proof::Inferred), Proof::Strong);
        let declined = Reading::Declined { proof: strong, last: 1 };
        let certificate = |proof| Reading::Certificate { proof, last: 0 };
        for (lengths, ended, expected) in [
            // Alerts, and what is not alerts alone.
            (&[19, 35][..], true, Reading::Aborted),
            (&[19, 400], true, Reading::Shapeless),
            (&[19, 19, 19], true, Reading::Shapeless),
            // What is shorter than Finished: an empty Certificate, where a Finished follows.
            (&[20], false, Reading::Shapeless),
            (&[25], false, Reading::More),
            (&[25], true, Reading::Shapeless),
            (&[25, 54], true, Reading::Shapeless),
            (&[40, 52], true, Reading::Shapeless),
            (&[40, 53], true, declined),
            (&[52, 53], true, declined),
            // What a certificate may still follow.
            (&[73], false, Reading::Shapeless),
            (&[74], false, Reading::More),
            (&[74], true, Reading::Shapeless),
            (&[100, 101], false, Reading::More),
            (&[100, 101, 60], false, Reading::Shapeless),
            (&[529, 529, 97, 53], true, Reading::Certificate { proof: Proof::Exact, last: 3 }),
            // Of Certificates in pieces, all but the last are as long as a limit.
            (&[130, 110, 100, 97, 53], true, Reading::Shapeless),
            (&[181, 60], true, Reading::Shapeless),
            (&[182, 61], true, certificate(strong)),
            // Small blocks, where enough records tell.
            (&[80], true, Reading::Shapeless),
            (&[80, 80], true, Reading::Shapeless),
            (&[80, 80], false, Reading::More),
            (&[80, 80, 80], true, absent),
            (&[80; 5], false, Reading::More),
            (&[80; 6], false, absent),
            (&[144, 80, 80], true, Reading::Padded),
            (&[208, 80, 80], true, certificate(Proof::Inferred)),
            // Blocks that hide a flight.
            (&[144], true, Reading::Padded),
            (&[144; 6], true, Reading::Padded),
            (&[528], true, Reading::Padded),
            (&[166, 316, 316], true, Reading::Padded),
        ] {
            assert_eq!(read(suite, lengths, ended), expected, "{lengths:?}, ended: {ended}");
        }
        for (lengths, expected) in [
            (&[144][..], Reading::Padded),
            (&[528], Reading::Padded),
            (&[166, 316, 316], Reading::Padded),
            (&[181], Reading::Shapeless),
            (&[182], certificate(Proof::Inferred)),
            (&[25], Reading::More),
            (&[25, 53], Reading::Declined { proof: Proof::Inferred, last: 0 }),
            (&[25, 54], Reading::Shapeless),
        ] {
            assert_eq!(read_one_sided(lengths), expected, "{lengths:?}");
        }
    }

    #[test]
    fn a_late_authentication_is_three_records_of_their_lengths() {
        let suite = suites::lengths(0x1301).unwrap();
        let read = |lengths: [u16; 3]| {
            let mark = Mark { packet: 0, acknowledged: Some(9) };
            let records = lengths.map(|length| Record { kind: 23, length, mark, end: 0 });
            post_handshake(suite, &records)
        };
        assert!(read([101, 97, 53]) && read([900, 281, 53]));
        for lengths in [[100, 97, 53], [900, 98, 53], [900, 97, 54], [900, 97, 69]] {
            assert!(!read(lengths), "{lengths:?}");
        }
    }

    #[test]
    fn what_may_be_padded_is_no_certificate() {
        let suite = suites::lengths(0x1301).unwrap();
        let size = Arithmetic::of(suite);
        for block in [200, 256, 300, 512, 768, 1000, 4096] {
            assert!(
                size.fills_large_blocks(block + 16) && size.fills_large_blocks(2 * block + 16),
                "{block}"
            );
        }
        for length in [581, 598, 818, 973, 989, 1207] {
            assert!(!size.fills_large_blocks(length), "{length}");
        }
        // Whatever the block, if all records fill it; pieces of a long message are no blocks, once the last one is there.
        for lengths in [&[759, 759][..], &[759, 1502, 759, 759, 759, 759, 759]] {
            assert_eq!(read(suite, lengths, true), Reading::Padded);
            assert_eq!(read_one_sided(lengths), Reading::Padded);
        }
        let strong = Reading::Certificate { proof: Proof::Strong, last: 0 };
        assert_eq!(read(suite, &[524, 524, 524, 524, 524, 524, 357, 39], true), strong);
        assert_eq!(read(suite, &[759], true), strong);
    }

    #[test]
    fn one_side_with_block_padding_says_nothing() {
        assert_eq!(read_one_sided(&[4112, 4112]), Reading::Padded);
        assert_eq!(read_one_sided(&[528, 528, 1040]), Reading::Padded);
        assert!(matches!(read_one_sided(&[581, 97]), Reading::Certificate { .. }));
    }
}
