//! Capture files as streams of frames: pcap, pcapng and snoop, plain or inside gzip or zstd, over anything that reads.
//!
//! In come bytes in blocks; out come frames that borrow from the block, so a packet costs no allocation. What is
//! damaged yields everything up to the damage and then one error that says what and where. Nothing here seeks, so
//! standard input serves as well as a file. libpcap is deliberately not used.

use std::fmt;
use std::io::{self, Read};
use std::slice;

use flow::Timestamp;

use super::input::{Compression, Input};
use super::{pcap, pcapng, snoop};
use crate::frame::{Frame, LinkType};

/// The longest record that is believed; a longer one means that its length field is damaged.
///
/// The largest frames that occur are super-packets of half a mebibyte, so this leaves room for long options.
pub(super) const MAX_RECORD: usize = 16 * 1024 * 1024;

/// How many records [`Reader::next`] looks for at a time.
const AHEAD: usize = 64;

/// Reads the frames of one capture file.
pub struct Reader<R> {
    input: Input<R>,
    format: Format,
    /// The records found last, and how many of them were handed out.
    records: Vec<Record>,
    handed: usize,
    /// Where in the input's block the bytes begin that the records lie in.
    place: usize,
    packets: u64,
    /// Whether the bytes at hand hold no further record.
    waits: bool,
    ended: bool,
}

enum Format {
    Pcap(pcap::Pcap),
    Pcapng(pcapng::Pcapng),
    Snoop(snoop::Snoop),
}

impl<R: Read> Reader<R> {
    /// Recognises the input's form from its first bytes.
    ///
    /// # Errors
    ///
    /// When the input is empty, is no capture in a form that is read here, or cannot be read at all.
    pub fn new(input: R) -> Result<Self, FileError> {
        let fail = |damage| FileError { offset: 0, packets: 0, damage };
        let mut input = Input::new(input);
        let mut magic = magic(&mut input).map_err(fail)?;
        let compression = match magic {
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            // A frame, or one to be skipped, as some compressors put in front.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Compression::Zstd),
            _ => None,
        };
        if let Some(compression) = compression {
            input = input.decompress(compression);
            magic = self::magic(&mut input).map_err(fail)?;
        }
        let format = match magic {
            [0x0a, 0x0d, 0x0d, 0x0a] => Format::Pcapng(pcapng::Pcapng::default()),
            [0xa1, 0xb2, 0xc3, 0xd4]
            | [0xa1, 0xb2, 0x3c, 0x4d]
            | [0xa1, 0xb2, 0xcd, 0x34]
            | [0xa1, 0xb2, 0x34, 0xcd]
            | [0xa1, 0x2b, 0x3c, 0x4d]
            | [0xd4, 0xc3, 0xb2, 0xa1]
            | [0x4d, 0x3c, 0xb2, 0xa1]
            | [0x34, 0xcd, 0xb2, 0xa1]
            | [0xcd, 0x34, 0xb2, 0xa1]
            | [0x4d, 0x3c, 0x2b, 0xa1] => Format::Pcap(pcap::Pcap::read(&header(&mut input).map_err(fail)?)),
            [b's', b'n', b'o', b'o'] => Format::Snoop(
                header(&mut input).and_then(|header| snoop::Snoop::read(&header)).map_err(fail)?,
            ),
            [0x1c, 0, 1, 0xab | 0xac] | [0xab | 0xac, 1, 0, 0x1c] => {
                let format = pcap::Pcap::read(&header(&mut input).map_err(fail)?);
                // How long all records together are.
                let _: [u8; 4] = header(&mut input).map_err(fail)?;
                Format::Pcap(format)
            }
            other => return Err(fail(other_form(other))),
        };
        Ok(Self {
            input,
            format,
            records: Vec::new(),
            handed: 0,
            place: 0,
            packets: 0,
            waits: true,
            ended: false,
        })
    }

