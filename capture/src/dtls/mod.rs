//! Reads a DTLS handshake and answers the mTLS question: certificates are in the clear up to DTLS 1.2 (RFC 6347).
//!
//! In come datagrams in order; out comes a [`Conclusion`]. The messages themselves are TLS's, and read there.

use std::collections::BTreeMap;
use std::sync::Arc;

use flow::{ClientAuth, Outcome, Reason, Side, TlsVersion, Withheld};
use siphasher::sip128::SipHasher13;

use crate::tls::cursor::Cursor;
use crate::tls::{Conclusion, Ends, Handshake, Mark, Memory, Probe};

/// Longest handshake message put together from fragments.
const MAX_MESSAGE: usize = 32 * 1024;
/// Most bytes kept of a message in the making: repeated parts that overlap count too.
const MAX_HELD: usize = 2 * MAX_MESSAGE;
/// Most handshake messages of a direction in the making at once.
const MAX_MESSAGES: usize = 8;
/// Most whole messages of a direction remembered by their hashes.
const MAX_DONE: usize = 32;
/// Types of a client's hello, and of a server's request for another one.
const HELLO: u8 = 1;
const VERIFY: u8 = 3;
/// Most datagrams read of one connection.
const MAX_DATAGRAMS: u32 = 128;

/// Tells whether a datagram begins with a DTLS handshake record that holds a hello.
pub(crate) fn is_dtls(bytes: &[u8]) -> Probe {
    if hello(bytes).is_some() { Probe::Yes } else { Probe::No }
}

/// Tells whose hello a datagram begins with, if it begins with one.
pub(crate) fn hello(bytes: &[u8]) -> Option<Side> {
    let record = Record::read(&mut Cursor(bytes))?;
    match (record.kind, record.epoch, record.body.first()) {
        (22, 0, Some(1)) if record.body.len() >= 12 => Some(Side::Client),
        (22, 0, Some(2 | 3)) if record.body.len() >= 12 => Some(Side::Server),
        _ => None,
    }
}

/// Returns the random value of a client's hello, if a datagram begins with one that is not encrypted, or with its first part.
pub(crate) fn client_random(datagram: &[u8]) -> Option<[u8; 32]> {
    let record = Record::read(&mut Cursor(datagram))?;
    if (record.kind, record.epoch) != (22, 0) {
        return None;
    }
    let mut at = Cursor(record.body);
    let kind = at.u8()?;
    // The message's length and number, then where this part of it begins (RFC 6347 section 4.2.2).
    at.take(5)?;
    if kind != HELLO || at.u24()? != 0 {
        return None;
    }
    // The part's length, and the version.
    at.take(5)?;
    at.take(32)?.try_into().ok()
}

struct Record<'a> {
    kind: u8,
    epoch: u16,
    body: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(at: &mut Cursor<'a>) -> Option<Self> {
        let (kind, version, epoch) = (at.u8()?, at.u16()?, at.u16()?);
        // 0x0100 is the version before the standard, as some stacks still speak it.
        if !(20..=25).contains(&kind) || !matches!(version, 0xfeff | 0xfefd | 0xfefc | 0x0100) {
            return None;
        }
        at.take(6)?;
        Some(Self { kind, epoch, body: at.vector16()? })
    }
}

/// One handshake message in the making.
#[derive(Debug)]
struct Fragments {
    kind: u8,
    length: usize,
    /// Parts by where they start; the first copy of one stays, unless a longer one comes.
    parts: BTreeMap<usize, Vec<u8>>,
    held: usize,
}

impl Fragments {
    /// Keeps a part; returns the message once it is whole.
    fn add(&mut self, start: usize, part: &[u8]) -> Option<Vec<u8>> {
        let kept = self.parts.entry(start).or_default();
        if kept.len() < part.len() {
            self.held = self.held.saturating_add(part.len()).saturating_sub(kept.len());
            *kept = part.to_vec();
        }
        if self.held < self.length {
            return None;
        }
        let mut whole = Vec::with_capacity(self.length);
        for (start, part) in &self.parts {
            let known = whole.len().checked_sub(*start)?;
            whole.extend_from_slice(part.get(known..).unwrap_or_default());
        }
        (whole.len() == self.length).then_some(whole)
    }
}

