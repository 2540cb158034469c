//! A bounded queue of deliveries on the disk that survives a kill at any moment, between two processes: the one that
//! captures writes, the one that sends reads.
//!
//! One file a delivery, `<20 digits>.delivery`: [`MAGIC`], then the flow count, the length and the CRC-32 of the bytes
//! (big-endian), then the bytes. A file appears by renaming, whole or not at all. `given-up` holds how many flows the
//! writer gave up because the spool was full, and up to which delivery; `refused` how many the sender did. Either is
//! written before the delivery goes, so that a loss may at worst be told for a delivery that went out after all, and
//! never the other way round.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::agent::sink::Backlog;

const MAGIC: [u8; 8] = *b"WPSPOOL1";
const HEAD: usize = MAGIC.len() + 8 + 8 + 4;
const SUFFIX: &str = ".delivery";
const GIVEN_UP: &str = "given-up";
const REFUSED: &str = "refused";

/// The smallest bound that is taken, in bytes.
pub const SMALLEST: u64 = 1024 * 1024;

/// The folder, open, so that what is renamed in it can be made to last.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    open: File,
    /// Held for as long as this half of the spool is open.
    _lock: File,
}

impl Folder {
    fn open(path: &Path, half: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(path.join(half))?;
        lock.try_lock().map_err(|_| {
            let text = "another agent uses it";
            io::Error::new(io::ErrorKind::ResourceBusy, text)
        })?;
        Ok(Self { path: path.to_owned(), open: File::open(path)?, _lock: lock })
    }

