//! The frames themselves, written as pcapng (draft-ietf-opsawg-pcapng) into files that are rotated by size.
//!
//! The file under the given name is the one being written. When it is full it is renamed, with a number before its
//! ending, and a new one begun: so a file with a number is always whole.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flow::Timestamp;

use crate::frame::{Frame, LinkType};

/// Where to write, and how much of it to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file being written.
    pub file: PathBuf,
    /// Bytes after which a new file is begun; absent for one file that grows.
    pub rotate: Option<u64>,
    /// How many files there are at most, the one being written among them; older ones are removed.
    pub keep: usize,
    /// Bytes kept of a frame, as the files say it.
    pub snap_length: u32,
}

/// A file being written, and those before it.
#[derive(Debug)]
pub struct Recording {
    settings: Settings,
    out: BufWriter<File>,
    size: u64,
    /// Interfaces by their number and link type: their numbers in the present file.
    interfaces: HashMap<(u32, u16), u32>,
    /// How many interfaces the present file describes.
    described: u32,
    names: HashMap<u32, String>,
    /// Numbers of the files that are full, oldest first.
    full: VecDeque<u64>,
    next: u64,
}

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const STATISTICS: u32 = 5;

impl Recording {
    /// Begins to write. Files are readable for their owner alone: they hold what was said.
    ///
    /// # Errors
    ///
    /// Returns an error if the file is there already and is not to be rotated, or cannot be made.
    pub fn open(settings: Settings) -> io::Result<Self> {
        let mut full = numbers(&settings.file)?;
        full.sort_unstable();
        let mut full = VecDeque::from(full);
        let mut next = full.back().map_or(1, |last| last.saturating_add(1));
        if settings.rotate.is_some() && settings.file.exists() {
            // What an earlier run had not finished is kept like the rest.
            std::fs::rename(&settings.file, numbered(&settings.file, next))?;
            full.push_back(next);
            next = next.saturating_add(1);
        }
        let out = begin(&settings.file)?;
        let mut recording = Self {
            settings,
            out,
            size: 0,
            interfaces: HashMap::new(),
            described: 0,
            names: HashMap::new(),
            full,
            next,
        };
        recording.section()?;
        recording.remove_oldest()?;
        Ok(recording)
    }

    /// The folder in which files are made and removed.
    pub(super) fn folder(&self) -> &Path {
        folder(&self.settings.file)
    }

    /// Names an interface. Files begun later, and frames not yet seen, show it.
    pub fn interface(&mut self, number: u32, name: &str) {
        self.names.insert(number, name.to_owned());
        self.interfaces.retain(|(known, _), _| *known != number);
    }

    /// Writes a frame.
    ///
    /// # Errors
    ///
    /// Returns an error if the disk is full or the folder gone.
    pub fn frame(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let length = frame.bytes.len() as u64;
        if self.settings.rotate.is_some_and(|most| self.size.saturating_add(length) > most)
            && !self.interfaces.is_empty()
        {
            self.rotate()?;
        }
        let interface = self.known(frame.interface, frame.link)?;
        let mut body = Vec::with_capacity(20);
        put(&mut body, &[interface]);
        time(&mut body, frame.at);
        put(&mut body, &[u32::try_from(length).unwrap_or(u32::MAX), frame.original_len]);
        self.block(PACKET, &body, frame.bytes)
    }

    /// Writes what is kept back to the file.
    ///
    /// # Errors
    ///
    /// Returns an error if the disk is full.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends the file with how much the kernel counted and dropped.
    ///
    /// # Errors
    ///
    /// Returns an error if the disk is full.
    pub fn finish(&mut self, at: Timestamp, received: u64, dropped: u64) -> io::Result<()> {
        // The kernel counts by socket: with several interfaces the first one stands for all.
        if let Some(interface) = self.interfaces.values().min().copied() {
            let mut body = Vec::with_capacity(44);
            put(&mut body, &[interface]);
            time(&mut body, at);
            for (option, value) in [(4_u16, received), (5, dropped)] {
                body.extend(option.to_ne_bytes());
                body.extend(8_u16.to_ne_bytes());
                body.extend(value.to_ne_bytes());
            }
            body.extend([0; 4]);
            self.block(STATISTICS, &body, &[])?;
        }
        self.out.flush()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.out.flush()?;
        std::fs::rename(&self.settings.file, numbered(&self.settings.file, self.next))?;
        self.full.push_back(self.next);
        self.next = self.next.saturating_add(1);
        self.out = begin(&self.settings.file)?;
        self.size = 0;
        self.interfaces.clear();
        self.described = 0;
        self.section()?;
        self.remove_oldest()
    }