/// One direction's messages.
#[derive(Debug, Default)]
struct Messages {
    making: BTreeMap<u16, Fragments>,
    /// Hashes of those that are whole, by their numbers.
    done: BTreeMap<u16, u64>,
}

/// The opening of one DTLS association.
#[derive(Debug)]
pub(crate) struct Dtls {
    handshake: Handshake,
    client: Messages,
    server: Messages,
    /// Numbers of the client's last hello and of its ClientKeyExchange (RFC 6347 section 4.2.2).
    hello: Option<u16>,
    key_exchange: Option<u16>,
    datagrams: u32,
    random: Option<[u8; 32]>,
    /// Whether one number stands for two messages: some are of another association between the same ends, whose hellos were
    /// lost.
    mixed: bool,
}

impl Default for Dtls {
    fn default() -> Self {
        let handshake = Handshake::of_datagrams();
        let (client, server) = (Messages::default(), Messages::default());
        Self {
            handshake,
            client,
            server,
            hello: None,
            key_exchange: None,
            datagrams: 0,
            random: None,
            mixed: false,
        }
    }
}

impl Dtls {
    /// Reads the next datagram of one direction.
    pub(crate) fn datagram(&mut self, side: Side, bytes: &[u8]) {
        if self.settled() {
            return;
        }
        let mark = Mark { packet: self.datagrams, acknowledged: None };
        self.datagrams = self.datagrams.saturating_add(1);
        if side == Side::Client && self.random.is_none() {
            self.random = client_random(bytes);
        }
        let mut at = Cursor(bytes);
        while let Some(record) = Record::read(&mut at) {
            match (record.kind, record.epoch) {
                (22, 0) => self.fragments(side, record.body),
                (20, 0) => self.handshake.change_cipher_spec(side, mark),
                (21, 0) => {
                    if let [2, description] = record.body {
                        self.handshake.alert(side, *description, mark);
                    }
                }
                _ => {}
            }
        }
    }

    fn fragments(&mut self, side: Side, body: &[u8]) {
        let mut at = Cursor(body);
        while !at.0.is_empty() {
            if self.fragment(side, &mut at).is_none() {
                return;
            }
        }
    }

    fn fragment(&mut self, side: Side, at: &mut Cursor<'_>) -> Option<()> {
        let kind = at.u8()?;
        let length = usize::try_from(at.u24()?).ok()?;
        let sequence = at.u16()?;
        let (start, count) = (usize::try_from(at.u24()?).ok()?, usize::try_from(at.u24()?).ok()?);
        let part = at.take(count)?;
        let end = start.checked_add(count)?;
        let messages = match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        if length > MAX_MESSAGE || end > length {
            return Some(());
        }
        if !messages.making.contains_key(&sequence) && messages.making.len() >= MAX_MESSAGES {
            return Some(());
        }
        let making = messages.making.entry(sequence).or_insert_with(|| Fragments {
            kind,
            length,
            parts: BTreeMap::new(),
            held: 0,
        });
        if making.kind != kind || making.length != length || making.held >= MAX_HELD {
            return Some(());
        }
        let Some(whole) = making.add(start, part) else { return Some(()) };
        messages.making.remove(&sequence);
        // Sent again, a message is the same (RFC 6347 section 4.2.4); a hello may differ by its cookie.
        let hash = SipHasher13::new().hash(&whole).h1;
        if !matches!(kind, HELLO | VERIFY) && messages.done.len() < MAX_DONE {
            let known = *messages.done.entry(sequence).or_insert(hash);
            self.mixed |= known != hash;
        }
        let announced = u32::try_from(length).unwrap_or(u32::MAX);
        match side {
            Side::Client => {
                match kind {
                    1 => self.hello = self.hello.max(Some(sequence)),
                    16 => self.key_exchange = Some(sequence),
                    _ => {}
                }
                self.handshake.client_message(kind, announced, whole.into());
            }
            Side::Server => self.handshake.server_message(kind, &whole),
        }
        Some(())
    }

    /// Returns the random value of the client's hello.
    pub(crate) const fn random(&self) -> Option<[u8; 32]> {
        self.random
    }

    /// Tells whether no further datagram can change the conclusion.
    pub(crate) const fn settled(&self) -> bool {
        self.datagrams >= MAX_DATAGRAMS || self.handshake.changed_cipher_both()
    }

