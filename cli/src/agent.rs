//! The agent that `serve --capture` starts beside itself: it reads packets and has no network, this program takes what it
//! writes, one delivery after the other, and has no packet.
//!
//! An agent that ends by itself is started again, after a pause; what it had seen and not yet written is lost, and the
//! coverage says so. One that never delivered anything cannot capture at all, which ends `serve`.

use std::io::BufReader;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use api::{State, Unavailable};
use flow::Flow;
use flow::delivery::Heading;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CapabilitySet, CapabilitySets};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::args::Live;
use crate::exit::Fatal;

/// The agent's program.
const PROGRAM: &str = "wireproof-agent";

/// How many deliveries wait to be judged; past it the agent waits, and the kernel's ring holds what comes meanwhile.
const WAITING: usize = 4;

/// The first and the longest pause before an agent is started again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long is waited before a delivery that was not kept is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How often it is still tried once the end has come.
const LAST_TRIES: u32 = 3;

/// What is read is one delivery, or why there is none.
type Read = Result<(Heading, Vec<Flow>), String>;

/// A program that is there, and what it is to watch.
pub(crate) struct Agent {
    program: PathBuf,
    arguments: Vec<String>,
}

/// An agent at work.
pub(crate) struct Watching {
    /// Ends it.
    pub(crate) stop: Stop,
    /// Told if it cannot capture at all.
    pub(crate) failure: oneshot::Receiver<Fatal>,
}

/// Ends an agent.
pub(crate) struct Stop {
    tell: watch::Sender<bool>,
    done: JoinHandle<()>,
}

impl Stop {
    /// Tells the agent to end, and waits until all that it saw is kept.
    pub(crate) async fn now(self) {
        let _ = self.tell.send(true);
        let _ = self.done.await;
    }
}

impl Agent {
    /// Finds the program; absent if nothing is to be captured.
    pub(crate) fn found(options: &Live) -> Result<Option<Self>, Fatal> {
        if options.capture.is_empty() {
            return Ok(None);
        }
        let program = match &options.agent {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name(PROGRAM),
        };
        if !program.is_file() {
            return Err(Fatal::environment(anyhow!(
                "--capture needs the program {PROGRAM}, and {} is not there: build it (cargo build -p capture --features agent), put it there, or name it with --agent",
                program.display()
            )));
        }
        let mut arguments: Vec<String> = vec!["--deliveries".into()];
        arguments.extend(options.capture.iter().map(|name| format!("--interface={name}")));
        arguments.extend(options.capture_filter.iter().map(|filter| format!("--filter={filter}")));
        Ok(Some(Self { program, arguments }))
    }

    /// Starts it and takes what it delivers, until it is stopped.
    pub(crate) fn watch(self, state: State) -> Watching {
        let (fail, failure) = oneshot::channel();
        let (tell, told) = watch::channel(false);
        let done = tokio::spawn(self.keep_watching(state, told, fail));
        Watching { stop: Stop { tell, done }, failure }
    }

    async fn keep_watching(
        self,
        state: State,
        mut told: watch::Receiver<bool>,
        fail: oneshot::Sender<Fatal>,
    ) {
        let (mut fail, mut pause) = (Some(fail), PAUSES.0);
        loop {
            let run = match self.start() {
                Ok(run) => run,
                Err(error) => {
                    if let Some(fail) = fail.take() {
                        let _ = fail.send(Fatal::environment(error));
                        return;
                    }
                    say(&format!("{error:#}"));
                    if over(&mut told, pause).await {
                        return;
                    }
                    pause = pause.saturating_mul(2).min(PAUSES.1);
                    continue;
                }
            };
            let (last, how) = run.take_all(&state, &mut told).await;
            if *told.borrow() {
                return;
            }
            match (last, fail.take()) {
                (None, Some(fail)) => {
                    let _ = fail.send(Fatal::environment(anyhow!(
                        "nothing can be captured: {how}; what it said stands above, and `{} doctor` says what is missing",
                        self.program.display()
                    )));
                    return;
                }
                (None, None) => say(&format!("the capture cannot go on yet: {how}")),
                (Some(mut heading), _) => {
                    say(&format!("the capture was interrupted: {how}; it is started again"));
                    heading.coverage.damaged.push(format!("the capture was interrupted: {how}"));
                    (heading.flows, heading.sequence) = (0, heading.sequence.saturating_add(1));
                    keep(&state, heading, Vec::new(), &told).await;
                    pause = PAUSES.0;
                }
            }
            if over(&mut told, pause).await {
                return;
            }
            pause = pause.saturating_mul(2).min(PAUSES.1);
        }
    }

