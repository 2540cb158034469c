//! The engine on several threads, with the same answers, in the same order, as on one.
//!
//! The calling thread reads frames and hands packets, by the part of the table that they belong to, to workers that own
//! those parts. What depends on the order of all connections stays with it: concluding openings, and giving flows away.
//! Every event that a worker reports carries the number of the frame that caused it, and events are taken in that order.

mod work;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use flow::{Close, Coverage, Flow, FlowId, Timestamp, Tunnel};
use hashbrown::HashMap;

use crate::clock::Clock;
use crate::connection::opening::Opening;
use crate::connection::{Context, Settled};
use crate::engine::{Frame, Limits};
use crate::intake::Intake;
use crate::key::{Key, Way};
use crate::packet::{self, Header, Packet};
use crate::partition::{Counts, Partition, Report};
use crate::tls::{Ends, Memory};

/// How many packets make a round, after which every worker is given its share.
const ROUND: usize = 1024;

/// How many payload bytes end a round early.
const ROUND_BYTES: usize = 512 * 1024;

/// How many rounds the workers may be behind.
const BEHIND: usize = 3;

/// The state of an observation on several threads.
#[derive(Debug)]
pub struct Workers {
    intake: Intake,
    memory: Memory,
    clock: Clock,
    parts: usize,
    /// How many frames were read.
    frames: u64,
    round: Round,
    /// Rounds given out whose events have not come back.
    behind: usize,
    team: Vec<Worker>,
    /// What openings came to that were concluded here, for as long as their connections are tracked.
    concluded: HashMap<u64, Settled>,
    out: VecDeque<Report>,
    ended: bool,
}

/// One thread, and what goes to it and comes from it.
#[derive(Debug)]
struct Worker {
    tasks: SyncSender<Task>,
    answers: Receiver<Answer>,
    /// The events of its last answer that have not been taken.
    events: VecDeque<(Moment, Event)>,
    counts: Counts,
    /// Used buffers, on their way back to be filled again.
    spare: Vec<Share>,
    over: bool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Task {
    /// What a worker has to do in a round.
    Round(Share),
    /// Report everything that is left.
    Finish,
}

/// What a worker says after a round, and again and again after the end.
#[derive(Debug)]
struct Answer {
    events: VecDeque<(Moment, Event)>,
    counts: Counts,
    spare: Option<Share>,
    over: bool,
}

/// When an event took place: twice the number of its frame, one more for what the frame itself caused; and among what
/// ends at the same time, by when it was last seen and by name.
type Moment = (u64, Timestamp, FlowId);

/// What a worker reports.
#[derive(Debug)]
enum Event {
    /// An opening is settled, to be concluded under a number.
    Settled(u64, Box<Opening>, Ends),
    /// A flow settled or ended.
    Report(Box<Report>),
}

/// What is being read for the workers.
#[derive(Debug, Default)]
struct Round {
    shares: Vec<Share>,
    packets: usize,
    bytes: usize,
}

/// The packets of one worker in a round, and the times at which it looks at time-outs.
#[derive(Debug, Default)]
struct Share {
    steps: Vec<Step>,
    bytes: Vec<u8>,
    tunnels: Vec<Tunnel>,
}

#[derive(Debug)]
enum Step {
    Tick { frame: u64, now: Timestamp },
    Packet(Held),
}

/// A packet whose payload and encapsulations stand in its share.
#[derive(Debug)]
struct Held {
    frame: u64,
    at: Timestamp,
    now: Timestamp,
    point: u16,
    part: usize,
    key: Key,
    way: Way,
    header: Header,
    identification: u32,
    payload: usize,
    missing: usize,
    tunnels: usize,
}

impl Workers {
    /// Starts an observation on this many threads beside the calling one; at least one, and no more than there are
    /// parts of the table.
    #[must_use]
    pub fn new(limits: &Limits, threads: usize) -> Self {
        let parts = limits.parts();
        let count = threads.clamp(1, parts);
        let team: Vec<Worker> = (0..count)
            .map(|number| {
                // Part by part in turn, so that every worker has about as many.
                let owned = (number..parts).step_by(count).count();
                Worker::start(number as u64, (0..owned).map(|_| Partition::new(limits.share())).collect())
            })
            .collect();
        let shares = team.iter().map(|_| Share::default()).collect();
        Self {
            intake: Intake::new(limits),
            memory: Memory::bounded(limits.sessions),
            clock: Clock::default(),
            parts,
            frames: 0,
            round: Round { shares, packets: 0, bytes: 0 },
            behind: 0,
            team,
            concluded: HashMap::new(),
            out: VecDeque::new(),
            ended: false,
        }
    }

    /// Gives an interface its name, by which flows say where they were seen. Before its first flow is given away.
    pub fn name_interface(&mut self, interface: u32, name: &str) {
        self.intake.name(interface, name);
    }

    /// Takes captured frames, in order.
    pub fn frames<'a>(&mut self, frames: impl IntoIterator<Item = Frame<'a>>) {
        for frame in frames {
            self.frame(&frame);
        }
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        self.frames = self.frames.saturating_add(1);
        if let Some(now) = self.clock.advance(frame.at) {
            self.intake.expire(now);
            for share in &mut self.round.shares {
                share.steps.push(Step::Tick { frame: self.frames, now });
            }
        }
        self.intake.count(1, frame.bytes.len() as u64);
        let point = self.intake.point(frame);
        let Self { intake, round, parts, frames, clock, .. } = self;
        let context = |tunnels| Context { at: frame.at, point, tunnels };
        match packet::alone(frame) {
            Some(packet) => round.add(&packet, context(&[]), *frames, clock.now(), *parts),
            None => intake.read(frame, &mut |packet, tunnels| {
                let context = Context { at: frame.at, point, tunnels };
                round.add(packet, context, *frames, clock.now(), *parts);
            }),
        }
        if self.round.packets >= ROUND || self.round.bytes >= ROUND_BYTES {
            self.give_out();
        }
    }

