//! `wireproof-agent`: flows from live interfaces as NDJSON on standard output, each when its security settles and again
//! when it ends.
//!
//! Small on purpose: it knows no policy, serves nothing, stores nothing. It opens its sources, gives up every privilege,
//! and only then reads.

use std::ffi::OsString;
use std::io::{self, BufWriter, Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use capture::agent::doctor::{self, State};
use capture::agent::sink::{Ndjson, Sink};
use capture::agent::{End, From, OpenError, Opened, Settings, confine_sender, recording, say};
use capture::engine::{Engine, Limits};
use capture::ship::outbox::{Outbox, Piped, Spooled};
use capture::ship::post::{Collector, SetupError, Tls};
use capture::ship::sender::{ENDS, Sender};
use capture::ship::spool::{self, Reader, Writer};
use capture::source::live::{self, LiveError, Namespace};
use clap::{Parser, Subcommand};
use flow::delivery::is_name;

/// Classifies the flows of live interfaces: plaintext, TLS or mTLS, with the proof. One JSON object a line.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  wireproof-agent -i eth0 --duration 60s > flows.ndjson\n  wireproof-agent -i 'veth*' --filter 'tcp port 8080'\n  wireproof-agent -i eth0 --netns 4242\n  wireproof-agent doctor\n\nExit status: 0 ended as asked, 2 usage, 3 the file given with -r is damaged, 4 an interface cannot be opened or went away."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// An interface to watch, or a pattern such as 'veth*'; `any` for all. May be given several times. Interfaces that
    /// match a pattern are watched as they come and go
    #[arg(short, long, value_name = "NAME", required_unless_present = "read")]
    interface: Vec<String>,
    /// Follows exact names too: waits for interfaces that are not there, or no longer
    #[arg(long)]
    follow: bool,
    /// The network namespace whose interfaces are meant: a process in it, its name under /run/netns, or a path. Needs
    /// CAP_SYS_ADMIN
    #[arg(long, value_name = "PID|NAME|PATH")]
    netns: Option<Namespace>,
    /// Reads a capture file instead of an interface; needs no privilege
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["interface", "netns", "follow"])]
    read: Option<PathBuf>,
    /// A libpcap filter, such as 'tcp port 8080'
    #[arg(short, long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Bytes kept of each frame. A handshake needs about 4096; 262144 keeps super-packets whole
    #[arg(short, long, value_name = "BYTES", default_value_t = 16_384, value_parser = clap::value_parser!(i32).range(64..=262_144))]
    snaplen: i32,
    /// MiB of the kernel's ring, for each socket: what absorbs the moments in which the agent does not run
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(i32).range(1..=1024))]
    buffer_size: i32,
    /// Takes each frame when it arrives, not up to a tenth of a second later; costs more, and the ring holds less
    #[arg(long)]
    immediate: bool,
    /// Ends after this time, such as 30s or 10m; without it, at Ctrl-C
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Writes flows here instead of to standard output; an existing file is added to
    #[arg(short, long, value_name = "FILE", conflicts_with = "collector")]
    output: Option<PathBuf>,
    /// Writes deliveries to standard output, as a collector reads them, in place of bare flows: for `wireproof serve --capture`
    #[arg(long, hide = true, conflicts_with_all = ["output", "collector"])]
    deliveries: bool,
    #[command(flatten)]
    shipping: Shipping,
    /// Keeps what was read and what was not in this file, as one JSON object, every ten seconds and at the end
    #[arg(long, value_name = "FILE")]
    coverage: Option<PathBuf>,
    /// Keeps counts for Prometheus in this file, replaced every ten seconds and at the end: for node_exporter's textfile
    /// collector, which reads names that end in .prom
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Also writes the frames themselves, payload included, as pcapng
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Begins a new file with --write after this size, such as 100M; full ones get a number before their ending
    #[arg(long, value_name = "SIZE", requires = "write", value_parser = size)]
    rotate: Option<u64>,
    /// How many files to keep with --rotate, the one being written among them
    #[arg(long, value_name = "COUNT", default_value_t = 10, requires = "rotate", value_parser = at_least_one)]
    keep: usize,
    /// The most connections followed at a time; past it half-open ones, closed ones, then the longest silent give way
    /// and are counted as table-full
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().connections)]
    max_connections: usize,
    /// The most of them without a payload byte: half-open ones of a flood
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().silent)]
    max_silent: usize,
    /// The most payload held for openings, over all connections
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().held_bytes)]
    max_held_bytes: usize,
    /// The most datagrams put together from fragments at a time; past it the oldest gives way and is counted as
    /// incomplete-fragments
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().datagrams)]
    max_datagrams: usize,
    /// The most encapsulations around a packet; one with more is counted as nested-too-deep
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().tunnels)]
    max_tunnels: usize,
    /// The most sessions remembered to know resumptions by; past it the oldest gives way and is counted as
    /// sessions-forgotten
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().sessions)]
    max_sessions: usize,
}