    fn start(&self) -> anyhow::Result<Run> {
        let mut command = Command::new(&self.program);
        // Variables that are for this program, and for agents that ship, are none of its business. In a group of its own a
        // Ctrl-C is not meant for it: it ends once this program says so.
        command
            .args(&self.arguments)
            .env_remove("WIREPROOF_COLLECTOR")
            .env_remove("WIREPROOF_AGENT_TOKEN_FILE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().with_context(|| cannot_start(&self.program))?;
        let out = child.stdout.take().with_context(|| cannot_start(&self.program))?;
        let (send, deliveries) = mpsc::channel(WAITING);
        std::thread::spawn(move || read(out, &send));
        Ok(Run { child, deliveries })
    }
}

fn cannot_start(program: &Path) -> String {
    format!("{} cannot be started", program.display())
}

/// One run of the agent.
struct Run {
    child: Child,
    deliveries: mpsc::Receiver<Read>,
}

impl Run {
    /// Keeps what the agent delivers until it ends; tells it to, once that is asked for. Returns the last heading, absent
    /// where none came, and how it ended, as half a sentence.
    async fn take_all(
        mut self,
        state: &State,
        told: &mut watch::Receiver<bool>,
    ) -> (Option<Heading>, String) {
        let (mut last, mut unreadable, mut ending) = (None, None, false);
        loop {
            let delivery = tokio::select! {
                delivery = self.deliveries.recv() => delivery,
                _ = told.wait_for(|stop| *stop), if !ending => {
                    ending = true;
                    self.signal(Signal::TERM);
                    continue;
                }
            };
            match delivery {
                Some(Ok((heading, flows))) => {
                    last = Some(heading.clone());
                    keep(state, heading, flows, told).await;
                }
                Some(Err(why)) => {
                    // What stands behind it cannot be read either.
                    unreadable = Some(why);
                    self.signal(Signal::KILL);
                }
                None => break,
            }
        }
        let ended = tokio::task::spawn_blocking(move || self.child.wait()).await;
        let how = match (unreadable, ended) {
            (Some(why), _) => format!("{PROGRAM} wrote what is no delivery ({why})"),
            (None, Ok(Ok(status))) => format!("{PROGRAM} {}", describe(status)),
            (None, _) => format!("{PROGRAM} is gone"),
        };
        (last, how)
    }

    /// The child is waited for only later, so its number is still its own.
    fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

/// Reads deliveries until the pipe ends, or something else stands in it.
fn read(out: ChildStdout, send: &mpsc::Sender<Read>) {
    let mut out = BufReader::new(out);
    loop {
        let read = match api::read_delivery(&mut out) {
            Ok(None) => return,
            Ok(Some(delivery)) => Ok(delivery),
            Err(why) => Err(why.to_string()),
        };
        let ends = read.is_err();
        if send.blocking_send(read).is_err() || ends {
            return;
        }
    }
}

/// Keeps a delivery, however long the store takes to answer. Only at the end it is given up, and said.
async fn keep(state: &State, heading: Heading, flows: Vec<Flow>, told: &watch::Receiver<bool>) {
    let mut tries = 0_u32;
    while let Err(Unavailable) = state.keep(heading.clone(), flows.clone()).await {
        if *told.borrow() {
            tries = tries.saturating_add(1);
            if tries >= LAST_TRIES {
                say(&format!("{} reports of flows were not kept", flows.len()));
                return;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Waits; tells whether the end came meanwhile.
async fn over(told: &mut watch::Receiver<bool>, pause: Duration) -> bool {
    tokio::time::timeout(pause, told.wait_for(|stop| *stop)).await.is_ok()
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

fn say(text: &str) {
    anstream::eprintln!("wireproof: {text}");
}

/// Empties the calling thread's capabilities, and those of the threads that it starts later. The bounding set stays, so
/// that an agent whose file has a capability, or that root starts, still gets it.
pub(crate) fn give_up_capabilities() -> std::io::Result<()> {
    let none = CapabilitySet::empty();
    rustix::thread::clear_ambient_capability_set()?;
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}