    /// Gives every worker its share of the round, and takes back what an earlier one came to.
    fn give_out(&mut self) {
        for (worker, share) in self.team.iter_mut().zip(&mut self.round.shares) {
            let empty = worker.spare.pop().unwrap_or_default();
            worker.give(Task::Round(std::mem::replace(share, empty)));
        }
        (self.round.packets, self.round.bytes) = (0, 0);
        self.behind = self.behind.saturating_add(1);
        while self.behind > BEHIND {
            self.take_back();
        }
    }

    /// Waits for the events of the oldest round and takes them in order.
    fn take_back(&mut self) {
        self.behind = self.behind.saturating_sub(1);
        for worker in &mut self.team {
            worker.answer();
        }
        while let Some(event) = self.first() {
            self.event(event);
        }
    }

    /// Returns the first event of those at hand.
    fn first(&mut self) -> Option<Event> {
        let waiting = self.team.iter_mut().filter(|worker| !worker.events.is_empty());
        let first = waiting.min_by_key(|worker| worker.events.front().map(|(moment, _)| *moment))?;
        first.events.pop_front().map(|(_, event)| event)
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Settled(number, opening, ends) => {
                let settled = opening.conclude(ends, &mut self.memory);
                self.concluded.insert(number, settled);
            }
            Event::Report(mut report) => {
                if let Some(number) = report.away {
                    let settled = if report.flow.close == Close::Open {
                        self.concluded.get(&number).cloned()
                    } else {
                        self.concluded.remove(&number)
                    };
                    if let Some(Settled { security, protocol, upgrade }) = settled {
                        (report.flow.security, report.flow.protocol, report.flow.upgrade) =
                            (security, protocol, upgrade);
                    }
                }
                self.out.push_back(*report);
            }
        }
    }

    /// Ends the observation: everything still tracked is reported, by its last packet.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.intake.finish();
        self.give_out();
        while self.behind > 0 {
            self.take_back();
        }
        for worker in &mut self.team {
            worker.give(Task::Finish);
        }
    }

    /// Returns the next flow that became known, if there is one.
    pub fn poll(&mut self) -> Option<Flow> {
        while self.out.is_empty() && self.ended {
            // The first of all is known only when every worker has said what comes next of its own.
            for worker in &mut self.team {
                while worker.events.is_empty() && !worker.over {
                    worker.answer();
                }
            }
            let event = self.first()?;
            self.event(event);
        }
        let Report { mut flow, points, .. } = self.out.pop_front()?;
        flow.seen_at = self.intake.seen_at(&points);
        Some(flow)
    }

    /// Returns what was read and what was not; whole once the observation has ended and every flow was polled.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        let mut counts = Counts::default();
        for worker in &self.team {
            counts.add(worker.counts);
        }
        self.intake.coverage(counts, self.memory.sessions.forgotten())
    }
}

impl Round {
    fn add(&mut self, packet: &Packet<'_>, context: Context<'_>, frame: u64, now: Timestamp, parts: usize) {
        let part = packet.key.part(parts);
        let count = self.shares.len().max(1);
        let (worker, place) = (part.checked_rem(count).unwrap_or(0), part.checked_div(count).unwrap_or(0));
        let Some(share) = self.shares.get_mut(worker) else { return };
        share.bytes.extend_from_slice(packet.payload.bytes);
        share.tunnels.extend_from_slice(context.tunnels);
        share.steps.push(Step::Packet(Held {
            frame,
            at: context.at,
            now,
            point: context.point,
            part: place,
            key: packet.key,
            way: packet.way,
            header: packet.header,
            identification: packet.identification,
            payload: packet.payload.bytes.len(),
            missing: packet.payload.missing,
            tunnels: context.tunnels.len(),
        }));
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(packet.payload.bytes.len());
    }
}

impl Worker {
    fn start(number: u64, parts: Vec<Partition>) -> Self {
        let (tasks, todo) = sync_channel(BEHIND.saturating_add(2));
        // Room for every round that a worker may be ahead; at the end it waits until its flows are asked for.
        let (done, answers) = sync_channel(BEHIND.saturating_add(2));
        let thread = thread::spawn(move || work::work(number, parts, &todo, &done));
        Self {
            tasks,
            answers,
            events: VecDeque::new(),
            counts: Counts::default(),
            spare: Vec::new(),
            over: false,
            thread: Some(thread),
        }
    }

    fn give(&mut self, task: Task) {
        // A worker that is gone has panicked; that shows where its answer is waited for.
        let _ = self.tasks.send(task);
    }

    /// Waits for the next answer.
    fn answer(&mut self) {
        match self.answers.recv() {
            Ok(Answer { events, counts, spare, over }) => {
                self.events.extend(events);
                self.counts = counts;
                self.spare.extend(spare);
                self.over = over;
            }
            Err(_) => {
                self.over = true;
                // Flows would be lost in silence: whatever stopped the worker stops the observation too.
                if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}
