//! Every case of `testdata/` through the whole line: its flows, its findings, and the tables that a person reviewed.
//!
//! `UPDATE=1` writes the goldens again; the diff is then reviewed, the README's tables included.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may stop here")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;

use analyzer::audit::Auditor;
use analyzer::mesh::{Manifest, Mesh};
use analyzer::report::Judged;
use analyzer::translation;
use flow::Flow;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

fn cases() -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(root().join("testdata"))
        .expect("testdata is there")
        .filter_map(|entry| {
            let path = entry.expect("testdata reads").path();
            let complete = path.join("capture.pcap").exists() && path.join("mesh.yaml").exists();
            complete.then(|| path.file_name().expect("a case has a name").to_string_lossy().into_owned())
        })
        .collect();
    names.sort();
    names
}

/// Runs the program from the workspace's root, so that the paths in its answer are the same on every machine.
fn wireproof(arguments: &[&str]) -> Output {
    assert_cmd::Command::cargo_bin("wireproof")
        .expect("the program is built")
        .current_dir(root())
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn flows(case: &str) -> Output {
    wireproof(&["flows", &format!("testdata/{case}/capture.pcap"), "-o", "ndjson"])
}

fn replay(case: &str) -> Output {
    let capture = format!("testdata/{case}/capture.pcap");
    wireproof(&["replay", &capture, "--mesh", &format!("testdata/{case}/mesh.yaml"), "-o", "json"])
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the answer is UTF-8")
}

fn check_golden(case: &str, name: &str, actual: &str) {
    let path = root().join("testdata").join(case).join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, actual).expect("the golden file is written");
        return;
    }
    let expected = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE=1 writes it", path.display()));
    for (number, (is, should)) in actual.lines().zip(expected.lines()).enumerate() {
        assert_eq!(is, should, "{case}/{name}:{}; UPDATE=1 writes it again, to be reviewed", number + 1);
    }
    assert_eq!(actual.lines().count(), expected.lines().count(), "{case}/{name} has other lines");
}

fn readme(case: &str) -> String {
    fs::read_to_string(root().join("testdata").join(case).join("README.md"))
        .unwrap_or_else(|error| panic!("{case}/README.md: {error}"))
}

/// The rows below a heading of a case's README, cell by cell; absent where there is no such heading.
fn table(case: &str, heading: &str) -> Option<Vec<Vec<String>>> {
    let text = readme(case);
    let mut lines = text.lines().skip_while(|line| *line != heading).skip(1).peekable();
    lines.peek()?;
    let rows = lines
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    Some(rows)
}

/// What tells one connection of a case from another: edge, SNI (`-`: none), class, judgement.
type Key = (String, String, String, String);

/// Reads the rows `| name | client -> server:port | sni | flows | class | judgement | why |` below `## Connections`.
fn connections(case: &str) -> Option<BTreeMap<Key, (String, u64)>> {
    let mut found = BTreeMap::new();
    for row in table(case, "## Connections")? {
        let [name, edge, sni, flows, class, judgement, _why] = row.as_slice() else {
            panic!("{case}/README.md: seven cells expected: {row:?}");
        };
        let flows = flows.parse().unwrap_or_else(|_| panic!("{case}/README.md: a count expected: {row:?}"));
        let key = (edge.clone(), sni.clone(), class.clone(), judgement.clone());
        let before = found.insert(key, (name.clone(), flows));
        assert_eq!(before, None, "{case}/README.md: told apart by nothing: {row:?}");
    }
    Some(found)
}

/// Judges every flow of a case, as `replay` does before it groups them.
fn judged(case: &str) -> Vec<Judged> {
    let file = format!("testdata/{case}/mesh.yaml");
    let text = fs::read_to_string(root().join(&file)).expect("the case has a mesh");
    let (mesh, _) = Mesh::load(vec![Manifest { file, text }]);
    let auditor = Auditor::new(Arc::new(mesh));
    let mut judged: Vec<Judged> = text_of(flows(case).stdout)
        .lines()
        .map(|line| auditor.judge(&serde_json::from_str::<Flow>(line).expect("a flow reads back")))
        .collect();
    translation::join(&mut judged);
    judged
}