    /// Reads the numbers of a small file; zeros where it is not there.
    fn numbers<const N: usize>(&self, name: &str) -> io::Result<[u64; N]> {
        let text = match fs::read_to_string(self.path.join(name)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut words = text.split_whitespace().map(|word| word.parse().unwrap_or(0));
        Ok(std::array::from_fn(|_| words.next().unwrap_or(0)))
    }

    /// Writes a file whole or not at all.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = self.path.join(format!("{name}.new"));
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&new, self.path.join(name))?;
        self.open.sync_all()
    }

    /// Removes a delivery; one that is gone already is no error.
    fn remove(&self, sequence: u64) -> io::Result<()> {
        match fs::remove_file(self.path.join(name(sequence))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Returns the numbers of the deliveries that are there, in order.
    fn deliveries(&self) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            found.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// The half that takes deliveries.
#[derive(Debug)]
pub struct Writer {
    folder: Folder,
    bound: u64,
    /// Number, size on the disk and flows of each delivery that was there when last looked at, oldest first.
    waiting: VecDeque<(u64, u64, u64)>,
    bytes: u64,
    next: u64,
    given_up: u64,
    up_to: u64,
}

impl Writer {
    /// Opens a folder, which is made if it does not exist, with what an earlier run left in it. After this nothing but
    /// files in the folder is opened, and no folder is listed.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made, read or locked.
    pub fn open(path: &Path, bound: u64) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let folder = Folder::open(path, "writer.lock")?;
        let [given_up, up_to] = folder.numbers(GIVEN_UP)?;
        let mut writer = Self {
            folder,
            bound: bound.max(SMALLEST),
            waiting: VecDeque::new(),
            bytes: 0,
            // Never a number again that was given up: its file would be taken for one that should have gone.
            next: up_to.saturating_add(1),
            given_up,
            up_to,
        };
        for sequence in writer.folder.deliveries()? {
            writer.next = writer.next.max(sequence.saturating_add(1));
            if sequence <= up_to {
                // Accounted for, and killed before it went.
                writer.folder.remove(sequence)?;
                continue;
            }
            let path = writer.folder.path.join(name(sequence));
            let (size, flows) = (fs::metadata(&path)?.len(), flows_of(&path));
            writer.bytes = writer.bytes.saturating_add(size);
            writer.waiting.push_back((sequence, size, flows));
        }
        Ok(writer)
    }

    /// Returns the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Adds a delivery, which `make` writes, given its number and how many flows were lost by then. The oldest ones give
    /// way until it fits; one that is larger than the bound by itself stands alone.
    ///
    /// # Errors
    ///
    /// When the disk cannot be written; nothing was added then.
    pub fn push(&mut self, flows: u64, make: impl FnOnce(u64, u64) -> io::Result<Vec<u8>>) -> io::Result<()> {
        let bytes = make(self.next, self.undelivered()?)?;
        let size = (HEAD as u64).saturating_add(bytes.len() as u64);
        while self.bytes.saturating_add(size) > self.bound && self.make_room()? {}
        let mut file = Vec::with_capacity(HEAD.saturating_add(bytes.len()));
        file.extend(MAGIC);
        file.extend(flows.to_be_bytes());
        file.extend((bytes.len() as u64).to_be_bytes());
        file.extend(crc32fast::hash(&bytes).to_be_bytes());
        file.extend(bytes);
        self.folder.replace(&name(self.next), &file)?;
        self.waiting.push_back((self.next, size, flows));
        self.bytes = self.bytes.saturating_add(size);
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    /// Counts reports of flows that were lost before they came here.
    ///
    /// # Errors
    ///
    /// When the account cannot be written; they are not counted then.
    pub fn lose(&mut self, flows: u64) -> io::Result<()> {
        let given_up = self.given_up.saturating_add(flows);
        self.folder.replace(GIVEN_UP, format!("{given_up} {}\n", self.up_to).as_bytes())?;
        self.given_up = given_up;
        Ok(())
    }

    /// Forgets the oldest delivery if it was sent meanwhile, else gives it up; tells whether there was one.
    fn make_room(&mut self) -> io::Result<bool> {
        let Some(&(sequence, size, flows)) = self.waiting.front() else { return Ok(false) };
        if self.folder.path.join(name(sequence)).exists() {
            let given_up = self.given_up.saturating_add(flows);
            self.folder.replace(GIVEN_UP, format!("{given_up} {sequence}\n").as_bytes())?;
            (self.given_up, self.up_to) = (given_up, sequence);
            self.folder.remove(sequence)?;
        }
        self.waiting.pop_front();
        self.bytes = self.bytes.saturating_sub(size);
        Ok(true)
    }

    /// Returns what still waits. Deliveries go in order, so it looks for the oldest until one is there.
    pub fn backlog(&mut self) -> Backlog {
        while let Some(&(sequence, size, _)) = self.waiting.front()
            && !self.folder.path.join(name(sequence)).exists()
        {
            self.waiting.pop_front();
            self.bytes = self.bytes.saturating_sub(size);
        }
        Backlog {
            deliveries: self.waiting.len() as u64,
            bytes: self.bytes,
            // The sender's account is read again next time.
            undelivered: self.undelivered().unwrap_or(self.given_up),
        }
    }

    /// Returns how many reports of flows were lost since the spool exists, by either half.
    ///
    /// # Errors
    ///
    /// When the sender's account cannot be read.
    pub fn undelivered(&self) -> io::Result<u64> {
        let [refused] = self.folder.numbers(REFUSED)?;
        Ok(self.given_up.saturating_add(refused))
    }
}

/// The half that sends.
#[derive(Debug)]
pub struct Reader {
    folder: Folder,
}

/// One delivery, read from the disk.
#[derive(Debug)]
pub struct Delivery {
    sequence: u64,
    /// How many flows are in it.
    pub flows: u64,
    /// What to send.
    pub bytes: Vec<u8>,
}

impl Reader {
    /// Opens the folder of a spool.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read or locked.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { folder: Folder::open(path, "sender.lock")? })
    }

    /// Returns the delivery to send next. A damaged one counts as refused.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read, or the account not be written.
    pub fn oldest(&self) -> io::Result<Option<Delivery>> {
        for sequence in self.folder.deliveries()? {
            let path = self.folder.path.join(name(sequence));
            match read(&path) {
                Ok((flows, bytes)) => return Ok(Some(Delivery { sequence, flows, bytes })),
                // The writer gave it up just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.refuse(sequence, flows_of(&path))?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Removes a delivery that the collector has kept.
    ///
    /// # Errors
    ///
    /// When it cannot be removed: it is sent again, and counts once all the same.
    pub fn delivered(&self, delivery: &Delivery) -> io::Result<()> {
        self.folder.remove(delivery.sequence)
    }

    /// Removes a delivery that the collector will never keep.
    ///
    /// # Errors
    ///
    /// When the account cannot be written: the delivery stays.
    pub fn refused(&self, delivery: &Delivery) -> io::Result<()> {
        self.refuse(delivery.sequence, delivery.flows)
    }

    /// Returns how many deliveries wait.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn waiting(&self) -> io::Result<usize> {
        Ok(self.folder.deliveries()?.len())
    }

    fn refuse(&self, sequence: u64, flows: u64) -> io::Result<()> {
        let [refused] = self.folder.numbers(REFUSED)?;
        self.folder.replace(REFUSED, format!("{}\n", refused.saturating_add(flows)).as_bytes())?;
        self.folder.remove(sequence)
    }
}

fn name(sequence: u64) -> String {
    format!("{sequence:020}{SUFFIX}")
}

fn head(bytes: &[u8]) -> Option<(u64, u64, u32)> {
    let (head, _) = bytes.split_first_chunk::<HEAD>()?;
    let rest = head.strip_prefix(&MAGIC)?;
    let (flows, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    Some((u64::from_be_bytes(*flows), u64::from_be_bytes(*length), u32::from_be_bytes(*checksum)))
}

/// Reads how many flows a delivery's head promises; 1 where even that is damaged, for nothing tells any more.
fn flows_of(path: &Path) -> u64 {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD as u64).read_to_end(&mut start));
    read.ok().and_then(|_| head(&start)).map_or(1, |(flows, ..)| flows)
}

/// Reads a delivery's file: its flow count and its bytes.
fn read(path: &Path) -> io::Result<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    File::open(path)?.read_to_end(&mut all)?;
    if let Some((flows, length, checksum)) = head(&all) {
        let bytes = all.split_off(HEAD);
        if bytes.len() as u64 == length && crc32fast::hash(&bytes) == checksum {
            return Ok((flows, bytes));
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a damaged delivery"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(writer: &mut Writer, flows: u64, bytes: &[u8]) {
        writer.push(flows, |_, _| Ok(bytes.to_vec())).unwrap();
    }

    fn next(reader: &Reader) -> Option<(u64, u64)> {
        let delivery = reader.oldest().unwrap()?;
        reader.delivered(&delivery).unwrap();
        Some((delivery.sequence, delivery.flows))
    }

    #[test]
    fn what_goes_in_comes_out_in_order_also_after_the_agent_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), SMALLEST).unwrap();
        push(&mut writer, 3, b"one");
        push(&mut writer, 4, b"two");
        drop(writer);
        let mut writer = Writer::open(folder.path(), SMALLEST).unwrap();
        push(&mut writer, 5, b"three");
        let reader = Reader::open(folder.path()).unwrap();
        assert_eq!((next(&reader), next(&reader), next(&reader)), (Some((1, 3)), Some((2, 4)), Some((3, 5))));
        assert_eq!((next(&reader), writer.undelivered().unwrap()), (None, 0));
    }

    #[test]
    fn the_oldest_give_way_and_are_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), SMALLEST).unwrap();
        let half = vec![0; usize::try_from(SMALLEST / 2).unwrap() - HEAD];
        for flows in [10, 20, 30] {
            push(&mut writer, flows, &half);
        }
        assert_eq!(writer.undelivered().unwrap(), 10);
        let backlog = Backlog { deliveries: 2, bytes: SMALLEST, undelivered: 10 };
        assert_eq!(writer.backlog(), backlog);
        drop(writer);
        let mut writer = Writer::open(folder.path(), SMALLEST).unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        assert_eq!((writer.undelivered().unwrap(), next(&reader)), (10, Some((2, 20))));
        let backlog = Backlog { deliveries: 1, bytes: SMALLEST / 2, undelivered: 10 };
        assert_eq!(writer.backlog(), backlog, "what was sent waits no more");
        // What was sent makes room without a loss.
        push(&mut writer, 40, &half);
        assert_eq!(
            (writer.undelivered().unwrap(), next(&reader), next(&reader)),
            (10, Some((3, 30)), Some((4, 40)))
        );
    }

    #[test]
    fn a_kill_between_the_account_and_the_removal_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), SMALLEST).unwrap();
        let half = vec![0; usize::try_from(SMALLEST / 2).unwrap() - HEAD];
        push(&mut writer, 10, &half);
        let kept = fs::read(folder.path().join(name(1))).unwrap();
        push(&mut writer, 20, &half);
        push(&mut writer, 30, &half);
        drop(writer);
        fs::write(folder.path().join(name(1)), kept).unwrap();
        let mut writer = Writer::open(folder.path(), SMALLEST).unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        assert_eq!(
            (writer.undelivered().unwrap(), next(&reader), next(&reader)),
            (10, Some((2, 20)), Some((3, 30)))
        );
        // Numbers go on behind those that were given up, even with an empty folder.
        drop(writer);
        writer = Writer::open(folder.path(), SMALLEST).unwrap();
        push(&mut writer, 1, b"next");
        drop(writer);
        drop(Writer::open(folder.path(), SMALLEST).unwrap());
        assert_eq!(next(&reader).map(|(_, flows)| flows), Some(1));
    }

    #[test]
    fn a_damaged_delivery_is_counted_and_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), SMALLEST).unwrap();
        for flows in [5, 6, 7] {
            push(&mut writer, flows, b"some bytes");
        }
        let path = folder.path().join(name(1));
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        fs::write(folder.path().join(name(3)), b"short").unwrap();
        fs::write(folder.path().join("00000000000000000009.delivery.new"), b"half").unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        assert_eq!((next(&reader), next(&reader)), (Some((2, 6)), None));
        // Of the first one the head is whole; of the last one nothing tells how many flows it held.
        assert_eq!(writer.undelivered().unwrap(), 5 + 1);
    }

    #[test]
    fn a_refusal_is_counted_and_told_with_what_comes_later() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), SMALLEST).unwrap();
        let reader = Reader::open(folder.path()).unwrap();
        push(&mut writer, 8, b"one");
        reader.refused(&reader.oldest().unwrap().unwrap()).unwrap();
        let mut told = None;
        let make = |sequence, undelivered| {
            told = Some((sequence, undelivered));
            Ok(Vec::new())
        };
        writer.push(1, make).unwrap();
        assert_eq!(told, Some((2, 8)));
    }

    #[test]
    fn a_folder_is_one_agent_s() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(folder.path(), SMALLEST).unwrap();
        assert_eq!(Writer::open(folder.path(), SMALLEST).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(writer);
        Writer::open(folder.path(), SMALLEST).unwrap();
    }
}