    /// Returns the next frames, at least one and at most `most`; after the last one, or after an error, nothing.
    ///
    /// They are the ones that lie wholly in the bytes at hand, so a stream's frames come as soon as they are there.
    /// A batch costs no allocation.
    ///
    /// # Errors
    ///
    /// When the file ends within a record, a record contradicts itself, or the input cannot be read. Everything
    /// before the damage has then been returned; nothing after it can be.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let file = [&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0][..], &[0; 12], &[1, 0, 0, 0]].concat();
    /// let mut reader = capture::source::file::Reader::new(file.as_slice())?;
    /// while let Some(frames) = reader.batch(256) {
    ///     for frame in frames? {
    ///         println!("{} bytes", frame.bytes.len());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn batch(&mut self, most: usize) -> Option<Result<Frames<'_>, FileError>> {
        if self.handed >= self.records.len()
            && let Err(error) = self.find(most.max(1))
        {
            return Some(Err(error));
        }
        let from = self.handed;
        self.handed = self.records.len().min(from.saturating_add(most.max(1)));
        let records = self.records.get(from..self.handed).unwrap_or_default();
        (!records.is_empty())
            .then(|| Ok(Frames { bytes: self.input.at(self.place), records: records.iter() }))
    }

    /// Tells whether the next frames can be had without waiting for the input. A moment to give away what is ready, if
    /// not.
    #[must_use]
    pub fn has_more_at_hand(&self) -> bool {
        self.handed < self.records.len() || !self.waits
    }

    /// Returns the next frame; after the last one, or after an error, nothing.
    ///
    /// # Errors
    ///
    /// As [`Reader::batch`].
    #[expect(
        clippy::should_implement_trait,
        reason = "a frame borrows from the reader, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> Option<Result<Frame<'_>, FileError>> {
        if self.handed >= self.records.len()
            && let Err(error) = self.find(AHEAD)
        {
            return Some(Err(error));
        }
        let record = self.records.get(self.handed)?;
        self.handed = self.handed.saturating_add(1);
        Some(Ok(record.frame(self.input.at(self.place))))
    }

    /// Finds the next records; none at the end.
    fn find(&mut self, most: usize) -> Result<(), FileError> {
        self.records.clear();
        self.handed = 0;
        while self.records.is_empty() && !self.ended {
            let (place, bytes) = self.input.unread();
            self.place = place;
            let (consumed, stop) = match &mut self.format {
                Format::Pcap(format) => format.scan(bytes, &mut self.records, most),
                Format::Pcapng(format) => format.scan(bytes, &mut self.records, most),
                Format::Snoop(format) => format.scan(bytes, &mut self.records, most),
            };
            self.input.consume(consumed);
            self.waits = matches!(stop, Stop::Short(_));
            // What stopped the search comes up again once the records before it have been handed out.
            if !self.records.is_empty() {
                break;
            }
            let damage = match stop {
                Stop::Enough => continue,
                Stop::Damaged(damage) => damage,
                Stop::Short(count) => match self.input.fill(count) {
                    Ok(()) if self.input.unread().1.len() >= count => continue,
                    Ok(()) if self.input.unread().1.is_empty() => {
                        self.ended = true;
                        break;
                    }
                    Ok(()) => Damage::Truncated,
                    Err(error) => Damage::Read(error),
                },
            };
            self.ended = true;
            return Err(FileError { offset: self.input.offset(), packets: self.packets, damage });
        }
        self.packets = self.packets.saturating_add(self.records.len() as u64);
        Ok(())
    }

    /// Returns the name that the file gives to an interface; absent when it gives none (only pcapng can).
    #[must_use]
    pub fn interface_name(&self, interface: u32) -> Option<&str> {
        match &self.format {
            Format::Pcap(_) | Format::Snoop(_) => None,
            Format::Pcapng(format) => format.interface_name(interface),
        }
    }

    /// Returns how many packets the recorder says it lost, as far as the file was read; absent where it does not say
    /// (pcap never does).
    #[must_use]
    pub fn dropped(&self) -> Option<u64> {
        match &self.format {
            Format::Pcap(_) => None,
            Format::Pcapng(format) => format.dropped(),
            Format::Snoop(format) => Some(u64::from(format.dropped)),
        }
    }
}

