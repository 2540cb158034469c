//! The opening of one connection: what each side was seen to say, in the order that matters.
//!
//! In come events of the two directions; what they come to is decided in [`super::conclude`].

use std::borrow::Cow;
use std::mem::offset_of;

use flow::{Reason, Side};

use super::certificate::Leaf;
use super::cursor::Cursor;
use super::hello::{ClientHello, ServerHello, extension};
use super::stream::{Event, Record, Stream};
use super::{Ending, Mark, sessions};
use crate::prefetch::{leave_out_no_line, prefetch, prefetch_at};

/// Most protected records remembered of a direction; no shape is longer.
pub(super) const MAX_RECORDS: usize = 96;

/// For how many there is room from the first on: what most connections come to before they settle.
const FIRST_RECORDS: usize = 16;

/// The TLS opening of one connection, fed in stream order from the first byte of TLS in each direction. In front, in this
/// order, what every packet touches.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Handshake {
    /// Whether anything came since [`Handshake::settled`] was last asked.
    pub(super) fresh: bool,
    /// What it said then.
    pub(super) settled: bool,
    /// Messages come from DTLS, whose ClientHello has a cookie field.
    pub(super) datagram: bool,
    pub(super) early_data: bool,
    /// Of the hello in force: whether it was cut, and whether its client may send early data and authenticate after the
    /// handshake, which every later record asks.
    hello_cut: bool,
    pub(super) may_send_early: bool,
    pub(super) may_authenticate_late: bool,
    pub(super) retry: bool,
    pub(super) client_ccs: bool,
    pub(super) server_ccs: bool,
    /// Whether the client sent a ChangeCipherSpec, be it a dummy one.
    client_changed: bool,
    /// Whether handshake records came after that which hold no hello: they are under a key, as only below TLS 1.3, where
    /// their type shows (RFC 8446 section 5.2).
    pub(super) client_sealed: bool,
    pub(super) client_key_exchange: bool,
    /// The server sent messages that only a full handshake has.
    pub(super) server_full: bool,
    pub(super) client_alert: bool,
    pub(super) server_alert: bool,
    /// Who closed first.
    pub(super) first_closed: Option<Side>,
    /// Why the hello is missing, where all is there that the client sent after the server's answer.
    pub(super) follows_answer: Option<Reason>,
    pub(super) client: Stream,
    pub(super) server: Stream,
    /// Type-23 records in TLS 1.3, all protected ones below, after the hello in force.
    pub(super) client_records: Vec<Record>,
    pub(super) server_records: Vec<Record>,
    /// Length of the client's Certificate message, where it is in the clear.
    pub(super) client_certificates: Option<u32>,
    pub(super) answer: Option<ServerHello>,
    /// Where the ServerHello's record ends in the server's stream.
    pub(super) answer_end: Option<u64>,
    /// The first hello, where a HelloRetryRequest called for a second one.
    pub(super) first_hello: Option<Box<ClientHello>>,
    /// The ClientHello in force: the second one after a HelloRetryRequest.
    pub(super) hello: Option<ClientHello>,
    /// Length of the ClientKeyExchange message.
    pub(super) key_exchange_length: u32,
    pub(super) server_group: Option<u16>,
    pub(super) client_certificate: Option<Leaf>,
    pub(super) server_certificate: Option<Leaf>,
    /// Hash of the ticket that the server issued in the clear (RFC 5077).
    pub(super) issued: Option<u128>,
}

const _: () = assert!(
    leave_out_no_line(&[
        offset_of!(Handshake, fresh),
        offset_of!(Handshake, client),
        offset_of!(Handshake, server),
        offset_of!(Handshake, client_records),
        offset_of!(Handshake, answer),
    ]),
    "what bytes touch is asked for"
);

impl Handshake {
    /// Starts a handshake whose messages come from DTLS.
    pub(crate) fn of_datagrams() -> Self {
        Self { datagram: true, ..Self::default() }
    }

