//! The bytes of a capture file in blocks, out of gzip or zstd where need be.
//!
//! One read fills a block as far as the input has bytes ready, and no further read happens while a whole record is at
//! hand: a stream's packets are seen when they come, not when a block is full.

use std::io::{self, Cursor, Read};

use flate2::read::MultiGzDecoder;

use super::zstd::Zstd;

/// How many bytes are asked of the input at a time: few enough to stay in a core's second-level cache until they are
/// looked at, enough to make the system call's cost vanish.
const BLOCK: usize = 128 * 1024;

/// A window over the input that grows to the longest record asked for and no further.
pub(super) struct Input<R> {
    source: Source<R>,
    block: Vec<u8>,
    /// The unread bytes are `block[start..end]`.
    start: usize,
    end: usize,
    /// Bytes before `start`, over the whole input.
    offset: u64,
}

enum Source<R> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<Whole<R>>>),
    Zstd(Box<Zstd<Whole<R>>>),
}

/// The bytes already read, then the rest.
type Whole<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// A form of compression around a capture.
#[derive(Debug, Clone, Copy)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(block),
            Self::Gzip(input) => input.read(block),
            Self::Zstd(input) => input.read(block),
        }
    }
}

impl<R: Read> Input<R> {
    pub(super) const fn new(source: R) -> Self {
        Self::over(Source::Plain(source))
    }

    const fn over(source: Source<R>) -> Self {
        Self { source, block: Vec::new(), start: 0, end: 0, offset: 0 }
    }

    /// Reads on inside the compressed stream that the input is.
    pub(super) fn decompress(self, compression: Compression) -> Self {
        let Self { source, mut block, start, end, offset } = self;
        let Source::Plain(source) = source else { return Self { source, block, start, end, offset } };
        block.truncate(end);
        let whole = Cursor::new(block).chain(source);
        Self::over(match compression {
            Compression::Gzip => Source::Gzip(Box::new(MultiGzDecoder::new(whole))),
            Compression::Zstd => Source::Zstd(Box::new(Zstd::new(whole))),
        })
    }

    /// Returns the bytes at hand and where they begin, as [`Input::at`] takes it.
    pub(super) fn unread(&self) -> (usize, &[u8]) {
        (self.start, self.block.get(self.start..self.end).unwrap_or_default())
    }

    /// Returns everything from a place in the block on. Good until the next [`Input::fill`].
    pub(super) fn at(&self, place: usize) -> &[u8] {
        self.block.get(place..).unwrap_or_default()
    }

    /// Returns how many bytes of the (decompressed) input were consumed.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Steps over bytes at hand.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        self.offset = self.offset.saturating_add(count as u64);
    }

    /// Reads until `count` bytes are at hand; fewer are only at the input's end.
    pub(super) fn fill(&mut self, count: usize) -> io::Result<()> {
        self.block.copy_within(self.start..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        let wanted = count.max(BLOCK);
        if self.block.len() < wanted {
            self.block.resize(wanted, 0);
        }
        while self.end < count {
            let room = self.block.get_mut(self.end..).unwrap_or_default();
            match self.source.read(room) {
                Ok(0) => return Ok(()),
                Ok(read) => self.end = self.end.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A compressed stream that stops early is a truncated capture like any other.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
