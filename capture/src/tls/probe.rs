//! Whether bytes begin a TLS stream, judged from as few of them as can tell.
//!
//! In come the first bytes of one direction; out comes a [`Probe`]. Stateless: ask again as the bytes grow. What the
//! messages say is read in [`super::hello`].

use super::cursor::Cursor;

/// Longest body a record header may announce: 2^14 and the 2048 that TLS 1.2 allows for expansion (RFC 5246
/// section 6.2.3).
pub(super) const MAX_RECORD: u16 = 16_384 + 2_048;

/// Whether bytes begin a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// They do.
    Yes,
    /// They cannot.
    No,
    /// Too few bytes to tell.
    More,
}

/// Tells whether `bytes` begin with a ClientHello (TLS record, or SSLv2-framed).
pub(crate) fn client_hello(bytes: &[u8]) -> Probe {
    match bytes.first() {
        None => Probe::More,
        Some(0x16) => handshake_record(bytes, &[1]),
        Some(first) if first & 0x80 != 0 => ssl2_client_hello(bytes),
        Some(_) => Probe::No,
    }
}

/// Tells whether bytes that begin with a ClientHello go on to its list of suites, with a session id as long as one can
/// be (RFC 8446 section 4.1.2). An SSLv2-framed one was judged by its lengths already.
pub(crate) fn hello_suites(bytes: &[u8]) -> bool {
    let Some(0x16) = bytes.first() else { return !bytes.is_empty() };
    // Message header, version, random, session id, and the suites' length; perhaps over several records.
    let mut hello = [0; 4 + 34 + 1 + 32 + 2];
    let (mut length, mut records) = (0_usize, Cursor(bytes));
    while records.u8() == Some(0x16) && records.u16().is_some_and(|version| version >> 8 == 3) {
        let Some(size) = records.u16() else { break };
        let part = records.take_up_to(usize::from(size));
        let Some(room) = hello.get_mut(length..) else { break };
        let count = part.len().min(room.len());
        for (to, from) in room.iter_mut().zip(part) {
            *to = *from;
        }
        length = length.saturating_add(count);
    }
    let mut at = Cursor(hello.get(..length).unwrap_or_default());
    let mut read = || {
        at.take(38)?;
        let session = at.vector8()?.len();
        at.u16()?;
        Some(session <= 32)
    };
    read() == Some(true)
}

/// Tells whether `bytes` begin with a ServerHello or alert record: the answer that confirms a hello.
pub(crate) fn server_answer(bytes: &[u8]) -> Probe {
    match bytes.first() {
        None => Probe::More,
        // Type 6 is the HelloRetryRequest of the drafts up to 21.
        Some(0x16) => handshake_record(bytes, &[2, 6]),
        Some(0x15) => {
            all(bytes, &[|b| b == 0x15, |b| b == 3, |b| b <= 4, |b| b == 0, |b| b == 2, |b| b == 1 || b == 2])
        }
        Some(first) if first & 0x80 != 0 => all(
            bytes,
            &[|b| b & 0x80 != 0, |_| true, |b| b == 4, |b| b <= 1, |b| b <= 1, |b| b == 0 || b == 3],
        ),
        Some(_) => Probe::No,
    }
}

/// Tells whether `bytes` begin with a chain of valid TLS record headers (two, or one that ends the bytes): a
/// connection joined after its handshake.
pub(crate) fn record_chain(bytes: &[u8]) -> Probe {
    let mut rest = bytes;
    for _ in 0..2 {
        match all(rest, &[|b| (20..=24).contains(&b), |b| b == 3, |b| b <= 4]) {
            Probe::Yes => {}
            unsettled @ (Probe::No | Probe::More) => return unsettled,
        }
        let (Some(kind), Some(high), Some(low)) = (rest.first(), rest.get(3), rest.get(4)) else {
            return Probe::More;
        };
        let length = u16::from_be_bytes([*high, *low]);
        let fits = match kind {
            20 => length == 1,
            21 => (2..=256).contains(&length),
            _ => (1..=MAX_RECORD).contains(&length),
        };
        if !fits {
            return Probe::No;
        }
        match rest.get(usize::from(length).saturating_add(5)..) {
            None => return Probe::More,
            Some([]) => return Probe::Yes,
            Some(next) => rest = next,
        }
    }
    Probe::Yes
}