/// Flows to a collector instead of to standard output.
#[derive(Debug, clap::Args)]
struct Shipping {
    /// Delivers flows to this collector, such as https://wireproof:8480: `wireproof serve`
    #[arg(long, value_name = "URL", env = "WIREPROOF_COLLECTOR")]
    collector: Option<String>,
    /// A file whose first line is the bearer token to show to the collector
    #[arg(long, value_name = "FILE", requires = "collector", env = "WIREPROOF_AGENT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The CA of the collector's certificate, PEM; without it those count that are trusted everywhere
    #[arg(long, value_name = "FILE", requires = "collector")]
    collector_ca: Option<PathBuf>,
    /// The agent's own certificate to show to the collector, PEM
    #[arg(long, value_name = "FILE", requires_all = ["collector", "client_key"])]
    client_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// The folder in which flows wait for the collector; made if it does not exist
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/wireproof/spool", env = "WIREPROOF_SPOOL")]
    spool: PathBuf,
    /// The most that the spool takes on the disk; when it is full the oldest flows give way and are counted
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = spool_size)]
    spool_size: u64,
    /// How long deliveries are still sent once the agent ends; what is left waits for the next run
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    drain: Duration,
    /// The agent's name at the collector; without it the host's
    #[arg(long, value_name = "NAME", env = "WIREPROOF_NODE")]
    name: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Empties the spool: what the agent starts beside itself. Ends when its standard input does
    #[command(hide = true)]
    Send(Shipping),
    /// Says whether this machine and this account can capture, and what is missing. Needs no privilege
    Doctor,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Command::Doctor) => examine(),
        Some(Command::Send(shipping)) => send(&shipping),
        None => run(arguments),
    };
    ExitCode::from(done.unwrap_or_else(|error| {
        say(&format!("{error:#}"));
        let usage = matches!(
            error.downcast_ref::<OpenError>(),
            Some(OpenError::Live(LiveError::Filter(..)) | OpenError::Exists(_))
        ) || matches!(
            error.downcast_ref::<SetupError>(),
            Some(SetupError::Url(_) | SetupError::TokenInClear(_))
        );
        if usage { 2 } else { 4 }
    }))
}

fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in ENDS {
        // The second time it ends at once: the first one may be waiting for a reader that does not read.
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let engine = Engine::new(Limits {
        connections: arguments.max_connections,
        silent: arguments.max_silent,
        held_bytes: arguments.max_held_bytes,
        datagrams: arguments.max_datagrams,
        tunnels: arguments.max_tunnels,
        sessions: arguments.max_sessions,
        ..Limits::default()
    });
    let watched = arguments.interface.join(", ");
    let live = arguments.read.is_none();
    let opened = Opened::open(settings(arguments)?)?;
    let confined = opened.confine()?;
    if live && !stop.load(Ordering::Relaxed) {
        say(&format!("watching {watched}, without privileges from here on"));
    }
    let summary = confined.run(engine, &stop);
    let status = match &summary.end {
        End::AsAsked | End::Closed => 0,
        End::Damaged(text) => {
            say(text);
            3
        }
        End::Failed(text) => {
            say(text);
            4
        }
    };
    if summary.end != End::Closed {
        for line in summary.to_string().lines() {
            say(line);
        }
    }
    Ok(status)
}

