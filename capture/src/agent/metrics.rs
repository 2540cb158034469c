//! What the agent counts, as a file for Prometheus: the agent serves nothing, so node_exporter's textfile collector reads
//! it and serves it with the node's own metrics.
//!
//! The form is the text format 0.0.4, which is what that collector reads. The file is replaced by renaming, whole.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use flow::Coverage;

use super::sink::Backlog;
use super::summary::Summary;
use crate::packet::Skip;

/// How many interfaces have a series of their own, those seen first; the others share one. Every pod's end of its link is
/// an interface, and pods come and go.
const INTERFACES: usize = 64;

/// The name under which interfaces past [`INTERFACES`] are counted together.
const OTHER: &str = "other";

/// What gave way because a bound was reached; all other words of [`Coverage::skipped`] are frames that could not be read.
const GAVE_WAY: [Skip; 4] = [Skip::TableFull, Skip::FragmentTable, Skip::BytesHeld, Skip::SessionsForgotten];

/// The file, and where it is written before it is renamed.
#[derive(Debug)]
pub(super) struct Metrics {
    file: PathBuf,
    new: PathBuf,
}

impl Metrics {
    /// Takes the file's place, and writes it once: a folder that is not there is found out now.
    pub(super) fn open(file: PathBuf) -> io::Result<Self> {
        let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        // The collector reads what ends in .prom.
        let new = file.with_file_name(format!(".{}.new", name.to_string_lossy()));
        let metrics = Self { file, new };
        metrics.write(&Summary::default(), &Coverage::default(), None)?;
        Ok(metrics)
    }

    /// The folder in which files are made and renamed.
    pub(super) fn folder(&self) -> &Path {
        match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        }
    }

    /// Replaces the file.
    pub(super) fn write(
        &self,
        summary: &Summary,
        coverage: &Coverage,
        backlog: Option<Backlog>,
    ) -> io::Result<()> {
        std::fs::write(&self.new, page(summary, coverage, backlog))?;
        std::fs::rename(&self.new, &self.file)
    }
}

/// Writes everything. Counters begin with the run, as Prometheus expects of a process.
fn page(summary: &Summary, coverage: &Coverage, backlog: Option<Backlog>) -> String {
    let mut page = Page::default();
    page.family("build_info", "gauge", "The running agent");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);

    page.family("capture_packets_total", "counter", "Packets read, by interface");
    let mut others = 0_u64;
    for (place, (name, frames)) in summary.interfaces().enumerate() {
        if place < INTERFACES {
            page.sample(&[("iface", name)], frames);
        } else {
            others = others.saturating_add(frames);
        }
    }
    if others > 0 {
        page.sample(&[("iface", OTHER)], others);
    }
    page.one("capture_bytes_total", "counter", "Bytes of those packets as captured", coverage.bytes);
    page.family(
        "capture_received_packets_total",
        "counter",
        "Packets that the kernel counted, those dropped included, by socket: an interface, or any",
    );
    for (name, counts) in &summary.sockets {
        page.sample(&[("iface", name)], counts.received);
    }
    page.family(
        "capture_dropped_packets_total",
        "counter",
        "Packets lost before the agent could read them, by socket; ring-full: the agent did not keep up",
    );
    for (name, counts) in &summary.sockets {
        page.sample(&[("iface", name), ("reason", "ring-full")], counts.dropped);
    }

    let gave_way = GAVE_WAY.map(Skip::name);
    let skipped = |bound: bool| {
        coverage.skipped.iter().filter(move |(reason, _)| gave_way.contains(&reason.as_str()) == bound)
    };
    page.family("parse_errors_total", "counter", "Packets, or parts of them, that were not used, by reason");
    for (reason, count) in skipped(false) {
        page.sample(&[("reason", reason)], *count);
    }
    page.family("evictions_total", "counter", "What gave way because a bound was reached, by bound");
    for (reason, count) in skipped(true) {
        page.sample(&[("reason", reason)], *count);
    }

    page.family("flows_total", "counter", "Flows that ended, by class and proof");
    for ((class, proof), count) in summary.flows() {
        page.sample(&[("class", class), ("proof", proof)], count);
    }
    page.family(
        "flows_unknown_total",
        "counter",
        "Flows that ended without proof of their class or of the client's certificate, by what hid it",
    );
    for ((class, reason), count) in summary.unknown() {
        page.sample(&[("class", class), ("reason", reason)], count);
    }
    page.family("tcp_flows_total", "counter", "TCP flows, by whether their opening was seen");
    page.sample(&[("opening", "seen")], coverage.from_start);
    page.sample(&[("opening", "missed")], coverage.mid_stream);

    if let Some(Backlog { deliveries, bytes, undelivered }) = backlog {
        page.one("spool_deliveries", "gauge", "Deliveries that wait for the collector", deliveries);
        page.one("spool_bytes", "gauge", "What they take on the disk", bytes);
        page.one("undelivered_flows_total", "counter", "Reports of flows lost for good", undelivered);
    }
    page.text
}