    /// Concludes from what was read so far.
    pub(crate) fn conclude(&self, ends: Ends, memory: &mut Memory) -> Conclusion {
        let mut conclusion = self.handshake.conclude(ends, memory);
        let session = Arc::make_mut(&mut conclusion.session);
        session.version = self.handshake.negotiated().and_then(|version| match version {
            0xfeff | 0x0100 => Some(TlsVersion::Dtls10),
            0xfefd => Some(TlsVersion::Dtls12),
            0xfefc => Some(TlsVersion::Dtls13),
            _ => None,
        });
        // DTLS 1.3 hides the certificates as TLS 1.3 does, in records whose shapes have not been measured.
        let hidden = session.version == Some(TlsVersion::Dtls13);
        let blind = matches!(conclusion.client, ClientAuth::Hidden(Reason::OneSided | Reason::Incomplete));
        if hidden {
            session.outcome = Outcome::Incomplete;
            session.resumed = self.handshake.took_key();
        }
        if hidden || blind || self.mixed || self.lacks(conclusion.client) {
            conclusion.client = ClientAuth::Hidden(Reason::Datagram);
        }
        conclusion
    }

    /// Tells whether a message may be missing on which an answer of no certificate depends. A datagram that was not
    /// captured leaves no hole: only the messages' numbers tell that none stood between hello and key exchange.
    fn lacks(&self, client: ClientAuth) -> bool {
        let ClientAuth::Refuted(Withheld::Absent, evidence) = client else { return false };
        let next = self.hello.and_then(|hello| hello.checked_add(1));
        evidence.reason != Some(Reason::SessionLink) && (next.is_none() || next != self.key_exchange)
    }

    /// Leaves behind what a later resumption needs. Called once, when the connection settles or ends.
    pub(crate) fn remember(&self, ends: Ends, memory: &mut Memory) {
        let client = self.handshake.conclude(ends, memory).client;
        if self.handshake.negotiated() != Some(0xfefc) && !self.mixed && !self.lacks(client) {
            self.handshake.remember(ends, &mut memory.sessions);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, u8::try_from(body.len()).unwrap()];
        bytes.extend_from_slice(body);
        bytes
    }

    fn piece(kind: u8, sequence: u8, message: &[u8], range: std::ops::Range<usize>) -> Vec<u8> {
        let byte = |number: usize| u8::try_from(number).unwrap();
        let mut body = vec![
            kind,
            0,
            0,
            byte(message.len()),
            0,
            sequence,
            0,
            0,
            byte(range.start),
            0,
            0,
            byte(range.len()),
        ];
        body.extend_from_slice(&message[range]);
        record(22, &body)
    }

    /// A client's hello, and the answer to it.
    fn hellos() -> (Vec<u8>, Vec<u8>) {
        let opening = [&[0xfe, 0xfd][..], &[7; 32]].concat();
        let hello = [&opening[..], &[0, 0, 0, 2, 0xc0, 0x2f, 1, 0]].concat();
        (hello, [&opening[..], &[0, 0xc0, 0x2f, 0]].concat())
    }

    fn ends() -> Ends {
        let ip = std::net::IpAddr::from([192, 0, 2, 1]);
        Ends { client: ip, server: flow::Endpoint { ip, port: 1 }, start: flow::Timestamp::default() }
    }

    #[test]
    fn a_certificate_in_fragments_out_of_order_is_seen() {
        let (hello, answer) = hellos();
        let certificate = [0, 0, 8, 0, 0, 5, 1, 2, 3, 4, 5];
        let mut dtls = Dtls::default();
        assert_eq!(is_dtls(&piece(1, 0, &hello, 0..hello.len())), Probe::Yes);
        dtls.datagram(Side::Client, &piece(1, 0, &hello, 0..hello.len()));
        dtls.datagram(Side::Server, &piece(2, 0, &answer, 0..answer.len()));
        dtls.datagram(Side::Server, &piece(14, 1, &[], 0..0));
        dtls.datagram(Side::Client, &piece(11, 1, &certificate, 6..11));
        let before = dtls.conclude(ends(), &mut Memory::default());
        assert!(matches!(before.client, ClientAuth::Hidden(_)), "{before:?}");
        dtls.datagram(Side::Client, &piece(11, 1, &certificate, 0..6));
        dtls.datagram(Side::Client, &piece(16, 2, &[1], 0..1));
        let after = dtls.conclude(ends(), &mut Memory::default());
        assert!(matches!(after.client, ClientAuth::Proved(..)), "{after:?}");
        assert_eq!(after.session.version, Some(TlsVersion::Dtls12));
        assert_eq!(after.session.resumed, Some(false));
    }

