//! Reads the fields of an opening one after the other; running out of bytes is an answer, never an error.

/// A position in opening bytes. Every read returns `None` when the bytes do not reach, so that a reader built of `?`
/// says "more bytes are needed" by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first of these bytes.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns what was not read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes a fixed number of bytes.
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    /// Takes one byte.
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes two bytes, most significant first.
    pub(crate) fn be16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes three bytes, most significant first.
    pub(crate) fn be24(&mut self) -> Option<u32> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Takes four bytes, most significant first.
    pub(crate) fn be32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes eight bytes, most significant first.
    pub(crate) fn be64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes two bytes, least significant first.
    pub(crate) fn le16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes three bytes, least significant first.
    pub(crate) fn le24(&mut self) -> Option<u32> {
        self.array().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    /// Takes four bytes, least significant first.
    pub(crate) fn le32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes these very bytes: `Some(false)` as soon as one differs, `None` while they may still come.
    pub(crate) fn magic(&mut self, wanted: &[u8]) -> Option<bool> {
        if let Some(rest) = self.rest.strip_prefix(wanted) {
            self.rest = rest;
            return Some(true);
        }
        (!wanted.starts_with(self.rest)).then_some(false)
    }
}

/// Length and tag of a BER element (X.690 section 8.1), definite form only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element {
    /// The identifier octet.
    pub(crate) tag: u8,
    /// How many content octets follow the header.
    pub(crate) length: usize,
    /// How many octets the header took.
    pub(crate) header: usize,
}

/// Reads one BER header: `None` for more bytes, `Some(None)` when it is none of a length under 16 MiB.
pub(crate) fn element(cursor: &mut Cursor<'_>) -> Option<Option<Element>> {
    let tag = cursor.u8()?;
    let first = cursor.u8()?;
    Some(match first {
        0..=0x7f => Some(Element { tag, length: usize::from(first), header: 2 }),
        0x81 => Some(Element { tag, length: usize::from(cursor.u8()?), header: 3 }),
        0x82 => Some(Element { tag, length: usize::from(cursor.be16()?), header: 4 }),
        0x83 => Some(Element { tag, length: usize::try_from(cursor.be24()?).ok()?, header: 5 }),
        0x84 => {
            let length = cursor.be32()?;
            (length < 1 << 24).then(|| usize::try_from(length).ok()).flatten().map(|length| Element {
                tag,
                length,
                header: 6,
            })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_tells_too_short_from_different() {
        let check = |bytes: &[u8], expected| assert_eq!(Cursor::new(bytes).magic(b"AMQP"), expected);
        check(b"", None);
        check(b"AM", None);
        check(b"AX", Some(false));
        check(b"AMQP", Some(true));
        check(b"AMQP1", Some(true));
    }

    #[test]
    fn ber_lengths() {
        let check = |bytes: &[u8], expected: Option<Option<(usize, usize)>>| {
            let read = element(&mut Cursor::new(bytes));
            assert_eq!(read.map(|e| e.map(|e| (e.length, e.header))), expected, "{bytes:x?}");
        };
        check(&[0x30], None);
        check(&[0x30, 5], Some(Some((5, 2))));
        check(&[0x30, 0x82, 1], None);
        check(&[0x30, 0x82, 1, 2], Some(Some((258, 4))));
        check(&[0x30, 0x84, 0, 0, 1, 2], Some(Some((258, 6))));
        check(&[0x30, 0x84, 0xff, 0, 1, 2], Some(None));
        check(&[0x30, 0x80], Some(None));
    }
}