    /// Reads the next bytes of one direction.
    pub(crate) fn bytes(&mut self, side: Side, mark: Mark, bytes: &[u8]) {
        let stream = self.stream(side);
        if stream.broken.is_some() {
            return;
        }
        let mut at = Cursor(bytes);
        let amid = stream.is_amid_record();
        // Records under a key are most of what comes; the rest goes the long way.
        loop {
            let stream = self.stream(side);
            if let Some(record) = stream.protected_record(mark, &mut at) {
                self.protected(side, record);
            } else if (at.0.is_empty() && stream.at_rest()) || !self.in_the_clear(side, mark, &mut at) {
                break;
            }
        }
        let stream = self.stream(side);
        stream.shrink();
        // What broke a stream is no event, nor is a header, which tells how long the record will be.
        let told = stream.broken.is_some() || (!amid && stream.is_amid_record());
        self.fresh |= told;
    }

    /// Reads on to the next thing said in the clear, or to the end of a record whose beginning was; `false` when the bytes
    /// are used up.
    #[inline(never)]
    fn in_the_clear(&mut self, side: Side, mark: Mark, at: &mut Cursor<'_>) -> bool {
        if let Some(messages) = self.stream(side).whole_messages(at) {
            self.messages(side, messages);
        } else if self.stream(side).change_cipher_spec(at) {
            self.change_cipher_spec(side, mark);
        } else if let Some(event) = self.stream(side).next(mark, at) {
            self.event(side, event);
        } else {
            return false;
        }
        true
    }

    /// Asks for what the next bytes touch, as far as that is at hand.
    #[inline]
    pub(crate) fn prefetch(&self) {
        prefetch(&self.fresh);
        prefetch(&self.client);
        prefetch(&self.server);
        prefetch(&self.client_records);
        prefetch(&self.answer);
        prefetch(&self.answer_end);
    }

    /// Asks for the records that were heard first and last.
    #[inline]
    pub(crate) fn prefetch_ends(&self) {
        for records in [&self.client_records, &self.server_records] {
            prefetch_at(records, 0);
            prefetch_at(records, records.len() / 2);
            prefetch_at(records, records.len().saturating_sub(1));
            prefetch_at(records, records.len());
        }
    }

    /// Steps over stream bytes that were on the wire but not in the capture (snap length): their number is known.
    pub(crate) fn cut(&mut self, side: Side, count: u64) {
        for event in self.stream(side).cut(count) {
            self.event(side, event);
        }
    }

    /// Gives back the room that is not in use.
    pub(crate) fn shrink(&mut self) {
        self.client.shrink();
        self.server.shrink();
        self.client_records.shrink_to_fit();
        self.server_records.shrink_to_fit();
    }

    /// Notes that bytes of this direction are missing; nothing after them is fed.
    pub(crate) fn gap(&mut self, side: Side) {
        self.fresh = true;
        self.stream(side).broken.get_or_insert(Reason::Gap);
    }

    /// Notes that the client's bytes begin where the server had them when it answered, and why those before are missing, if they
    /// are.
    pub(crate) const fn follows_the_answer(&mut self, missing: Reason) {
        self.follows_answer = Some(missing);
    }

    /// Tells whether the server answered a hello of TLS 1.3 that was not read.
    pub(crate) fn answers_another_hello(&self) -> bool {
        self.is_tls13() && self.hello.is_none() && !self.retry
    }

    /// Forgets what was taken for the client's bytes up to here: they are parts of its hello.
    pub(crate) fn begin_client_at(&mut self, offset: u64) {
        self.client = self.client.anew_at(offset);
        self.client_records.clear();
        self.client_certificates = None;
        (self.client_ccs, self.client_changed, self.client_sealed) = (false, false, false);
        (self.client_key_exchange, self.client_alert) = (false, false);
    }

    /// Notes the end of one direction, and how many bytes of the other one the segment acknowledges that ended it.
    pub(crate) fn close(&mut self, side: Side, ending: Ending, acknowledged: Option<u32>) {
        self.fresh = true;
        self.stream(side).ended.get_or_insert((ending, acknowledged));
    }