    #[test]
    fn a_certificate_that_was_not_captured_leaves_a_number_out() {
        let (hello, answer) = hellos();
        for (key_exchange, expected) in [(1, true), (2, false)] {
            let mut dtls = Dtls::default();
            dtls.datagram(Side::Client, &piece(1, 0, &hello, 0..hello.len()));
            dtls.datagram(Side::Server, &piece(2, 0, &answer, 0..answer.len()));
            dtls.datagram(Side::Server, &piece(14, 1, &[], 0..0));
            dtls.datagram(Side::Client, &piece(16, key_exchange, &[1], 0..1));
            let client = dtls.conclude(ends(), &mut Memory::default()).client;
            assert_eq!(matches!(client, ClientAuth::Refuted(Withheld::Absent, _)), expected, "{client:?}");
            assert_eq!(client == ClientAuth::Hidden(Reason::Datagram), !expected, "{client:?}");
        }
    }

    #[test]
    fn two_messages_of_one_number_are_of_two_associations() {
        let (hello, answer) = hellos();
        let certificate = [0, 0, 8, 0, 0, 5, 1, 2, 3, 4, 5];
        for (another, proved) in [(false, true), (true, false)] {
            let mut dtls = Dtls::default();
            dtls.datagram(Side::Client, &piece(1, 0, &hello, 0..hello.len()));
            dtls.datagram(Side::Server, &piece(2, 0, &answer, 0..answer.len()));
            if another {
                let mut random = answer.clone();
                random[5] = 8;
                dtls.datagram(Side::Server, &piece(2, 0, &random, 0..random.len()));
            }
            // Sent again, it is the same.
            for _ in 0..2 {
                dtls.datagram(Side::Client, &piece(11, 1, &certificate, 0..certificate.len()));
            }
            let client = dtls.conclude(ends(), &mut Memory::default()).client;
            assert_eq!(matches!(client, ClientAuth::Proved(..)), proved, "{client:?}");
        }
    }

    #[test]
    fn a_certificate_behind_the_key_exchange_is_read() {
        let mut dtls = Dtls::default();
        let mut hello = vec![0xfe, 0xfd];
        hello.extend([7; 32]);
        hello.extend([0, 0, 0, 2, 0xc0, 0x2f, 1, 0]);
        dtls.datagram(Side::Client, &piece(1, 0, &hello, 0..hello.len()));
        dtls.datagram(Side::Client, &piece(16, 2, &[1], 0..1));
        dtls.datagram(Side::Client, &piece(11, 1, &[0, 0, 8, 0, 0, 5, 1, 2, 3, 4, 5], 0..11));
        let client = dtls.conclude(ends(), &mut Memory::default()).client;
        assert!(matches!(client, ClientAuth::Proved(..)), "{client:?}");
    }

    #[test]
    fn parts_in_any_order_make_a_message_and_no_more_is_held() {
        let message: Vec<u8> = (0..10).collect();
        let mut fragments = Fragments { kind: 1, length: 10, parts: BTreeMap::new(), held: 0 };
        assert_eq!(fragments.add(6, &message[6..]), None);
        assert_eq!(fragments.add(0, &message[..2]), None);
        assert_eq!(fragments.add(0, &message[..4]), None);
        assert_eq!(fragments.add(0, &message[..1]), None);
        assert_eq!(fragments.held, 8);
        assert_eq!(fragments.add(3, &message[3..7]), Some(message));
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(datagrams in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..12)) {
            let mut dtls = Dtls::default();
            for (client, bytes) in datagrams {
                dtls.datagram(if client { Side::Client } else { Side::Server }, &record(22, &bytes));
            }
            let _ = dtls.conclude(ends(), &mut Memory::default());
        }
    }
}
