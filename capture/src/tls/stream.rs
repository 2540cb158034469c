//! One direction's bytes to records, and its cleartext records to handshake messages.
//!
//! Payload of protected records is stepped over, never kept: only lengths and marks come out (RFC 8446 section 5).

use flow::Reason;

use super::cursor::Cursor;
use super::probe::MAX_RECORD;
use super::{Ending, Mark};

/// Length of a record's header.
const HEADER: usize = 5;
/// Longest handshake message kept; of a longer one only type and length come out.
const MAX_MESSAGE: usize = 64 * 1024;

/// A record as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: u8,
    pub(super) length: u16,
    /// The segment in which its header starts.
    pub(super) mark: Mark,
    /// Where it ends in its stream.
    pub(super) end: u64,
}

/// What a direction said next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A cleartext handshake message; `body` is shorter than `length` where the capture or a bound cut it.
    Message {
        kind: u8,
        length: u32,
        body: Vec<u8>,
        mark: Mark,
    },
    /// An SSLv2-framed ClientHello, after its type byte.
    Ssl2ClientHello(Vec<u8>),
    /// An SSL 2.0 server answered.
    Ssl2Server,
    /// A cleartext alert, by its level (2: fatal) and its description.
    Alert {
        level: u8,
        description: u8,
        mark: Mark,
    },
    ChangeCipherSpec(Mark),
    /// A record under some key.
    Protected(Record),
}

#[derive(Debug, Clone, Copy)]
struct Open {
    record: Record,
    remaining: u16,
}

impl Open {
    /// Returns how many bytes of it remain after so many more.
    fn without(&self, bytes: usize) -> u16 {
        self.remaining.saturating_sub(u16::try_from(bytes).unwrap_or(u16::MAX))
    }
}

/// The reader of one direction.
#[derive(Debug, Default)]
pub(super) struct Stream {
    open: Option<Open>,
    /// What came only in part; absent where nothing has so far.
    parts: Option<Box<Parts>>,
    /// Message boundaries are lost; records still count.
    lost: bool,
    /// Handshake records are under a key from here on.
    pub(super) protected: bool,
    /// Bytes read or stepped over.
    pub(super) offset: u64,
    /// Why nothing more can be read in this direction.
    pub(super) broken: Option<Reason>,
    pub(super) snapped: bool,
    /// How the direction ended, and how many bytes of the other one the segment that ended it acknowledges.
    pub(super) ended: Option<(Ending, Option<u32>)>,
}

const _: () = assert!(size_of::<Stream>() == 64, "a line of memory");

/// Parts of what is not whole yet.
#[derive(Debug, Default)]
struct Parts {
    /// Of a record's header, or of a whole message of SSL 2.0.
    header: Vec<u8>,
    header_mark: Option<Mark>,
    /// Of handshake messages, or of an alert.
    buffer: Vec<u8>,
    /// Bytes of an over-long message still to be stepped over.
    skip: usize,
}

impl Parts {
    const fn is_empty(&self) -> bool {
        self.header.is_empty() && self.buffer.is_empty() && self.skip == 0
    }
}

impl Stream {
    /// Reads on until the next event; `None` when `bytes` are used up.
    pub(super) fn next(&mut self, mark: Mark, bytes: &mut Cursor<'_>) -> Option<Event> {
        loop {
            if let Some(message) = self.message(mark) {
                return Some(message);
            }
            if self.broken.is_some() {
                return None;
            }
            if let Some(open) = self.open {
                let part = bytes.take_up_to(usize::from(open.remaining));
                self.count(part.len());
                let remaining = open.without(part.len());
                if !self.protected && matches!(open.record.kind, 21 | 22) {
                    self.keep(part);
                }
                self.open = Some(Open { remaining, ..open });
                if remaining > 0 {
                    return self.message(mark);
                }
                if let Some(event) = self.end_of_record(open.record) {
                    return Some(event);
                }
                continue;
            }
            if let Some(event) = self.read_header(mark, bytes)? {
                return Some(event);
            }
        }
    }

    /// Gives back the room that is not in use.
    pub(super) fn shrink(&mut self) {
        if self.parts.as_ref().is_some_and(|parts| parts.is_empty()) {
            self.parts = None;
        }
    }