/// Frames of one file, in its order, that borrow from the reader's block.
#[derive(Clone)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    records: slice::Iter<'a, Record>,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        self.records.next().map(|record| record.frame(self.bytes))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }
}

impl ExactSizeIterator for Frames<'_> {}

/// Where a frame lies within the bytes that were looked through, and what its record says about it.
pub(super) struct Record {
    pub(super) at: Timestamp,
    pub(super) link: LinkType,
    pub(super) interface: u32,
    pub(super) original_len: u32,
    pub(super) from: u32,
    pub(super) captured: u32,
}

impl Record {
    #[inline]
    fn frame<'a>(&self, bytes: &'a [u8]) -> Frame<'a> {
        let rest = bytes.get(self.from as usize..).unwrap_or_default();
        Frame {
            at: self.at,
            link: self.link,
            interface: self.interface,
            original_len: self.original_len,
            bytes: rest.get(..self.captured as usize).unwrap_or_default(),
        }
    }
}

/// Why a search for records went no further.
pub(super) enum Stop {
    /// As many as were asked for were found.
    Enough,
    /// The next record needs this many bytes.
    Short(usize),
    Damaged(Damage),
}

fn magic(input: &mut Input<impl Read>) -> Result<[u8; 4], Damage> {
    match head(input) {
        Err(Damage::Truncated) => {
            let bytes = input.unread().1;
            if bytes.is_empty() {
                return Err(Damage::Empty);
            }
            let mut magic = [0; 4];
            for (to, from) in magic.iter_mut().zip(bytes) {
                *to = *from;
            }
            Err(Damage::NoCapture(magic))
        }
        head => head,
    }
}

/// Names what an input is that is not read here, as far as its first bytes tell.
const fn other_form(magic: [u8; 4]) -> Damage {
    Damage::Form(match &magic {
        b"RTSS" => "Microsoft's Network Monitor, version 1",
        b"GMBU" => "Microsoft's Network Monitor, version 2",
        b"TRSN" => "Sniffer, for DOS",
        b"XCP\0" => "Sniffer, for Windows",
        b"Obse" => "Observer",
        b"btsn" => "btsnoop of Bluetooth",
        b"TR\0d" => "nettl of HP-UX",
        b"\x05VNF" => "Visual Networks",
        [0xaa, 0xaa, 0xaa, 0xaa] => "5View",
        [0, 0, 2, 0] => "K12",
        [0x04, 0x22, 0x4d, 0x18] => return Damage::Packed("lz4"),
        [0xfd, b'7', b'z', b'X'] => return Damage::Packed("xz"),
        [b'B', b'Z', b'h', _] => return Damage::Packed("bzip2"),
        [b'P', b'K', 3, 4] => return Damage::Packed("zip"),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd] => {
            return Damage::Packed("one compression inside another");
        }
        _ => return Damage::NoCapture(magic),
    })
}

/// Steps over the file's header.
fn header<const N: usize>(input: &mut Input<impl Read>) -> Result<[u8; N], Damage> {
    let header = head(input)?;
    input.consume(N);
    Ok(header)
}

/// Returns the first bytes without stepping over them.
fn head<const N: usize>(input: &mut Input<impl Read>) -> Result<[u8; N], Damage> {
    if input.unread().1.len() < N {
        input.fill(N)?;
    }
    input.unread().1.first_chunk().copied().ok_or(Damage::Truncated)
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

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.damage {
            damage @ (Damage::Empty | Damage::NoCapture(_) | Damage::Form(_) | Damage::Packed(_)) => {
                write!(f, "{damage}")
            }
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
            | Damage::Packed(_)
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
        "not a capture: it begins with {0:02x?}, which is neither pcap, pcapng nor snoop (record with `tcpdump -w FILE`)"
    )]
    NoCapture([u8; 4]),
    /// A known form that is not read here.
    #[error("the capture is in a form that is not read: {0} (convert it with `editcap -F pcapng IN OUT`)")]
    Form(&'static str),
    /// A known form of compression that is not undone here.
    #[error(
        "the capture is compressed in a form that is not read: {0} (decompress it, or compress it with gzip or zstd)"
    )]
    Packed(&'static str),
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