fn settings(arguments: Arguments) -> anyhow::Result<Settings> {
    let sink: Box<dyn Sink> = match &arguments.output {
        None if arguments.shipping.collector.is_some() => Box::new(outbox(&arguments.shipping)?),
        None if arguments.deliveries => {
            let pipe = Piped::new(BufWriter::new(io::stdout().lock()));
            Box::new(Outbox::new(pipe, name(&arguments.shipping)?, run_name()))
        }
        None => Box::new(Ndjson::to(BufWriter::new(io::stdout().lock()))),
        Some(path) => {
            Box::new(Ndjson::to(BufWriter::new(goes_on(path).with_context(|| path.display().to_string())?)))
        }
    };
    let source = match arguments.read {
        Some(path) => From::File(path),
        None => From::Live(live::Settings {
            interfaces: arguments.interface,
            follow: arguments.follow,
            filter: arguments.filter,
            snap_length: arguments.snaplen,
            buffer: arguments.buffer_size.saturating_mul(1024 * 1024),
            immediate: arguments.immediate,
            namespace: arguments.netns,
        }),
    };
    let recording = arguments.write.map(|file| recording::Settings {
        file,
        rotate: arguments.rotate,
        keep: arguments.keep,
        snap_length: arguments.snaplen.unsigned_abs(),
    });
    Ok(Settings {
        source,
        sink,
        recording,
        coverage: arguments.coverage,
        metrics: arguments.metrics,
        duration: arguments.duration,
    })
}

/// How long another agent's process may still send from the same spool.
const OTHERS: u64 = 60;

/// Opens the spool and starts what empties it.
fn outbox(shipping: &Shipping) -> anyhow::Result<Outbox<Spooled>> {
    // What is wrong with the collector's address or a file is said now, and not by a process that ends.
    collector(shipping)?;
    let name = name(shipping)?;
    let spool = Writer::open(&shipping.spool, shipping.spool_size)
        .with_context(|| format!("the spool {} cannot be used", shipping.spool.display()))?;
    let mut arguments: Vec<OsString> = vec!["send".into()];
    let mut add = |name: &str, value: Option<OsString>| {
        if let Some(value) = value {
            arguments.extend([name.into(), value]);
        }
    };
    add("--collector", shipping.collector.clone().map(Into::into));
    add("--token-file", shipping.token_file.clone().map(Into::into));
    add("--collector-ca", shipping.collector_ca.clone().map(Into::into));
    add("--client-cert", shipping.client_cert.clone().map(Into::into));
    add("--client-key", shipping.client_key.clone().map(Into::into));
    add("--spool", Some(shipping.spool.clone().into()));
    add("--drain", Some(shipping.drain.as_secs().to_string().into()));
    let sender = Sender::start(arguments).context("the process that sends cannot be started")?;
    Ok(Outbox::new(Spooled::new(spool, sender), name, run_name()))
}

