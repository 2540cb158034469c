//! `wireproof-agent`: flows from a live interface as NDJSON on standard output, each when its security settles and again
//! when it ends.
//!
//! Small on purpose: it knows no policy, serves nothing, stores nothing. It needs CAP_NET_RAW to open an interface.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use capture::engine::{Engine, Limits};
use capture::source::file::Reader;
use capture::source::live::{Live, LiveError, Settings};
use clap::Parser;
use flow::Timestamp;

/// Classifies the flows of a live interface: plaintext, TLS or mTLS, with the proof. One JSON object a line.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  wireproof-agent -i eth0 --duration 60s > flows.ndjson\n  wireproof-agent -i any --filter 'tcp port 8080'\n\nExit status: 0 ended as asked, 2 usage, 3 the file given with -r is damaged, 4 the interface cannot be opened."
)]
struct Arguments {
    /// The interface to watch; `any` for all
    #[arg(short, long, value_name = "NAME", required_unless_present = "read")]
    interface: Option<String>,
    /// Reads a capture file instead of an interface; needs no privilege
    #[arg(short, long, value_name = "FILE", conflicts_with = "interface")]
    read: Option<std::path::PathBuf>,
    /// A libpcap filter, such as 'tcp port 8080'
    #[arg(short, long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Bytes kept of each frame. A handshake needs about 4096
    #[arg(short, long, value_name = "BYTES", default_value_t = 262_144, value_parser = clap::value_parser!(i32).range(64..=262_144))]
    snaplen: i32,
    /// MiB of the kernel's ring: what absorbs the moments in which the agent does not run
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(i32).range(1..=1024))]
    buffer_size: i32,
    /// Ends after this time, such as 30s or 10m; without it, at Ctrl-C
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
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
}

/// A snap length below this cuts ClientHellos with post-quantum key shares.
const HANDSHAKE: i32 = 4096;

/// How many frames are read before the flows are written.
const BATCH: usize = 4096;

/// How long the agent waits when nothing has arrived.
const IDLE: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let closed =
                error.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe);
            if !closed {
                say(&format!("{error:#}"));
            }
            let usage = matches!(error.downcast_ref::<LiveError>(), Some(LiveError::Filter(..)));
            ExitCode::from(if closed {
                0
            } else if usage {
                2
            } else {
                4
            })
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut engine = Engine::new(Limits {
        connections: arguments.max_connections,
        silent: arguments.max_silent,
        held_bytes: arguments.max_held_bytes,
        ..Limits::default()
    });
    let mut out = BufWriter::new(io::stdout().lock());
    let status = match (&arguments.read, &arguments.interface) {
        (Some(file), _) => replay(file, &mut engine, &mut out)?,
        (None, Some(interface)) => watch(interface, arguments, &mut engine, &mut out)?,
        (None, None) => 2,
    };
    engine.finish();
    write(&mut engine, &mut out)?;
    let coverage = engine.coverage();
    say(&format!(
        "{} packets, {} flows, {} of TCP from their start",
        coverage.packets, coverage.flows, coverage.from_start
    ));
    if let Some(reasons) = coverage.not_used() {
        say(&reasons);
    }
    Ok(status)
}

fn replay(file: &std::path::Path, engine: &mut Engine, out: &mut impl Write) -> anyhow::Result<u8> {
    let input = File::open(file).with_context(|| format!("{}: cannot be opened", file.display()))?;
    let mut reader = match Reader::new(input) {
        Ok(reader) => reader,
        Err(error) => {
            say(&format!("{}: {error}", file.display()));
            return Ok(3);
        }
    };
    let mut status = 0;
    while let Some(next) = reader.next() {
        match next {
            Ok(frame) => engine.frame(&frame),
            Err(error) => {
                say(&format!("{}: {error}", file.display()));
                status = 3;
            }
        }
        write(engine, out)?;
    }
    Ok(status)
}

fn watch(
    interface: &str,
    arguments: &Arguments,
    engine: &mut Engine,
    out: &mut impl Write,
) -> anyhow::Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let mut live = Live::open(&Settings {
        interface: interface.to_owned(),
        filter: arguments.filter.clone(),
        snap_length: arguments.snaplen,
        buffer: arguments.buffer_size.saturating_mul(1024 * 1024),
    })?;
    if arguments.snaplen < HANDSHAKE {
        say(&format!(
            "frames are cut at {} bytes: handshakes need about {HANDSHAKE}, and will be unknown",
            arguments.snaplen
        ));
    }
    if interface != "any" {
        engine.name_interface(0, interface);
    }
    say(&format!("watching {interface}"));
    let began = clock();
    while !stop.load(Ordering::Relaxed) && arguments.duration.is_none_or(|time| began.elapsed() < time) {
        let read = live.read(BATCH, |frame| engine.frame(frame))?;
        if read == 0 {
            engine.advance(now());
        }
        write(engine, out)?;
        if read == 0 {
            std::thread::sleep(IDLE);
        }
    }
    if let Some(dropped) = live.dropped() {
        say(&format!("{dropped} packets dropped by the kernel"));
    }
    Ok(0)
}

fn write(engine: &mut Engine, out: &mut impl Write) -> io::Result<()> {
    let mut any = false;
    while let Some(flow) = engine.poll() {
        serde_json::to_writer(&mut *out, &flow)?;
        out.write_all(b"\n")?;
        any = true;
    }
    if any { out.flush() } else { Ok(()) }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let seconds = match text.strip_prefix(digits) {
        Some("s" | "") => Some(1),
        Some("m") => Some(60),
        Some("h") => Some(3600),
        Some(_) | None => None,
    };
    seconds
        .and_then(|unit: u64| digits.parse::<u64>().ok()?.checked_mul(unit))
        .map(Duration::from_secs)
        .ok_or_else(|| "a time such as 30s, 10m or 1h is expected".to_owned())
}

fn say(text: &str) {
    // There is nowhere left to report that standard error is closed.
    let _ = writeln!(io::stderr(), "wireproof-agent: {text}");
}

#[expect(clippy::disallowed_methods, reason = "--duration is told by the wall clock")]
fn clock() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "while nothing arrives no packet tells the time")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