    const fn stream(&mut self, side: Side) -> &mut Stream {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Reads the messages of a record, up to one after which its side's messages are protected.
    fn messages(&mut self, side: Side, mut at: Cursor<'_>) {
        self.fresh = true;
        while let (false, Some(kind)) = (self.stream(side).protected, at.u8()) {
            let body = at.vector24().unwrap_or_default();
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            self.message(side, kind, length, Cow::Borrowed(body));
        }
    }

    fn message(&mut self, side: Side, kind: u8, length: u32, body: Cow<'_, [u8]>) {
        match side {
            // After a ChangeCipherSpec only the dummy one's second hello is in the clear: what reads like another message
            // is a protected one, while it is not known yet that it is not TLS 1.3.
            Side::Client if self.client_changed && kind != 1 => self.client_sealed = true,
            Side::Client => self.client_message(kind, length, body),
            Side::Server => self.server_message(kind, &body),
        }
    }

    fn event(&mut self, side: Side, event: Event) {
        self.fresh = true;
        match (side, event) {
            (side, Event::Message { kind, length, body, .. }) => {
                self.message(side, kind, length, Cow::Owned(body));
            }
            (Side::Client, Event::Ssl2ClientHello(body)) => {
                if let Some(hello) = ClientHello::read_ssl2(&body) {
                    self.put_in_force(hello);
                }
            }
            (Side::Server, Event::Ssl2Server) => {
                self.answer = Some(ServerHello { version: 2, ..ServerHello::default() });
            }
            (Side::Client, Event::ChangeCipherSpec(mark)) => self.client_change_cipher_spec(mark),
            (Side::Server, Event::ChangeCipherSpec(_)) => {
                if !self.is_tls13() && !self.retry {
                    self.server_ccs = true;
                    self.server.protected = true;
                }
            }
            (Side::Client, Event::Alert { description, .. }) => self.client_alert |= description != 0,
            (Side::Server, Event::Alert { level, description, .. }) => {
                // unrecognized_name as a warning is one that the handshake survives (RFC 6066 section 3).
                self.server_alert |= description != 0 && (description != 112 || level == 2);
            }
            (side, Event::Protected(record)) => self.protected(side, record),
            (Side::Client, Event::Ssl2Server) | (Side::Server, Event::Ssl2ClientHello(_)) => {}
        }
    }

    fn protected(&mut self, side: Side, record: Record) {
        self.fresh = true;
        match side {
            Side::Client => self.client_record(record),
            Side::Server => self.server_record(record),
        }
    }

    fn server_record(&mut self, record: Record) {
        let belongs = record.kind == 23 || !self.is_tls13();
        if !belongs || self.server_records.len() >= MAX_RECORDS {
            return;
        }
        if self.server_records.is_empty() {
            self.server_records.reserve(FIRST_RECORDS);
        }
        self.server_records.push(record);
    }

    /// Notes a ChangeCipherSpec.
    pub(crate) fn change_cipher_spec(&mut self, side: Side, mark: Mark) {
        self.event(side, Event::ChangeCipherSpec(mark));
    }

    /// Notes a fatal alert that came outside a stream (DTLS).
    pub(crate) fn alert(&mut self, side: Side, description: u8, mark: Mark) {
        self.event(side, Event::Alert { level: 2, description, mark });
    }

    /// Whether both sides changed cipher, which ends a handshake below TLS 1.3.
    pub(crate) const fn changed_cipher_both(&self) -> bool {
        self.client_ccs && self.server_ccs
    }

    /// Tells whether the server took a pre-shared key; absent before its ServerHello.
    pub(crate) fn took_key(&self) -> Option<bool> {
        self.answer.as_ref().map(|hello| hello.selected_identity.is_some())
    }

    /// Returns the version number that the server chose; absent before its ServerHello.
    pub(crate) fn negotiated(&self) -> Option<u16> {
        self.answer.as_ref().map(|hello| hello.version)
    }

    /// Whether a second ClientHello was read: no early data comes after it (RFC 8446 section 4.2.10), and what came before
    /// is forgotten.
    pub(super) const fn again(&self) -> bool {
        self.first_hello.is_some()
    }

    /// Drops client records that were taken for protected ones below TLS 1.3, now that it is TLS 1.3: a handshake record
    /// in the clear is a second ClientHello, and nothing up to its end belongs to the client's flight.
    fn forget_hellos(&mut self) {
        let hello = self.client_records.iter().rposition(|record| record.kind == 22);
        self.client_records.drain(..hello.map_or(0, |at| at.saturating_add(1)));
        self.client_records.retain(|record| record.kind == 23);
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.answer.as_ref().is_some_and(ServerHello::is_tls13)
    }

    /// A TLS 1.3 client sends a dummy ChangeCipherSpec, even before its second ClientHello (RFC 8446 appendix D.4):
    /// only below TLS 1.3 are handshake records protected after it.
    fn client_change_cipher_spec(&mut self, mark: Mark) {
        self.client_changed |= !self.datagram;
        let below = match &self.answer {
            Some(answer) => !answer.is_tls13(),
            // A hello that was cut may offer TLS 1.3; what is taken for protected then is put right by the ServerHello.
            None => {
                self.client_key_exchange
                    || (!self.retry && !self.hello.as_ref().is_some_and(ClientHello::offers_tls13))
            }
        };
        if below {
            if self.client_ccs && self.client_records.len() < MAX_RECORDS {
                // The end of a renegotiation's flight.
                self.client_records.push(Record { kind: 20, length: 1, mark, end: self.client.offset });
            }
            self.client_ccs = true;
            self.client.protected = true;
        }
    }

    fn client_record(&mut self, record: Record) {
        if record.kind != 23 && (self.is_tls13() || !self.client.protected) {
            return;
        }
        if (self.early_data || self.hello_cut) && !self.again() {
            let end = self.answer_end.unwrap_or(1);
            if record.mark.acknowledged.is_some_and(|acknowledged| u64::from(acknowledged) < end) {
                return;
            }
        }
        if self.client_records.is_empty() {
            self.client_records.reserve(FIRST_RECORDS);
        }
        if self.client_records.len() < MAX_RECORDS {
            self.client_records.push(record);
        }
    }

    fn put_in_force(&mut self, hello: ClientHello) {
        self.hello_cut = !hello.whole;
        self.may_send_early = hello.may_offer(extension::EARLY_DATA);
        self.may_authenticate_late = hello.may_offer(extension::POST_HANDSHAKE_AUTH);
        if let Some(first) = self.hello.replace(hello) {
            self.first_hello.get_or_insert_with(|| Box::new(first));
        }
    }

    pub(crate) fn client_message(&mut self, kind: u8, length: u32, body: Cow<'_, [u8]>) {
        match kind {
            1 => {
                let Some(hello) = ClientHello::read(body.into_owned(), self.datagram) else {
                    self.client_sealed |= self.client_changed;
                    return;
                };
                if self.hello.is_none() {
                    self.early_data = hello.offers(extension::EARLY_DATA);
                } else if !self.retry && self.answer.is_some() {
                    // A renegotiation in the clear does not exist; whatever this is, the first hello stands.
                    return;
                }
                self.put_in_force(hello);
                self.client_records.clear();
            }
            11 => {
                self.client_certificates.get_or_insert(length);
                if self.client_certificate.is_none() {
                    self.client_certificate = Leaf::of(&body);
                }
            }
            16 => {
                self.client_key_exchange = true;
                self.key_exchange_length = length;
            }
            _ => {}
        }
    }

    pub(crate) fn server_message(&mut self, kind: u8, body: &[u8]) {
        match kind {
            2 => {
                let Some(hello) = ServerHello::read(body) else { return };
                if hello.retry {
                    self.retry = true;
                } else if self.answer.is_none() {
                    self.answer_end = Some(self.server.offset);
                    self.server.protected = hello.is_tls13();
                    if hello.is_tls13() {
                        self.forget_hellos();
                        if self.hello.is_none() {
                            // Whatever its client may have offered.
                            (self.hello_cut, self.may_send_early, self.may_authenticate_late) =
                                (true, true, true);
                        }
                    }
                    self.answer = Some(hello);
                }
            }
            6 => self.retry = true,
            4 => {
                let mut at = Cursor(body);
                let ticket = at.u32().and_then(|_lifetime| at.vector16());
                self.issued = ticket.filter(|ticket| !ticket.is_empty()).map(sessions::name);
            }
            11 => {
                self.server_full = true;
                if self.server_certificate.is_none() {
                    self.server_certificate = Leaf::of(body);
                }
            }
            12 => {
                self.server_full = true;
                if let [3, high, low, ..] = body {
                    self.server_group = Some(u16::from_be_bytes([*high, *low]));
                }
            }
            13 | 14 => self.server_full = true,
            _ => {}
        }
    }
}
