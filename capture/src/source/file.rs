//! Capture files as streams of frames: pcap and pcapng, plain or inside gzip, over anything that reads.
//!
//! In come bytes in blocks; out come frames that borrow from the block, so a packet costs no allocation. What is
//! damaged yields everything up to the damage and then one error that says what and where. Nothing here seeks, so
//! standard input serves as well as a file. libpcap is deliberately not used.

use std::fmt;
use std::io::{self, Cursor, Read};

use flate2::read::MultiGzDecoder;

use super::{pcap, pcapng};
use crate::frame::Frame;

/// How many bytes are asked of the input at a time.
const BLOCK: usize = 512 * 1024;

/// The longest record that is believed; a longer one means that its length field is damaged.
///
/// The largest frames that occur are super-packets of half a mebibyte, so this leaves room for long options.
pub(super) const MAX_RECORD: usize = 16 * 1024 * 1024;

/// Reads the frames of one capture file.
pub struct Reader<R> {
    input: Buffer<R>,
    format: Format,
    packets: u64,
    ended: bool,
}

enum Format {
    Pcap(pcap::Pcap),
    Pcapng(pcapng::Pcapng),
}

impl<R: Read> Reader<R> {
    /// Recognises the input's form from its first bytes.
    ///
    /// # Errors
    ///
    /// When the input is empty, is no capture in a form that is read here, or cannot be read at all.
    pub fn new(input: R) -> Result<Self, FileError> {
        let mut input = Buffer::new(input);
        let mut magic = input.magic()?;
        if matches!(magic, [0x1f, 0x8b, ..]) {
            input = input.gunzip();
            magic = input.magic()?;
        }
        let format = match magic {
            [0x0a, 0x0d, 0x0d, 0x0a] => Format::Pcapng(pcapng::Pcapng::default()),
            [0xa1, 0xb2, 0xc3, 0xd4]
            | [0xa1, 0xb2, 0x3c, 0x4d]
            | [0xd4, 0xc3, 0xb2, 0xa1]
            | [0x4d, 0x3c, 0xb2, 0xa1] => Format::Pcap(pcap::Pcap::read(&mut input)?),
            [0xa1, 0xb2, 0xcd, 0x34] | [0x34, 0xcd, 0xb2, 0xa1] => {
                return Err(FileError::at(0, 0, Damage::Form("the modified pcap of Kuznetzov's patch")));
            }
            [0x28, 0xb5, 0x2f, 0xfd] => return Err(FileError::at(0, 0, Damage::Form("zstd"))),
            [b's', b'n', b'o', b'o'] => return Err(FileError::at(0, 0, Damage::Form("snoop"))),
            other => return Err(FileError::at(0, 0, Damage::NoCapture(other))),
        };
        Ok(Self { input, format, packets: 0, ended: false })
    }

    /// Returns the next frame; after the last one, or after an error, nothing.
    ///
    /// # Errors
    ///
    /// When the file ends within a record, a record contradicts itself, or the input cannot be read. Everything
    /// before the damage has then been returned; nothing after it can be.
    #[expect(
        clippy::should_implement_trait,
        reason = "a frame borrows from the reader, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> Option<Result<Frame<'_>, FileError>> {
        if self.ended {
            return None;
        }
        let next = match &mut self.format {
            Format::Pcap(format) => format.next(&mut self.input),
            Format::Pcapng(format) => format.next(&mut self.input),
        };
        match next {
            Ok(Some(record)) => {
                self.packets = self.packets.saturating_add(1);
                Some(Ok(Frame {
                    at: record.at,
                    link: record.link,
                    interface: record.interface,
                    original_len: record.original_len,
                    bytes: self.input.taken(record.skip, record.captured),
                }))
            }
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(damage) => {
                self.ended = true;
                Some(Err(FileError::at(self.input.offset, self.packets, damage)))
            }
        }
    }

    /// Returns the name that the file gives to an interface; absent when it gives none (pcap never does).
    #[must_use]
    pub fn interface_name(&self, interface: u32) -> Option<&str> {
        match &self.format {
            Format::Pcap(_) => None,
            Format::Pcapng(format) => format.interface_name(interface),
        }
    }
}

/// Where a record's frame lies within the bytes just taken, and what the record says about it.
pub(super) struct Record {
    pub(super) at: flow::Timestamp,
    pub(super) link: crate::frame::LinkType,
    pub(super) interface: u32,
    pub(super) original_len: u32,
    pub(super) skip: usize,
    pub(super) captured: usize,
}

/// What ended the reading of a file, and where.
#[derive(Debug)]
pub struct FileError {
    /// Bytes of the (decompressed) input before the damaged record.
    pub offset: u64,
    /// Packets that were read before it.
    pub packets: u64,
    /// What is wrong.
    pub damage: Damage,
}

