//! What a worker does on its thread: gives packets to its parts of the table, and says what they came to.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender};

use flow::{Close, FlowId, Timestamp, Tunnel};

use super::{Answer, Event, Held, Moment, Share, Step, Task};
use crate::connection::opening::Opening;
use crate::connection::{Conclude, Context, State};
use crate::packet::{Captured, Packet};
use crate::partition::{Counts, Partition};
use crate::tls::Ends;

/// How many flows a worker reports at a time once the observation has ended.
const LAST: usize = 256;

/// What a worker has to report, and openings to be concluded.
#[derive(Debug)]
struct Outbox {
    moment: Moment,
    events: VecDeque<(Moment, Event)>,
    next: u64,
}

impl Conclude for Outbox {
    fn conclude(&mut self, opening: Box<Opening>, ends: Ends) -> State {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.events.push_back((self.moment, Event::Settled(number, opening, ends)));
        State::Away(number)
    }
}

impl Outbox {
    fn reports(&mut self, part: &mut Partition) {
        let moment = self.moment;
        self.events.extend(part.out().drain(..).map(|report| (moment, Event::Report(Box::new(report)))));
    }
}

/// Does what comes until there is no more.
pub(super) fn work(number: u64, mut parts: Vec<Partition>, todo: &Receiver<Task>, done: &SyncSender<Answer>) {
    // Numbers of different workers never meet.
    let next = number << 56;
    let mut outbox = Outbox { moment: (0, Timestamp::default(), FlowId(0)), events: VecDeque::new(), next };
    while let Ok(task) = todo.recv() {
        match task {
            Task::Round(mut share) => {
                share.work(&mut parts, &mut outbox);
                share.clear();
                answer(&mut outbox, &parts, Some(share), false, done);
            }
            Task::Finish => {
                finish(&mut parts, &mut outbox, done);
                return;
            }
        }
    }
}

fn answer(
    outbox: &mut Outbox,
    parts: &[Partition],
    spare: Option<Share>,
    over: bool,
    done: &SyncSender<Answer>,
) -> bool {
    let mut counts = Counts::default();
    for part in parts {
        counts.add(part.counts());
    }
    done.send(Answer { events: std::mem::take(&mut outbox.events), counts, spare, over }).is_ok()
}

/// Reports what is left, a part at a time.
fn finish(parts: &mut [Partition], outbox: &mut Outbox, done: &SyncSender<Answer>) {
    let mut left = Vec::new();
    for (number, part) in parts.iter_mut().enumerate() {
        part.drop_unreported(outbox);
        let named = part.remaining().filter_map(|(end, place)| Some((end, part.id(place)?, place)));
        left.extend(named.map(|(end, id, place)| (Reverse((end, id)), number, place)));
    }
    // The first comes last, to be taken off the end.
    left.sort_unstable();
    while let Some((Reverse((end, id)), number, place)) = left.pop() {
        if let Some(part) = parts.get_mut(number) {
            outbox.moment = (u64::MAX, end, id);
            part.end(place, Close::CaptureEnd, outbox);
            outbox.reports(part);
        }
        if outbox.events.len() >= LAST && !answer(outbox, parts, None, false, done) {
            return;
        }
    }
    answer(outbox, parts, None, true, done);
}

impl Share {
    fn clear(&mut self) {
        self.steps.clear();
        self.bytes.clear();
        self.tunnels.clear();
    }

    fn work(&self, parts: &mut [Partition], outbox: &mut Outbox) {
        let (mut bytes, mut tunnels) = (self.bytes.as_slice(), self.tunnels.as_slice());
        for step in &self.steps {
            match step {
                Step::Tick { frame, now } => tick(parts, outbox, frame.saturating_mul(2), *now),
                Step::Packet(held) => {
                    let payload = bytes.split_off(..held.payload).unwrap_or_default();
                    let around = tunnels.split_off(..held.tunnels).unwrap_or_default();
                    held.work(payload, around, parts, outbox);
                }
            }
        }
    }
}

fn tick(parts: &mut [Partition], outbox: &mut Outbox, moment: u64, now: Timestamp) {
    let mut overdue = Vec::new();
    for (number, part) in parts.iter_mut().enumerate() {
        let due = part.overdue(now, outbox).into_iter();
        overdue
            .extend(due.filter_map(|(last, place, what)| Some((last, part.id(place)?, number, place, what))));
    }
    overdue.sort_unstable();
    for (last, id, number, place, what) in overdue {
        if let Some(part) = parts.get_mut(number) {
            outbox.moment = (moment, last, id);
            part.settle_overdue(place, what, now, outbox);
            outbox.reports(part);
        }
    }
}

impl Held {
    fn work(&self, payload: &[u8], tunnels: &[Tunnel], parts: &mut [Partition], outbox: &mut Outbox) {
        let Some(part) = parts.get_mut(self.part) else { return };
        outbox.moment = (self.frame.saturating_mul(2).saturating_add(1), Timestamp::default(), FlowId(0));
        let packet = Packet {
            key: self.key,
            way: self.way,
            header: self.header,
            payload: Captured { bytes: payload, missing: self.missing },
            identification: self.identification,
        };
        let context = Context { at: self.at, point: self.point, tunnels };
        let hash = part.hash(&packet.key);
        part.packet((hash, None), &packet, context, self.now, outbox);
        if !part.out().is_empty() {
            outbox.reports(part);
        }
    }
}