/// Tells whether `bytes` begin with a record that holds a Certificate message whose three lengths agree (RFC 5246
/// section 7.4.2): a handshake joined in its middle, even where the record's end is missing.
pub(crate) fn certificate_record(bytes: &[u8]) -> bool {
    let &[0x16, 3, 0..=4, r1, r0, 11, m2, m1, m0, l2, l1, l0, c2, c1, c0, 0x30, 0x82, ..] = bytes else {
        return false;
    };
    let number = |high: u8, middle: u8, low: u8| u32::from_be_bytes([0, high, middle, low]);
    let (message, list, first) = (number(m2, m1, m0), number(l2, l1, l0), number(c2, c1, c0));
    let record = number(0, r1, r0);
    list.saturating_add(3) == message
        && first.saturating_add(3) <= list
        && message.saturating_add(4) <= record
}

/// Demands of each byte in turn what its test says; a prefix that fits so far is [`Probe::More`].
fn all(bytes: &[u8], tests: &[fn(u8) -> bool]) -> Probe {
    if bytes.iter().zip(tests).any(|(byte, test)| !test(*byte)) {
        return Probe::No;
    }
    if bytes.len() < tests.len() { Probe::More } else { Probe::Yes }
}

/// A handshake record whose first message has one of `types` and, being a hello, starts with a version.
fn handshake_record(bytes: &[u8], types: &[u8]) -> Probe {
    let header = all(bytes, &[|b| b == 0x16, |b| b == 3, |b| b <= 4]);
    if header != Probe::Yes {
        return header;
    }
    if let (Some(high), Some(low)) = (bytes.get(3), bytes.get(4)) {
        let length = u16::from_be_bytes([*high, *low]);
        if length == 0 || length > MAX_RECORD {
            return Probe::No;
        }
        // A hello whose first record holds less than its header and version is legal, if odd: the rest is in the next.
        if length < 6 {
            return match bytes.get(5) {
                None => Probe::More,
                Some(kind) if types.contains(kind) => Probe::Yes,
                Some(_) => Probe::No,
            };
        }
    }
    match bytes.get(5) {
        None => Probe::More,
        Some(kind) if types.contains(kind) => all(
            bytes.get(6..).unwrap_or_default(),
            &[|b| b <= 1, |_| true, |_| true, |b| b == 3 || b == 0x7f],
        ),
        Some(_) => Probe::No,
    }
}