impl FileError {
    const fn at(offset: u64, packets: u64, damage: Damage) -> Self {
        Self { offset, packets, damage }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.damage {
            damage @ (Damage::Empty | Damage::NoCapture(_) | Damage::Form(_)) => write!(f, "{damage}"),
            damage @ (Damage::Truncated | Damage::Record(_) | Damage::Read(_)) => {
                write!(f, "{damage}, at byte {} after packet {}", self.offset, self.packets)?;
                f.write_str(
                    "; what came before it was read. To use the rest, repair or re-record the capture",
                )
            }
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.damage {
            Damage::Read(error) => Some(error),
            Damage::Empty
            | Damage::NoCapture(_)
            | Damage::Form(_)
            | Damage::Truncated
            | Damage::Record(_) => None,
        }
    }
}

/// What is wrong with a capture file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// There is not a single byte.
    #[error("the input is empty; a capture has at least a file header (did the recording fail?)")]
    Empty,
    /// The first bytes are of no capture format.
    #[error(
        "not a capture: it begins with {0:02x?}, which is neither pcap nor pcapng (record with `tcpdump -w FILE`)"
    )]
    NoCapture([u8; 4]),
    /// A known form that is not read here.
    #[error("the capture is in a form that is not read: {0} (convert it with `editcap -F pcapng IN OUT`)")]
    Form(&'static str),
    /// The input ends within a header or a record.
    #[error("the capture is truncated: it ends in the middle of a record")]
    Truncated,
    /// A record or block contradicts itself.
    #[error("the capture is damaged: {0}")]
    Record(String),
    /// The input could not be read.
    #[error("the capture cannot be read: {0}")]
    Read(#[from] io::Error),
}

enum Input<R> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<io::Chain<Cursor<Vec<u8>>, R>>>),
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(block),
            Self::Gzip(input) => input.read(block),
        }
    }
}

/// A window over the input that grows to the longest record and no further than [`MAX_RECORD`].
pub(super) struct Buffer<R> {
    input: Input<R>,
    block: Vec<u8>,
    /// The unread bytes are `block[start..end]`.
    start: usize,
    end: usize,
    /// Bytes before `start`, over the whole input.
    pub(super) offset: u64,
    /// Where in `block` the record last taken begins.
    record: usize,
}

impl<R: Read> Buffer<R> {
    fn new(input: R) -> Self {
        Self { input: Input::Plain(input), block: Vec::new(), start: 0, end: 0, offset: 0, record: 0 }
    }

    fn gunzip(self) -> Self {
        let Self { input, mut block, end, .. } = self;
        let Input::Plain(input) = input else {
            return Self { input, block, start: 0, end, offset: 0, record: 0 };
        };
        block.truncate(end);
        let whole = Cursor::new(block).chain(input);
        Self {
            input: Input::Gzip(Box::new(MultiGzDecoder::new(whole))),
            block: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
            record: 0,
        }
    }

    fn magic(&mut self) -> Result<[u8; 4], FileError> {
        match self.peek(4).map(|bytes| bytes.first_chunk().copied()) {
            Ok(Some(magic)) => Ok(magic),
            Ok(None) | Err(Damage::Truncated) if self.unread().is_empty() => {
                Err(FileError::at(0, 0, Damage::Empty))
            }
            Ok(None) | Err(Damage::Truncated) => {
                let mut magic = [0; 4];
                for (to, from) in magic.iter_mut().zip(self.unread()) {
                    *to = *from;
                }
                Err(FileError::at(0, 0, Damage::NoCapture(magic)))
            }
            Err(damage) => Err(FileError::at(0, 0, damage)),
        }
    }

    /// Makes `count` bytes available without taking them.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8], Damage> {
        if self.unread().len() < count {
            self.fill(count)?;
        }
        self.unread().get(..count).ok_or(Damage::Truncated)
    }

    /// Takes `count` bytes; [`Buffer::taken`] finds them until the next call.
    pub(super) fn take(&mut self, count: usize) -> Result<&[u8], Damage> {
        self.peek(count)?;
        self.record = self.start;
        self.start = self.start.saturating_add(count);
        self.offset = self.offset.saturating_add(count as u64);
        Ok(self.taken(0, count))
    }

    /// Returns part of the bytes that the last [`Buffer::take`] took.
    pub(super) fn taken(&self, skip: usize, count: usize) -> &[u8] {
        let from = self.record.saturating_add(skip);
        self.block.get(from..from.saturating_add(count)).unwrap_or_default()
    }

    /// Tells whether the input ends here.
    pub(super) fn at_end(&mut self) -> Result<bool, Damage> {
        match self.peek(1) {
            Ok(_) => Ok(false),
            Err(Damage::Truncated) => Ok(true),
            Err(damage) => Err(damage),
        }
    }

    fn unread(&self) -> &[u8] {
        self.block.get(self.start..self.end).unwrap_or_default()
    }

    fn fill(&mut self, count: usize) -> Result<(), Damage> {
        self.block.copy_within(self.start..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        let wanted = count.max(BLOCK);
        if self.block.len() < wanted {
            self.block.resize(wanted, 0);
        }
        while self.end < count {
            let room = self.block.get_mut(self.end..).unwrap_or_default();
            match self.input.read(room) {
                Ok(0) => return Ok(()),
                Ok(read) => self.end = self.end.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A gzip stream that stops early is a truncated capture like any other.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(Damage::Read(error)),
            }
        }
        Ok(())
    }
}