    /// Returns the reader of the same direction that begins with a record at this offset.
    pub(super) fn anew_at(&self, offset: u64) -> Self {
        Self { offset, ended: self.ended, snapped: self.snapped, ..Self::default() }
    }

    fn count(&mut self, bytes: usize) {
        self.offset = self.offset.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Steps over records whose content is under a key, which most are, up to the end of one. What is not a header whole
    /// and in one piece goes the long way.
    pub(super) fn protected_record(&mut self, mark: Mark, bytes: &mut Cursor<'_>) -> Option<Record> {
        let open = match self.open {
            Some(open) if self.hides(open.record.kind) => open,
            None if self.between_records() => {
                let &[kind, 3, 0..=4, high, low] = bytes.0.first_chunk()? else { return None };
                let length = u16::from_be_bytes([high, low]);
                if !matches!(kind, 21..=25) || !self.hides(kind) || length > MAX_RECORD {
                    return None;
                }
                bytes.take(HEADER)?;
                self.count(HEADER);
                let end = self.offset.saturating_add(u64::from(length));
                Open { record: Record { kind, length, mark, end }, remaining: length }
            }
            Some(_) | None => return None,
        };
        let part = bytes.take_up_to(usize::from(open.remaining)).len();
        self.count(part);
        let remaining = open.without(part);
        if remaining > 0 {
            self.open = Some(Open { remaining, ..open });
            return None;
        }
        self.open = None;
        Some(open.record)
    }

    /// Returns the record under a key of which no more than the header, or a part, has come.
    pub(super) fn begun_record(&self) -> Option<Record> {
        self.open.map(|open| open.record).filter(|record| self.hides(record.kind))
    }

    /// Tells whether a record of this type, other than a ChangeCipherSpec, is under a key.
    const fn hides(&self, kind: u8) -> bool {
        kind > 22 || (self.protected && kind > 20)
    }

    /// Takes a cleartext handshake record that holds nothing but whole messages, if it is here from its first byte to its
    /// last: the hellos mostly come so. Out come the messages, which are still to be read.
    pub(super) fn whole_messages<'a>(&mut self, bytes: &mut Cursor<'a>) -> Option<Cursor<'a>> {
        if self.protected
            || self.lost
            || self.skip() > 0
            || !self.buffer().is_empty()
            || !self.between_records()
        {
            return None;
        }
        let &[22, 3, 0..=4, high, low] = bytes.0.first_chunk()? else { return None };
        let length = u16::from_be_bytes([high, low]);
        let whole = usize::from(length).saturating_add(HEADER);
        let messages = Cursor(bytes.0.get(HEADER..whole)?);
        let mut rest = messages;
        while !rest.0.is_empty() {
            rest.u8()?;
            rest.vector24()?;
        }
        if length > MAX_RECORD {
            return None;
        }
        bytes.take(whole)?;
        self.count(whole);
        Some(messages)
    }

    /// Takes a ChangeCipherSpec in a record of its own.
    pub(super) fn change_cipher_spec(&mut self, bytes: &mut Cursor<'_>) -> bool {
        if !self.between_records() || !matches!(bytes.0, [20, 3, 0..=4, 0, 1, _, ..]) {
            return false;
        }
        let taken = bytes.take(HEADER.saturating_add(1)).is_some();
        self.count(HEADER.saturating_add(1));
        taken
    }

    /// Tells whether nothing is left over from earlier bytes, so that [`Stream::next`] has nothing to say without more.
    pub(super) fn at_rest(&self) -> bool {
        self.buffer().is_empty() && !matches!(self.open, Some(Open { remaining: 0, .. }))
    }

    /// Tells whether a record has begun and not ended.
    pub(super) const fn is_amid_record(&self) -> bool {
        self.open.is_some()
    }

    /// Tells whether the next byte begins a record.
    fn between_records(&self) -> bool {
        self.open.is_none() && self.broken.is_none() && self.header().is_empty()
    }

    fn header(&self) -> &[u8] {
        self.parts.as_ref().map_or(&[], |parts| &parts.header)
    }

    fn buffer(&self) -> &[u8] {
        self.parts.as_ref().map_or(&[], |parts| &parts.buffer)
    }

    fn skip(&self) -> usize {
        self.parts.as_ref().map_or(0, |parts| parts.skip)
    }

    fn parts(&mut self) -> &mut Parts {
        self.parts.get_or_insert_default()
    }

    /// Reads header bytes; the outer `None` says that they are used up.
    fn read_header(&mut self, mark: Mark, bytes: &mut Cursor<'_>) -> Option<Option<Event>> {
        if bytes.0.is_empty() {
            return None;
        }
        let ssl2 = match self.header().first().or_else(|| bytes.0.first()) {
            Some(first) => first & 0x80 != 0,
            None => false,
        };
        let first_record = self.offset == u64::try_from(self.header().len()).unwrap_or(u64::MAX);
        if ssl2 && first_record {
            return self.read_ssl2(bytes);
        }
        let (header, mark) = match bytes.0.first_chunk() {
            Some(header) if self.header().is_empty() => {
                bytes.take(HEADER);
                self.count(HEADER);
                (*header, mark)
            }
            Some(_) | None => self.rest_of_header(mark, bytes)?,
        };
        let [kind, 3, minor, high, low] = header else {
            self.broken = Some(Reason::FlightShape);
            return Some(None);
        };
        let length = u16::from_be_bytes([high, low]);
        if !(20..=25).contains(&kind) || minor > 4 || length > MAX_RECORD {
            self.broken = Some(Reason::FlightShape);
            return Some(None);
        }
        let end = self.offset.saturating_add(u64::from(length));
        let record = Record { kind, length, mark, end };
        self.open = Some(Open { record, remaining: length });
        Some(None)
    }

    /// Puts a header together that comes in parts, and says where its first came; `None` until it is whole.
    fn rest_of_header(&mut self, mark: Mark, bytes: &mut Cursor<'_>) -> Option<([u8; HEADER], Mark)> {
        let part = bytes.take_up_to(HEADER.saturating_sub(self.header().len()));
        self.count(part.len());
        let Parts { header, header_mark, .. } = self.parts();
        if header.is_empty() {
            *header_mark = Some(mark);
        }
        header.extend_from_slice(part);
        let whole = *header.first_chunk()?;
        header.clear();
        Some((whole, header_mark.unwrap_or(mark)))
    }

    /// An SSLv2-framed first message: two bytes of length, then the type.
    fn read_ssl2(&mut self, bytes: &mut Cursor<'_>) -> Option<Option<Event>> {
        let wanted = match self.header() {
            // An empty record says nothing, not even what it is.
            [0x80, 0, ..] => {
                self.broken = Some(Reason::FlightShape);
                return Some(None);
            }
            [high, low, ..] => usize::from(u16::from_be_bytes([high & 0x7f, *low])).saturating_add(2),
            _ => 2,
        };
        let part = bytes.take_up_to(wanted.saturating_sub(self.header().len()));
        if part.is_empty() && self.header().len() < wanted {
            return None;
        }
        self.count(part.len());
        self.parts().header.extend_from_slice(part);
        if self.header().len() < wanted || wanted == 2 {
            return Some(None);
        }
        let message = std::mem::take(&mut self.parts().header);
        let body = message.get(3..).unwrap_or_default().to_vec();
        match message.get(2) {
            Some(1) => Some(Some(Event::Ssl2ClientHello(body))),
            Some(4) => {
                self.broken = Some(Reason::FlightShape);
                Some(Some(Event::Ssl2Server))
            }
            Some(_) | None => {
                self.broken = Some(Reason::FlightShape);
                Some(None)
            }
        }
    }

    fn keep(&mut self, part: &[u8]) {
        if self.lost {
            return;
        }
        // As much room as the message needs, if it says so, but no more than its record may fill.
        let room = match (self.buffer(), part, self.open) {
            ([], [_, high, middle, low, ..], Some(open)) => {
                let length = usize::try_from(u32::from_be_bytes([0, *high, *middle, *low])).unwrap_or(0);
                length.saturating_add(4).min(usize::from(open.remaining))
            }
            _ => 0,
        };
        let Parts { skip, buffer, .. } = self.parts();
        buffer.reserve_exact(room);
        let skipped = part.len().min(*skip);
        *skip = skip.saturating_sub(skipped);
        // A record holds at most 18 KiB, and messages are drained as they end: this stays within both bounds.
        buffer.extend_from_slice(part.get(skipped..).unwrap_or_default());
    }

    fn end_of_record(&mut self, record: Record) -> Option<Event> {
        match record.kind {
            20 => {
                self.open = None;
                Some(Event::ChangeCipherSpec(record.mark))
            }
            21 if !self.protected => {
                self.open = None;
                let body = std::mem::take(&mut self.parts().buffer);
                match body.as_slice() {
                    [level @ (1 | 2), description] => {
                        Some(Event::Alert { level: *level, description: *description, mark: record.mark })
                    }
                    _ => Some(Event::Protected(record)),
                }
            }
            22 if !self.protected => None,
            _ => {
                self.open = None;
                Some(Event::Protected(record))
            }
        }
    }

    /// Takes the next whole message of a cleartext handshake record, which need not have ended: its end may be lost.
    fn message(&mut self, mark: Mark) -> Option<Event> {
        let open = self.open?;
        if open.record.kind != 22 || self.protected {
            return None;
        }
        let message = self.whole_message(open.record.mark, mark);
        if message.is_none() && open.remaining == 0 {
            self.open = None;
        }
        message
    }

    fn whole_message(&mut self, of_record: Mark, mark: Mark) -> Option<Event> {
        let parts = self.parts.as_mut()?;
        let mut at = Cursor(&parts.buffer);
        let (kind, length) = (at.u8()?, at.u24()?);
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        if wanted > MAX_MESSAGE {
            parts.skip = wanted.saturating_sub(at.0.len());
            let left = at.0.get(wanted..).unwrap_or_default().to_vec();
            parts.buffer = left;
            return Some(Event::Message { kind, length, body: Vec::new(), mark: of_record });
        }
        at.take(wanted)?;
        // Most messages come alone in their records: the buffer becomes the body.
        let rest = parts.buffer.split_off(wanted.saturating_add(4));
        let mut body = std::mem::replace(&mut parts.buffer, rest);
        body.drain(..4);
        Some(Event::Message {
            kind,
            length,
            body,
            mark: if parts.buffer.is_empty() { of_record } else { mark },
        })
    }

    /// Tells whether a handshake message has begun in the clear, as it seems, and is not whole. Records of another type do
    /// not come before its end (RFC 8446 section 5.1): then it only seemed so.
    pub(super) fn is_amid_message(&self) -> bool {
        self.skip() > 0 || !self.buffer().is_empty()
    }

    /// Returns the type of the cleartext handshake message that has begun and is not whole.
    pub(super) fn begun(&self) -> Option<u8> {
        self.open
            .filter(|open| open.record.kind == 22 && !self.protected && !self.lost && self.skip() == 0)?;
        self.buffer().first().copied()
    }

    /// Steps over bytes that the capture cut.
    pub(super) fn cut(&mut self, count: u64) -> Vec<Event> {
        let mut events = Vec::new();
        self.snapped = true;
        self.offset = self.offset.saturating_add(count);
        let Some(open) = self.open.filter(|_| self.broken.is_none()) else {
            self.broken.get_or_insert(Reason::SnapLength);
            return events;
        };
        let remaining = u64::from(open.remaining);
        if !self.protected && open.record.kind == 22 && !self.lost {
            let mut at = Cursor(self.buffer());
            if let (Some(kind), Some(length)) = (at.u8(), at.u24()) {
                let have = at.0.len();
                let rest = usize::try_from(length).unwrap_or(usize::MAX).saturating_sub(have);
                let body = at.0.to_vec();
                self.lost = rest != usize::from(open.remaining);
                events.push(Event::Message { kind, length, body, mark: open.record.mark });
            } else {
                self.lost = true;
            }
            self.parts().buffer.clear();
        }
        if count < remaining {
            self.lost |= !self.protected && open.record.kind == 22;
            self.open =
                Some(Open { remaining: open.without(usize::try_from(count).unwrap_or(usize::MAX)), ..open });
            return events;
        }
        self.open = None;
        match open.record.kind {
            20 => events.push(Event::ChangeCipherSpec(open.record.mark)),
            22 if !self.protected => {}
            _ => events.push(Event::Protected(open.record)),
        }
        if count > remaining {
            // Where the next record begins, nobody knows.
            self.broken = Some(Reason::SnapLength);
        }
        events
    }
}