/// The hello of SSL 2.0, which clients also used to offer SSL 3.0 and TLS 1.0 (RFC 5246 appendix E.2). Its three
/// lengths must add up to the record's.
fn ssl2_client_hello(bytes: &[u8]) -> Probe {
    let shape = all(bytes, &[|b| b & 0x80 != 0, |_| true, |b| b == 1, |b| b == 0 || b == 3, |b| b <= 4]);
    if shape != Probe::Yes {
        return shape;
    }
    let (Some(head), Some(lengths)) = (bytes.get(..2), bytes.get(5..11)) else { return Probe::More };
    let (&[high, low], &[c1, c0, s1, s0, r1, r0]) = (head, lengths) else { return Probe::No };
    let record = u32::from(u16::from_be_bytes([high & 0x7f, low]));
    let (ciphers, session, challenge) = (
        u32::from(u16::from_be_bytes([c1, c0])),
        u32::from(u16::from_be_bytes([s1, s0])),
        u32::from(u16::from_be_bytes([r1, r0])),
    );
    let adds_up = ciphers.saturating_add(session).saturating_add(challenge).saturating_add(9) == record;
    if adds_up && ciphers > 0 && ciphers.is_multiple_of(3) && session <= 32 && (16..=32).contains(&challenge)
    {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[cfg(test)]
mod tests {
    use super::{Probe, certificate_record, client_hello, hello_suites, record_chain, server_answer};

    fn check(probe: fn(&[u8]) -> Probe, bytes: &[u8], expected: Probe) {
        assert_eq!(probe(bytes), expected, "{bytes:02x?}");
        if expected == Probe::Yes {
            for end in 0..bytes.len() {
                assert_ne!(probe(&bytes[..end]), Probe::No, "prefix {end} of {bytes:02x?}");
            }
        }
    }

    #[test]
    fn a_client_hello_is_told_from_what_looks_like_it() {
        check(client_hello, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], Probe::Yes);
        check(client_hello, &[0x16, 3, 1, 0, 3, 1, 0, 1], Probe::Yes);
        check(client_hello, &[0x16, 3, 1, 2, 0, 2, 0, 1, 0xfc, 3, 3], Probe::No);
        check(client_hello, &[0x16, 3, 9], Probe::No);
        check(client_hello, &[0x16, 3, 1, 0xff, 0xff, 1], Probe::No);
        check(client_hello, b"GET / HTTP/1.1", Probe::No);
        check(client_hello, &[0x80, 0x1c, 1, 0, 2, 0, 3, 0, 0, 0, 16, 7, 0, 0xc0], Probe::Yes);
        check(client_hello, &[0x80, 0x1d, 1, 0, 2, 0, 3, 0, 0, 0, 16, 7, 0, 0xc0], Probe::No);
        check(client_hello, &[], Probe::More);
    }

    #[test]
    fn an_answer_is_a_server_hello_or_an_alert() {
        check(server_answer, &[0x16, 3, 3, 0, 0x7a, 2, 0, 0, 0x76, 3, 3], Probe::Yes);
        check(server_answer, &[0x15, 3, 1, 0, 2, 2, 40], Probe::Yes);
        check(server_answer, &[0x15, 3, 1, 0, 2, 3, 40], Probe::No);
        check(server_answer, &[0x16, 3, 3, 0, 0x7a, 1, 0, 0, 0x76, 3, 3], Probe::No);
        check(server_answer, b"HTTP/1.1 400", Probe::No);
    }

    #[test]
    fn a_hello_is_told_from_payload_that_begins_like_one() {
        let mut hello = vec![1, 0, 1, 0xfc, 3, 3];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0x13, 1]);
        let records = |hello: &[u8], size: usize| -> Vec<u8> {
            let record = |part: &[u8]| [&[0x16, 3, 1, 0, u8::try_from(part.len()).unwrap()], part].concat();
            hello.chunks(size).flat_map(record).collect()
        };
        for size in [1, 5, 64] {
            let whole = records(&hello, size);
            assert!(hello_suites(&whole), "records of {size}");
            assert!(!hello_suites(&whole[..30]), "records of {size}");
        }
        hello[38] = 33;
        assert!(!hello_suites(&records(&hello, 64)));
    }

    #[test]
    fn a_certificate_is_told_by_its_lengths() {
        let check = |bytes: &[u8], expected| assert_eq!(certificate_record(bytes), expected, "{bytes:02x?}");
        let whole = [0x16, 3, 3, 2, 4, 11, 0, 2, 0, 0, 1, 0xfd, 0, 1, 0xfa, 0x30, 0x82, 1, 0xf6];
        check(&whole, true);
        check(&whole[..16], false);
        for at in [5, 8, 11, 14] {
            let mut wrong = whole;
            wrong[at] = wrong[at].wrapping_add(1);
            check(&wrong, false);
        }
    }

    #[test]
    fn records_in_a_row_are_a_session_joined_late() {
        check(record_chain, &[23, 3, 3, 0, 2, 9, 9, 23, 3, 3, 0, 1, 7], Probe::Yes);
        check(record_chain, &[23, 3, 3, 0, 2, 9, 9], Probe::Yes);
        check(record_chain, &[23, 3, 3, 0, 2, 9, 9, 99], Probe::No);
        check(record_chain, &[23, 3, 3, 0, 2, 9], Probe::More);
        check(record_chain, &[23, 3, 3, 0x80, 2, 9], Probe::No);
        check(record_chain, &[20, 3, 3, 0, 2, 9], Probe::No);
    }
}