fn key(judged: &Judged) -> Key {
    let sni = judged.flow.tls().and_then(|tls| tls.sni.clone());
    let ids: String = judged.violations.iter().map(|violation| format!(" {}", violation.id)).collect();
    (
        format!("{} -> {}:{}", judged.client.name(), judged.server.name(), judged.flow.server.port),
        sni.unwrap_or_else(|| "-".to_owned()),
        judged.flow.security.class().to_string(),
        format!("{}{ids}", judged.judgement),
    )
}

/// One finding as the README's table has it: id, edge, flows, deciding resource (absent: not told).
type Reviewed = (String, String, u64, Option<String>);

/// Reads the rows `| OB.. | client -> server:port | flows | class | resource | why |` of a case's README.
fn reviewed(case: &str) -> Vec<Reviewed> {
    let mut rows: Vec<_> = readme(case)
        .lines()
        .filter(|line| line.starts_with("| OB"))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [id, edge, flows, _class, resource, _why] = cells.as_slice() else {
                panic!("{case}/README.md: six cells expected: {line}");
            };
            let resource = resource.contains('/').then(|| (*resource).to_owned());
            let flows =
                flows.parse().unwrap_or_else(|_| panic!("{case}/README.md: a count expected: {line}"));
            ((*id).to_owned(), (*edge).to_owned(), flows, resource)
        })
        .collect();
    rows.sort();
    rows
}

