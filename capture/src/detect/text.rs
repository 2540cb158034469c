//! Lines and words of text protocols.

use memchr::{memchr, memchr_iter, memchr2_iter, memmem};

/// How long a first line may grow before it is no line of a protocol.
pub(crate) const LINE: usize = 1024;

/// A line that starts at the beginning of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// A whole line without its ending, and what follows it.
    Whole(&'a [u8], &'a [u8]),
    /// Text so far, the ending not seen.
    Open(&'a [u8]),
    /// Not text, or longer than [`LINE`].
    Never,
}

/// Reads the first line, ended by LF or CR LF.
pub(crate) fn line(bytes: &[u8]) -> Line<'_> {
    let seen = bytes.get(..LINE).unwrap_or(bytes);
    let end = memchr(b'\n', seen);
    let text = end.and_then(|end| seen.get(..end)).unwrap_or(seen);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    // Without leaving early, many bytes are looked at at a time.
    if !text.iter().fold(true, |all, &byte| all & (byte == b'\t' || (byte >= b' ' && byte != 0x7f))) {
        return Line::Never;
    }
    match end.and_then(|end| bytes.split_at_checked(end.saturating_add(1))) {
        Some((_, rest)) => Line::Whole(text, rest),
        None if bytes.len() < LINE => Line::Open(text),
        None => Line::Never,
    }
}

/// Tells whether the first line satisfies `rule`; `None` while the line is not whole.
pub(crate) fn first_line(bytes: &[u8], rule: impl Fn(&[u8]) -> bool) -> Option<bool> {
    match line(bytes) {
        Line::Whole(text, _) => Some(rule(text)),
        Line::Open(_) => None,
        Line::Never => Some(false),
    }
}

/// The same of a line that can satisfy it only if it begins with one of these words, in any case: no as soon as it does not.
pub(crate) fn line_of(bytes: &[u8], words: &[&[u8]], rule: impl Fn(&[u8]) -> bool) -> Option<bool> {
    if may_begin(bytes, words) { first_line(bytes, rule) } else { Some(false) }
}

/// Tells whether the bytes begin with one of these words, in any case, or may once there are more of them.
fn may_begin(bytes: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|word| bytes.iter().zip(*word).all(|(byte, letter)| byte.eq_ignore_ascii_case(letter)))
}

/// Visits the whole lines in order, each with the offset just past its ending.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut from = 0;
    memchr_iter(b'\n', bytes).filter_map(move |end| {
        let text = bytes.get(from..end)?;
        from = end.saturating_add(1);
        Some((text.strip_suffix(b"\r").unwrap_or(text), from))
    })
}

/// Splits a line at its first space.
pub(crate) fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b' ', text) {
        Some(at) => {
            let (word, rest) = text.split_at_checked(at).unwrap_or((text, &[]));
            (word, rest.get(1..).unwrap_or(&[]))
        }
        None => (text, &[]),
    }
}

/// Tells whether the line's first word is one of these, in any case.
pub(crate) fn verb(text: &[u8], verbs: &[&[u8]]) -> bool {
    let (first, _) = word(text);
    verbs.iter().any(|verb| first.eq_ignore_ascii_case(verb))
}

/// Tells whether the line begins with this reply code, complete (`220 `) or continued (`220-`).
pub(crate) fn code(text: &[u8], wanted: &[u8; 3]) -> bool {
    text.strip_prefix(wanted).is_some_and(|rest| matches!(rest.first(), None | Some(b' ' | b'-')))
}

/// Returns where `needle` first occurs.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    memmem::find(bytes, needle)
}

/// Tells whether `needle` (in lower case) occurs, in any case.
pub(crate) fn mentions(bytes: &[u8], needle: &[u8]) -> bool {
    let Some(&first) = needle.first() else { return true };
    memchr2_iter(first, first.to_ascii_uppercase(), bytes)
        .filter_map(|at| bytes.get(at..at.saturating_add(needle.len())))
        .any(|window| window.eq_ignore_ascii_case(needle))
}

/// Tells whether every byte is a decimal digit and there is at least one.
pub(crate) fn digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_whole_open_or_none() {
        let check = |bytes: &[u8], expected: Line<'_>| assert_eq!(line(bytes), expected);
        check(b"", Line::Open(b""));
        check(b"GET", Line::Open(b"GET"));
        check(b"GET\r", Line::Open(b"GET"));
        check(b"GET\r\nx", Line::Whole(b"GET", b"x"));
        check(b"GET\n", Line::Whole(b"GET", b""));
        check(b"G\x01", Line::Never);
        check(&[b'a'; LINE], Line::Never);
    }

    #[test]
    fn a_line_that_begins_otherwise_need_not_be_whole() {
        let check = |bytes: &[u8], expected| {
            assert_eq!(line_of(bytes, &[b"220", b"HELO"], |text| text.len() > 4), expected, "{bytes:?}");
        };
        check(b"", None);
        check(b"2", None);
        check(b"22x", Some(false));
        check(b"he", None);
        check(b"220 ready", None);
        check(b"220 ready\r\n", Some(true));
        check(b"220\r\n", Some(false));
    }

    #[test]
    fn lines_carry_the_offset_behind_them() {
        let all: Vec<_> = lines(b"a\r\nbc\nd").collect();
        assert_eq!(all, [(&b"a"[..], 3), (&b"bc"[..], 6)]);
    }

    #[test]
    fn reply_codes_are_complete_or_continued() {
        assert!(code(b"220 ready", b"220"));
        assert!(code(b"220-ready", b"220"));
        assert!(code(b"220", b"220"));
        assert!(!code(b"2200", b"220"));
        assert!(!code(b"250 ok", b"220"));
    }
}