/// The agent's name: the one that was given, else the host's.
fn name(shipping: &Shipping) -> anyhow::Result<String> {
    let name = match &shipping.name {
        Some(name) => name.clone(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
    };
    anyhow::ensure!(
        is_name(&name),
        "'{name}' cannot name an agent: give --name, printable ASCII without spaces and slashes"
    );
    Ok(name)
}

/// Opens a file to write lines to its end. Half a line, which a full disk or a kill left there, is none of theirs.
fn goes_on(path: &std::path::Path) -> io::Result<std::fs::File> {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
    if file.metadata()?.is_file()
        && let Ok(mut before) = std::fs::File::open(path)
        && before.seek(io::SeekFrom::End(-1)).is_ok()
    {
        let mut last = [b'\n'];
        before.read_exact(&mut last)?;
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

fn collector(shipping: &Shipping) -> anyhow::Result<Collector> {
    let url = shipping.collector.as_deref().context("--collector is missing")?;
    let token = shipping.token_file.as_deref().map(|path| {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let token = text.lines().next().unwrap_or_default().trim().to_owned();
        anyhow::ensure!(!token.is_empty(), SetupError::NoToken(path.display().to_string()));
        Ok::<_, anyhow::Error>(token)
    });
    let identity = shipping.client_cert.as_deref().zip(shipping.client_key.as_deref());
    let tls = Tls { ca: shipping.collector_ca.as_deref(), identity };
    Ok(Collector::new(url, token.transpose()?, &tls)?)
}

/// What the files hold by which the collector is shown who this is, and known in turn.
fn shown(shipping: &Shipping) -> Vec<Option<Vec<u8>>> {
    let files = [&shipping.token_file, &shipping.collector_ca, &shipping.client_cert, &shipping.client_key];
    files.map(|file| file.as_deref().and_then(|path| std::fs::read(path).ok())).into()
}

/// Sends what is in the spool until the agent beside it has ended.
fn send(shipping: &Shipping) -> anyhow::Result<u8> {
    // Before anything that takes time: a service manager signals all processes of a unit at once.
    for signal in ENDS {
        // Those are for the agent, whose end is told by standard input.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let collector = collector(shipping)?;
    // Another agent's sender may still be at it, for as long as its patience lasts.
    let mut tries = 0;
    let reader = loop {
        match Reader::open(&shipping.spool) {
            Ok(reader) => break reader,
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && tries < OTHERS => {
                tries = tries.saturating_add(1);
                std::thread::sleep(Duration::from_secs(1));
            }
            Err(error) => return Err(error).context(shipping.spool.display().to_string()),
        }
    };
    if let Some(note) = confine_sender(&shipping.spool)? {
        say(&format!("warning: {note}"));
    }
    let ended = Arc::new(AtomicBool::new(false));
    let closed = Arc::clone(&ended);
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        closed.store(true, Ordering::Relaxed);
    });
    let mut known = shown(shipping);
    let mut renewed = || {
        let now = shown(shipping);
        if now == known {
            return None;
        }
        let renewed = self::collector(shipping);
        known = now;
        // Half of a renewal is no use: the other half makes another difference.
        renewed.inspect_err(|error| say(&format!("warning: {error:#}: what was shown before stays"))).ok()
    };
    let patience = shipping.drain;
    let left =
        capture::ship::send::run(&reader, collector, &mut renewed, &ended, patience, &|text| say(text))
            .with_context(|| shipping.spool.display().to_string())?;
    if left > 0 {
        say(&format!("{left} deliveries wait in {} for the next run", shipping.spool.display()));
    }
    Ok(0)
}

#[expect(clippy::disallowed_methods, reason = "a run is named by when it began")]
fn run_name() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    format!("{:x}", since.unwrap_or_default().as_nanos())
}

fn examine() -> anyhow::Result<u8> {
    let checks = doctor::examine();
    let mut out = io::stdout().lock();
    for check in &checks {
        writeln!(out, "{check}")?;
    }
    Ok(if checks.iter().any(|check| check.state == State::Bad) { 4 } else { 0 })
}

fn duration(text: &str) -> Result<Duration, String> {
    number(text, &[("s", 1), ("", 1), ("m", 60), ("h", 3600)])
        .map(Duration::from_secs)
        .ok_or_else(|| "a time such as 30s, 10m or 1h is expected".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    number(text, &[("", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)])
        .filter(|bytes| *bytes >= 1 << 16)
        .ok_or_else(|| "a size such as 100M or 1G is expected, of 64K at least".to_owned())
}

fn spool_size(text: &str) -> Result<u64, String> {
    size(text).and_then(|bytes| {
        if bytes >= spool::SMALLEST {
            Ok(bytes)
        } else {
            Err("a spool of 1M at least is expected".to_owned())
        }
    })
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "a number from 1 on is expected".to_owned())
}

fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = text.strip_prefix(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
