//! What earlier calls about less of the same opening came to, so that none of it is read twice.
//!
//! A [`Progress`] holds as long as the two streams only grow at their ends. It spares work and changes no answer, except that
//! it tells who spoke first inside a wrapper, which the two streams by themselves do not.

use flow::Side;

use super::catalogue::{DETECTORS, Detector};

/// What is known of an opening that is asked about again and again.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(super) ruled_out: RuledOut,
    /// Before these offsets of the client's and of the server's bytes no record of TLS begins that is looked for anywhere.
    pub(super) without_records: (usize, usize),
    waiting: Option<Box<Waiting>>,
}

/// What is known beyond that where an upgrade or a wrapper is waited for, as it seldom is.
#[derive(Debug, Default)]
struct Waiting {
    exchange: Option<(&'static Detector, Read)>,
    inner: Option<Inner>,
}

/// How far an upgrade's exchange was read. What the fields stand for is each upgrade's own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Read {
    /// First byte of the client's stream that is still to be read.
    pub(crate) client: usize,
    /// First byte of the server's stream that is still to be read.
    pub(crate) server: usize,
    /// How far the exchange came.
    pub(crate) stage: Stage,
    /// How often it was gone through.
    pub(crate) rounds: u8,
    /// Whether what matters in the client's stream has begun, the end of it still being to come.
    pub(crate) client_begun: bool,
    /// The same of the server's stream.
    pub(crate) server_begun: bool,
}

/// How far an exchange came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nobody asked for TLS.
    #[default]
    Begun,
    /// The client did, and the answer is waited for.
    Asked,
    /// What may follow the request without an answer was read too.
    Awaited,
    /// The client did, and went on without it.
    Refused,
}

/// The opening inside a wrapper.
#[derive(Debug)]
struct Inner {
    /// Where it begins in the client's and in the server's stream.
    begins: (usize, usize),
    first: Side,
    progress: Progress,
}

impl Progress {
    /// What is known once every detector has said no, and no record of TLS begins before these offsets.
    pub(crate) fn without_protocol(without_records: (usize, usize)) -> Self {
        Self { ruled_out: RuledOut(u64::MAX), without_records, waiting: None }
    }

    /// Returns the offsets of the client's and of the server's bytes before which no record of TLS begins.
    pub(crate) const fn without_records(&self) -> (usize, usize) {
        self.without_records
    }

    /// Tells whether no detector may still say yes.
    pub(crate) const fn all_ruled_out(&self) -> bool {
        self.ruled_out.left() == 0
    }

    /// Returns whose exchange is waited for, and how far that was read.
    pub(super) fn exchange(&self) -> Option<(&'static Detector, Read)> {
        self.waiting.as_ref()?.exchange
    }

    /// Keeps how far an exchange was read, for as long as more of it is waited for.
    pub(super) fn keep(&mut self, of: &'static Detector, read: Read) {
        self.waiting.get_or_insert_default().exchange = Some((of, read));
    }

    /// Forgets the exchange, whose detector recognises it no more.
    pub(super) fn forget_exchange(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.exchange = None;
        }
    }

    /// Returns who spoke first in the opening that begins at these offsets, inside a wrapper, and what is known of it. Who is
    /// thought to have spoken first when there are bytes of it for the first time has.
    pub(super) fn inner(&mut self, begins: (usize, usize), first: Side) -> (Side, &mut Self) {
        let inner = &mut self.waiting.get_or_insert_default().inner;
        if inner.as_ref().is_some_and(|inner| inner.begins != begins) {
            *inner = None;
        }
        let inner = inner.get_or_insert_with(|| Inner { begins, first, progress: Self::default() });
        (inner.first, &mut inner.progress)
    }
}

/// Which detectors have said no to the beginning of an opening, a bit each: they need not be asked about more of it,
/// since no is final.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RuledOut(u64);

const _: () = assert!(DETECTORS.len() < u64::BITS as usize, "a bit for every detector, and one for none");

impl RuledOut {
    /// Returns the bits of the detectors that may still say yes.
    pub(super) const fn left(self) -> u64 {
        !self.0 & (1_u64 << DETECTORS.len()).wrapping_sub(1)
    }

    /// Rules out a detector by its bit.
    pub(super) const fn rule_out(&mut self, bit: u64) {
        self.0 |= bit;
    }
}