/// Text, and the family that samples belong to.
#[derive(Default)]
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP wireproof_{name} {help}\n# TYPE wireproof_{name} {kind}");
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        let _ = write!(self.text, "wireproof_{}", self.family);
        for (place, (name, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{before}{name}=\"{value}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    fn one(&mut self, name: &'static str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::live::Counts;

    #[test]
    fn what_was_counted_is_on_the_page() {
        let mut summary = Summary::default();
        for number in 0..u32::try_from(INTERFACES).unwrap() + 2 {
            summary.interface(number, &format!("veth{number}"));
            summary.frame(number);
        }
        summary.interface(0, "odd\"\\name");
        summary.sockets = vec![("any".into(), Counts { received: 90, dropped: 7 })];
        let coverage = Coverage {
            bytes: 1234,
            from_start: 3,
            mid_stream: 2,
            skipped: [("table-full".into(), 5), ("not-ip".into(), 6)].into(),
            ..Coverage::default()
        };
        let backlog = Backlog { deliveries: 1, bytes: 2, undelivered: 3 };
        let page = page(&summary, &coverage, Some(backlog));
        for line in [
            "wireproof_capture_packets_total{iface=\"odd\\\"\\\\name\"} 1",
            "wireproof_capture_packets_total{iface=\"veth63\"} 1",
            "wireproof_capture_packets_total{iface=\"other\"} 2",
            "wireproof_capture_bytes_total 1234",
            "wireproof_capture_received_packets_total{iface=\"any\"} 90",
            "wireproof_capture_dropped_packets_total{iface=\"any\",reason=\"ring-full\"} 7",
            "wireproof_parse_errors_total{reason=\"not-ip\"} 6",
            "wireproof_evictions_total{reason=\"table-full\"} 5",
            "wireproof_tcp_flows_total{opening=\"seen\"} 3",
            "wireproof_tcp_flows_total{opening=\"missed\"} 2",
            "wireproof_spool_bytes 2",
            "wireproof_undelivered_flows_total 3",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("veth64"), "more than {INTERFACES} interfaces have a series");
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wireproof.prom");
        let metrics = Metrics::open(file.clone()).unwrap();
        assert_eq!(metrics.folder(), folder.path());
        let before = std::fs::File::open(&file).unwrap();
        let coverage = Coverage { bytes: 77, ..Coverage::default() };
        metrics.write(&Summary::default(), &coverage, None).unwrap();
        let old = io::read_to_string(before).unwrap();
        assert!(old.contains("wireproof_capture_bytes_total 0"), "who reads the old file sees all of it");
        assert!(std::fs::read_to_string(&file).unwrap().contains("wireproof_capture_bytes_total 77"));
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names, ["wireproof.prom"]);
        assert!(Metrics::open(folder.path().join("missing/wireproof.prom")).is_err());
    }
}