fn found(audit: &Value) -> Vec<Reviewed> {
    let word = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
    let name = |party: &Value| match (word(party, "namespace"), word(party, "workload")) {
        (Some(namespace), Some(workload)) => format!("{namespace}/{workload}"),
        (_, Some(workload)) => workload,
        (_, None) => word(party, "address").expect("a party has an address"),
    };
    let mut rows: Vec<_> = audit["findings"]
        .as_array()
        .expect("findings is a list")
        .iter()
        .map(|finding| {
            let edge =
                format!("{} -> {}:{}", name(&finding["client"]), name(&finding["server"]), finding["port"]);
            (
                word(finding, "id").expect("a finding has an id"),
                edge,
                finding["flows"].as_u64().expect("a count"),
                word(finding, "cause"),
            )
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn every_case_classifies_as_reviewed() {
    for case in cases() {
        let output = flows(&case);
        assert_eq!(output.status.code(), Some(0), "{case}: {}", text_of(output.stderr));
        let lines = text_of(output.stdout);
        let lines: Vec<_> = lines.lines().collect();
        check_golden(&case, "flows.json", &format!("[\n{}\n]\n", lines.join(",\n")));
    }
}

#[test]
fn a_bound_on_connections_costs_no_flow_and_says_that_it_acted() {
    let flows = |arguments: &[&str]| {
        let output =
            wireproof(&[&["flows", "testdata/boutique/capture.pcap", "-o", "ndjson"], arguments].concat());
        let mut lines: Vec<_> = text_of(output.stdout).lines().map(str::to_owned).collect();
        lines.sort();
        (lines, text_of(output.stderr))
    };
    let (all, silence) = flows(&[]);
    let (bounded, said) = flows(&["--max-connections", "1"]);
    assert_eq!(silence, "");
    assert_eq!(bounded, all, "every connection had closed before it gave way");
    assert!(said.starts_with("wireproof: not used: table-full "), "{said}");
}

#[test]
fn every_case_audits_as_reviewed() {
    for case in cases() {
        let output = replay(&case);
        let errors = text_of(output.stderr);
        let answer = text_of(output.stdout);
        let audit: Value =
            serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{case}: {error}: {errors}"));
        assert_eq!(found(&audit), reviewed(&case), "{case}: the findings (left) are not those of its README");
        let status = if reviewed(&case).is_empty() { 0 } else { 1 };
        assert_eq!(output.status.code(), Some(status), "{case}: {errors}");
        assert_eq!(errors, "", "{case}: a well-formed case is read without a remark");
        check_golden(&case, "findings.json", &answer);
    }
}

#[test]
fn every_named_connection_is_judged_as_reviewed() {
    let mut named = 0;
    for case in cases() {
        let Some(reviewed) = connections(&case) else { continue };
        named += 1;
        let judged = judged(&case);
        let mut seen: BTreeMap<Key, u64> = BTreeMap::new();
        for each in &judged {
            *seen.entry(key(each)).or_default() += 1;
        }
        let counts: BTreeMap<Key, u64> =
            reviewed.iter().map(|(key, (_, flows))| (key.clone(), *flows)).collect();
        assert_eq!(seen, counts, "{case}: the connections (left) are not those of its README");
        let lines: Vec<_> = judged
            .iter()
            .map(|each| {
                let (edge, sni, class, judgement) = key(each);
                let expected = each.expected.as_ref();
                let line = json!({
                    "connection": reviewed[&key(each)].0,
                    "flow": each.flow.id,
                    "edge": edge,
                    "sni": sni,
                    "class": class,
                    "proof": each.flow.security.evidence().proof,
                    "server_mode": expected.and_then(|expected| expected.server_mode),
                    "client_tls": expected.and_then(|expected| expected.client_tls),
                    "allowed": expected.map(|expected| &expected.allowed),
                    "client_wire": expected.map(|expected| &expected.client_wire),
                    "conflict": expected.and_then(|expected| expected.conflict),
                    "judgement": judgement,
                    "basis": each.basis,
                });
                line.to_string()
            })
            .collect();
        check_golden(&case, "connections.json", &format!("[\n{}\n]\n", lines.join(",\n")));
    }
    assert!(named > 0, "no case names its connections");
}

/// The static findings of the cases whose README has them.
#[test]
fn every_case_lints_as_reviewed() {
    let mut reviewed = 0;
    for case in cases() {
        let Some(rows) = table(&case, "## Lint") else { continue };
        reviewed += 1;
        let output = wireproof(&["lint", "--mesh", &format!("testdata/{case}/mesh.yaml"), "-o", "json"]);
        let value: Value = serde_json::from_slice(&output.stdout).expect("lint answers in JSON");
        let mut found: Vec<_> = value["findings"]
            .as_array()
            .expect("findings is a list")
            .iter()
            .map(|finding| {
                let word = |key: &str| finding[key].as_str().expect("a word").to_owned();
                (word("id"), word("resource"))
            })
            .collect();
        let mut expected: Vec<_> = rows
            .iter()
            .map(|row| match row.as_slice() {
                [id, resource, _why] => (id.clone(), resource.clone()),
                _ => panic!("{case}/README.md: three cells expected: {row:?}"),
            })
            .collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{case}: the static findings (left) are not those of its README");
    }
    assert!(reviewed > 0, "no case lists its static findings");
}

/// A capture of another cluster than the declarations are of, or of nothing: no finding is no evidence then.
#[test]
fn an_audit_that_judged_nothing_does_not_read_like_a_clean_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mesh, empty) = (folder.path().join("mesh.yaml"), folder.path().join("empty.pcap"));
    fs::write(&mesh, "apiVersion: v1\nkind: Namespace\nmetadata: {name: elsewhere}\n").expect("written");
    let capture = root().join("testdata/boutique/capture.pcap");
    fs::write(&empty, &fs::read(&capture).expect("the capture")[..24]).expect("written");
    for (capture, said) in [
        (&capture, "No flow could be held against a declaration"),
        (&empty, "No flow with payload was captured"),
    ] {
        let replay = |more: &[&str]| {
            let [capture, mesh] = [capture, &mesh].map(|path| path.to_str().expect("UTF-8"));
            wireproof(&[&["replay", capture, "--mesh", mesh], more].concat())
        };
        let told = replay(&[]);
        let (text, warned) = (text_of(told.stdout), text_of(told.stderr));
        assert!(text.contains(said) && !text.contains("Nothing breaks"), "{text}");
        assert!(warned.contains(said), "{warned}");
        assert_eq!(told.status.code(), Some(0), "findings decide, where nothing else is asked for");
        let told = replay(&["-o", "json", "--min-judged", "1"]);
        let audit: Value = serde_json::from_slice(&told.stdout).expect("the answer is JSON");
        assert_eq!((told.status.code(), &audit["summary"]["judged"]), (Some(5), &json!(0)));
        assert!(text_of(told.stderr).contains(said));
    }
    let whole = wireproof(&[
        "replay",
        "testdata/clean/capture.pcap",
        "--mesh",
        "testdata/clean/mesh.yaml",
        "-o",
        "json",
        "--min-judged",
        "1",
    ]);
    let audit: Value = serde_json::from_slice(&whole.stdout).expect("the answer is JSON");
    assert_eq!((whole.status.code(), text_of(whole.stderr).as_str()), (Some(0), ""));
    assert_eq!(audit["summary"]["judged"], audit["summary"]["judgements"]["conforms"]);
}

#[test]
fn two_runs_give_the_same_bytes() {
    for case in cases() {
        assert_eq!(flows(&case).stdout, flows(&case).stdout, "{case}: flows");
        assert_eq!(replay(&case).stdout, replay(&case).stdout, "{case}: replay");
    }
}

#[test]
fn every_case_says_how_it_was_made() {
    let names = cases();
    assert!(names.len() >= 3, "only {names:?}");
    for case in names {
        assert!(readme(&case).contains(&format!("testdata/recipe/make-case.sh {case}")), "{case}/README.md");
    }
}

#[test]
fn a_flow_is_judged_by_the_declarations_in_force_when_it_began() {
    let findings = |arguments: &[&str]| {
        let output =
            wireproof(&[&["replay", "testdata/boutique/capture.pcap", "-o", "json"], arguments].concat());
        let audit: Value = serde_json::from_slice(&output.stdout).expect("the answer is JSON");
        audit["findings"].clone()
    };
    let (boutique, clean) = ("testdata/boutique/mesh.yaml", "testdata/clean/mesh.yaml");
    let expected = findings(&["--mesh", boutique]);
    let before = format!("1980-01-01T00:00:00Z={boutique}");
    let after = format!("2100-01-01T00:00:00+02:00={clean}");
    assert_ne!(findings(&["--mesh", clean]), expected);
    assert_eq!(findings(&["--mesh", clean, "--mesh-at", &before, "--mesh-at", &after]), expected);
    let wrong =
        wireproof(&["replay", "testdata/boutique/capture.pcap", "--mesh", clean, "--mesh-at", boutique]);
    assert_eq!(wrong.status.code(), Some(2), "a time is asked for");
}

#[test]
fn ctrl_c_ends_what_is_read_from_a_pipe_and_is_answered() {
    let mut running = std::process::Command::new(assert_cmd::cargo::cargo_bin("wireproof"))
        .current_dir(root())
        .args(["replay", "-", "--mesh", "testdata/boutique/mesh.yaml", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let capture = fs::read(root().join("testdata/boutique/capture.pcap")).expect("the capture");
    // More than a pipe holds: once it is written the program is reading.
    assert!(capture.len() > 128 * 1024);
    let mut input = running.stdin.take().expect("a pipe");
    input.write_all(&capture).expect("written");
    let process = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(process, rustix::process::Signal::INT).expect("sent");
    let said = running.wait_with_output().expect("it ends");
    // Only now does the writer leave.
    drop(input);
    let audit: Value = serde_json::from_slice(&said.stdout).expect("the answer is JSON");
    let whole: Value = serde_json::from_slice(&replay("boutique").stdout).expect("the answer is JSON");
    assert_eq!((said.status.code(), &audit["findings"]), (Some(1), &whole["findings"]));
    assert_eq!(audit["coverage"]["damaged"], json!([]));
}