    fn remove_oldest(&mut self) -> io::Result<()> {
        while self.settings.rotate.is_some() && self.full.len() >= self.settings.keep.max(1) {
            let Some(oldest) = self.full.pop_front() else { break };
            match std::fs::remove_file(numbered(&self.settings.file, oldest)) {
                Ok(()) => {}
                // Somebody else took it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn section(&mut self) -> io::Result<()> {
        let mut body = Vec::new();
        put(&mut body, &[0x1a2b_3c4d]);
        body.extend(1_u16.to_ne_bytes());
        body.extend(0_u16.to_ne_bytes());
        // Of a length that is not known.
        body.extend([0xff; 8]);
        self.block(SECTION, &body, &[])
    }

    /// Returns the number of an interface in this file, which describes it first if it does not yet.
    fn known(&mut self, number: u32, link: LinkType) -> io::Result<u32> {
        if let Some(known) = self.interfaces.get(&(number, link.0)) {
            return Ok(*known);
        }
        let mut body = Vec::new();
        body.extend(link.0.to_ne_bytes());
        body.extend(0_u16.to_ne_bytes());
        put(&mut body, &[self.settings.snap_length]);
        if let Some(name) = self.names.get(&number) {
            option(&mut body, 2, name.as_bytes());
        }
        // Nanoseconds.
        option(&mut body, 9, &[9]);
        body.extend([0; 4]);
        self.block(INTERFACE, &body, &[])?;
        let known = self.described;
        self.described = self.described.saturating_add(1);
        self.interfaces.insert((number, link.0), known);
        Ok(known)
    }

    /// Writes a block: its fixed part, and bytes that are padded to a multiple of four.
    fn block(&mut self, kind: u32, body: &[u8], bytes: &[u8]) -> io::Result<()> {
        let padding = bytes.len().next_multiple_of(4).saturating_sub(bytes.len());
        let length = body.len().saturating_add(bytes.len()).saturating_add(padding).saturating_add(12);
        let length = u32::try_from(length)
            .map_err(|_| io::Error::other("a frame longer than a file format can hold"))?;
        self.out.write_all(&kind.to_ne_bytes())?;
        self.out.write_all(&length.to_ne_bytes())?;
        self.out.write_all(body)?;
        self.out.write_all(bytes)?;
        self.out.write_all([0; 4].get(..padding).unwrap_or_default())?;
        self.out.write_all(&length.to_ne_bytes())?;
        self.size = self.size.saturating_add(u64::from(length));
        Ok(())
    }
}

/// Makes a file that was not there, and follows no link to do so.
fn begin(file: &Path) -> io::Result<BufWriter<File>> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    Ok(BufWriter::with_capacity(256 * 1024, file))
}

fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

/// `trace.pcapng` and 12 make `trace.000012.pcapng`.
fn numbered(file: &Path, number: u64) -> PathBuf {
    let (stem, ending) = parts(file);
    file.with_file_name(format!("{stem}.{number:06}{ending}"))
}

/// Returns the numbers of the files that an earlier run left.
fn numbers(file: &Path) -> io::Result<Vec<u64>> {
    let (stem, ending) = parts(file);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder(file))? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(&stem)?.strip_prefix('.')?.strip_suffix(&ending))
            .filter(|digits| digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit()));
        found.extend(number.and_then(|digits| digits.parse::<u64>().ok()));
    }
    Ok(found)
}

fn parts(file: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let ending = text(file.extension()).map_or_else(String::new, |ending| format!(".{ending}"));
    (text(file.file_stem()).unwrap_or_default(), ending)
}

fn put(body: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        body.extend(word.to_ne_bytes());
    }
}

fn time(body: &mut Vec<u8>, at: Timestamp) {
    let nanos = at.as_nanos().cast_unsigned();
    put(body, &[u32::try_from(nanos >> 32).unwrap_or(0), u32::try_from(nanos & 0xffff_ffff).unwrap_or(0)]);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..value.len().min(255)).unwrap_or_default();
    body.extend(code.to_ne_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(0).to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}
