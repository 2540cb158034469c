//! Bad input: one clear message that says what, where and what to do, the documented exit status, and the rest of the
//! input still processed.

#![expect(clippy::expect_used, reason = "a test may stop here")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

/// A case whose audit finds nothing: whatever is reported beside it comes from the bad input.
fn clean(file: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    root.join("testdata/clean").join(file)
}

/// What a run said.
struct Said {
    status: Option<i32>,
    answer: String,
    errors: String,
}

impl Said {
    fn flows(&self) -> usize {
        self.answer.lines().count()
    }

    fn audit(&self) -> Value {
        serde_json::from_str(&self.answer).expect("the answer is JSON")
    }

    /// Demands one message on standard error, with all of these words in it.
    fn one_message(&self, words: &[&str]) {
        let lines: Vec<_> = self.errors.lines().collect();
        assert_eq!(lines.len(), 1, "one message expected: {}", self.errors);
        for word in words {
            assert!(self.errors.contains(word), "'{word}' expected in: {}", self.errors);
        }
    }
}

fn wireproof(arguments: &[&Path]) -> Said {
    let output = assert_cmd::Command::cargo_bin("wireproof")
        .expect("the program is built")
        .args(arguments)
        .output()
        .expect("the program runs");
    Said {
        status: output.status.code(),
        answer: String::from_utf8(output.stdout).expect("UTF-8"),
        errors: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn flows_of(captures: &[&Path]) -> Said {
    let mut arguments = vec![Path::new("flows"), Path::new("-o"), Path::new("ndjson")];
    arguments.extend(captures);
    wireproof(&arguments)
}

/// Writes a capture of these bytes and classifies it.
fn flows(name: &str, bytes: &[u8]) -> Said {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("written");
    flows_of(&[&path])
}

/// Audits the clean case with these declarations beside its own.
fn replay_with(name: &str, yaml: &str) -> Said {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, yaml).expect("written");
    let (capture, mesh) = (clean("capture.pcap"), clean("mesh.yaml"));
    let option = Path::new("--mesh");
    wireproof(&[
        Path::new("replay"),
        &capture,
        option,
        &mesh,
        option,
        &path,
        Path::new("-o"),
        Path::new("json"),
    ])
}

fn capture() -> Vec<u8> {
    fs::read(clean("capture.pcap")).expect("the clean case has a capture")
}

/// The frames of a classic pcap in this machine's byte order: seconds, microseconds, bytes.
fn frames(pcap: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
    let number = |at: usize| u32::from_le_bytes(pcap[at..at + 4].try_into().expect("four bytes"));
    let mut at = 24;
    let mut frames = Vec::new();
    while at < pcap.len() {
        let length = number(at + 8) as usize;
        frames.push((number(at), number(at + 4), pcap[at + 16..at + 16 + length].to_vec()));
        at += 16 + length;
    }
    frames
}

/// One pcapng block: type, total length, padded body, total length.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let total = u32::try_from(padded + 12).expect("short");
    let mut bytes = Vec::new();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(total.to_le_bytes());
    bytes.extend(body);
    bytes.resize(8 + padded, 0);
    bytes.extend(total.to_le_bytes());
    bytes
}

/// The first `count` frames of the clean case as pcapng.
fn pcapng(count: usize) -> Vec<u8> {
    let mut bytes =
        block(0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    bytes.extend(block(1, &[1, 0, 0, 0, 0, 0, 0, 0]));
    for (seconds, micros, frame) in frames(&capture()).into_iter().take(count) {
        let at = u64::from(seconds) * 1_000_000 + u64::from(micros);
        let length = u32::try_from(frame.len()).expect("short");
        let high = u32::try_from(at >> 32).expect("a high half");
        let low = u32::try_from(at & 0xffff_ffff).expect("a low half");
        let body: Vec<u8> =
            [0, high, low, length, length].into_iter().flat_map(u32::to_le_bytes).chain(frame).collect();
        bytes.extend(block(6, &body));
    }
    bytes
}

#[test]
fn a_whole_pcapng_reads_as_its_pcap_does() {
    let as_pcap = flows("capture.pcap", &capture());
    let as_pcapng = flows("capture.pcapng", &pcapng(usize::MAX));
    assert_eq!((as_pcapng.status, as_pcapng.errors.as_str()), (Some(0), ""));
    let times = |said: &Said| -> Vec<Value> {
        said.answer
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .map(|flow| {
                serde_json::json!([
                    flow["start"],
                    flow["client"],
                    flow["server"],
                    flow["class"],
                    flow["proof"]
                ])
            })
            .collect()
    };
    assert_eq!(times(&as_pcap), times(&as_pcapng));
}

#[test]
fn an_empty_capture_is_an_input_error() {
    let said = flows("empty.pcap", b"");
    assert_eq!((said.status, said.flows()), (Some(3), 0));
    said.one_message(&["empty.pcap", "empty"]);
}

#[test]
fn a_text_file_is_no_capture() {
    let said = flows("notes.txt", b"These are my notes about the cluster, and no capture.\n");
    assert_eq!((said.status, said.flows()), (Some(3), 0));
    said.one_message(&["notes.txt", "pcap"]);
}

#[test]
fn a_missing_capture_is_named() {
    let said = flows_of(&[Path::new("/nowhere/missing.pcap")]);
    assert_eq!((said.status, said.flows()), (Some(3), 0));
    said.one_message(&["/nowhere/missing.pcap"]);
}

#[test]
fn a_truncated_capture_yields_what_came_before_the_cut() {
    let whole = capture();
    let said = flows("cut.pcap", &whole[..whole.len() / 2]);
    assert_eq!(said.status, Some(3));
    assert!((1..18).contains(&said.flows()), "{}", said.flows());
    said.one_message(&["cut.pcap", "byte"]);
}

#[test]
fn an_unknown_link_type_is_named() {
    let mut bytes = capture();
    bytes[20..24].copy_from_slice(&147u32.to_le_bytes());
    let said = flows("user0.pcap", &bytes);
    assert_eq!((said.status, said.flows()), (Some(3), 0));
    said.one_message(&["user0.pcap", "147"]);
}

#[test]
fn a_broken_block_yields_what_came_before_it() {
    let count = frames(&capture()).len() / 2;
    let before = flows("half.pcapng", &pcapng(count));
    assert_eq!((before.status, before.errors.as_str()), (Some(0), ""));
    let mut bytes = pcapng(count);
    bytes.extend(6u32.to_le_bytes());
    bytes.extend(13u32.to_le_bytes()); // no multiple of four, and shorter than its own frame
    bytes.extend([0; 64]);
    let said = flows("broken.pcapng", &bytes);
    assert_eq!(said.status, Some(3));
    assert_eq!(said.flows(), before.flows());
    said.one_message(&["broken.pcapng", "block"]);
}

#[test]
fn a_bad_capture_stops_no_other() {
    let folder = TempDir::new().expect("a folder");
    let text = folder.path().join("notes.txt");
    fs::write(&text, "no capture\n").expect("written");
    let said = flows_of(&[&text, &clean("capture.pcap")]);
    assert_eq!((said.status, said.flows()), (Some(3), 18));
    said.one_message(&["notes.txt"]);
}

/// Checks a bad document beside the clean case: one message with these words, this status, the same audit, and an entry
/// in `errors` that names file and line.
fn check_document(yaml: &str, status: i32, line: u64, words: &[&str]) {
    let said = replay_with("bad.yaml", yaml);
    assert_eq!(said.status, Some(status), "{}", said.errors);
    said.one_message(&["bad.yaml"]);
    said.one_message(words);
    let audit = said.audit();
    assert_eq!(audit["findings"], serde_json::json!([]), "{yaml}");
    assert_eq!(audit["coverage"]["flows"], 18, "{yaml}");
    let errors = audit["errors"].as_array().expect("errors is a list");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0]["line"], line, "{errors:?}");
    assert_eq!(errors[0]["fatal"], status == 3, "{errors:?}");
}

#[test]
fn yaml_that_is_no_kubernetes_object() {
    check_document("just: words\n", 3, 1, &["bad.yaml:1", "Kubernetes object", "apiVersion"]);
    check_document("- a\n- list\n", 3, 1, &["bad.yaml:1", "Kubernetes object"]);
}

#[test]
fn yaml_that_does_not_parse() {
    check_document("apiVersion: v1\nkind: Pod\nmetadata: [unclosed\n", 3, 3, &["bad.yaml:", "YAML"]);
}

#[test]
fn a_bad_document_stops_no_other_in_its_file() {
    let yaml = "just: words\n---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: spare\n";
    check_document(yaml, 3, 1, &["bad.yaml:1"]);
}

#[test]
fn an_unknown_field_is_noted_and_the_rest_counts() {
    let yaml = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: spare\n  namespace: web\n\
                spec:\n  selector:\n    matchLabels:\n      app: nobody\n  mtlss:\n    mode: STRICT\n";
    check_document(yaml, 0, 10, &["bad.yaml:10", "mtlss", "did you mean 'mtls'?"]);
}

#[test]
fn a_duplicate_resource_is_left_out() {
    let yaml = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: default\n  namespace: istio-system\n\
                spec:\n  mtls:\n    mode: DISABLE\n";
    check_document(
        yaml,
        3,
        1,
        &["bad.yaml:1", "PeerAuthentication/istio-system/default", "twice", "mesh.yaml:"],
    );
}

#[test]
fn an_unsupported_kind_is_noted() {
    let policy = |kind: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata:\n  name: spare\n  namespace: web\nspec: {{}}\n"
        )
    };
    check_document(&policy("MeshPolicy"), 0, 1, &["bad.yaml:1", "MeshPolicy"]);
    let filter = "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata:\n  name: spare\n  namespace: web\n";
    check_document(filter, 0, 1, &["bad.yaml:1", "EnvoyFilter"]);
}

#[test]
fn declarations_that_are_missing_or_no_text_are_named() {
    for (name, bytes) in [("absent.yaml", None), ("binary.yaml", Some([0xff, 0, 0xfe, 1]))] {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join(name);
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).expect("written");
        }
        let capture = clean("capture.pcap");
        let said = wireproof(&[Path::new("replay"), &capture, Path::new("--mesh"), &path]);
        assert_eq!((said.status, said.answer.as_str()), (Some(3), ""), "{name}: {}", said.errors);
        said.one_message(&[name]);
    }
}

#[test]
fn declarations_that_declare_nothing_are_no_clean_mesh() {
    // A redirected command that failed, and what kubectl prints where it finds nothing.
    let list = "apiVersion: v1\nitems: []\nkind: List\nmetadata:\n  resourceVersion: \"\"\n";
    let typed = r#"{"apiVersion":"v1","kind":"PodList","items":[]}"#;
    let null = "kind: List  # of any kind\napiVersion: v1\nitems: null\n";
    let twice = format!("{list}---\n{list}");
    for text in ["", "---\n# nothing\n", "--- # nothing\n...\n", list, typed, null, &twice] {
        let (said, answer) = lint_file("mesh.yaml", text.as_bytes());
        assert_eq!(said.status, Some(3), "{text}: {}", said.errors);
        said.one_message(&["mesh.yaml", "nothing is declared"]);
        assert_eq!(answer["errors"][0]["fatal"], true, "{text}");
        // Beside others it is what is in no namespace of them.
        let said = replay_with("list.yaml", text);
        assert_eq!(said.status, Some(0), "{text}: {}", said.errors);
    }
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    let said = wireproof(&[Path::new("replay"), Path::new("--nonsense")]);
    assert_eq!((said.status, said.answer.as_str()), (Some(2), ""));
}

/// Lints one file of these bytes; the answer's JSON beside what was said.
fn lint_file(name: &str, bytes: &[u8]) -> (Said, Value) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("written");
    lint_path(&path)
}

fn lint_path(path: &Path) -> (Said, Value) {
    let said = wireproof(&[Path::new("lint"), Path::new("--mesh"), path, Path::new("-o"), Path::new("json")]);
    let answer = said.audit();
    (said, answer)
}

/// A Service with a finding of its own, PN01, if it was read.
fn service(namespace: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: plain, namespace: {namespace}}}\nspec: {{ports: [{{port: 80}}]}}\n"
    )
}

/// How many of those Services were read.
fn services_read(answer: &Value) -> usize {
    let findings = answer["findings"].as_array().expect("findings");
    findings.iter().filter(|finding| finding["id"] == "PN01").count()
}

/// Checks a file with bad pieces and `read` good Services: one error a bad piece, with its line and these words.
fn check_file(text: &str, read: usize, bad: &[(u64, &str)]) {
    let (said, answer) = lint_file("mesh.yaml", text.as_bytes());
    let errors = answer["errors"].as_array().expect("errors is a list");
    assert_eq!(errors.len(), bad.len(), "{errors:?}");
    for (error, (line, words)) in errors.iter().zip(bad) {
        assert_eq!(error["line"], *line, "{errors:?}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(words), "'{words}' expected in: {message}");
        assert!(!message.contains(" at line "), "a line of the document, not of the file: {message}");
        assert!(said.errors.contains(&format!("mesh.yaml:{line}: ")), "{}", said.errors);
    }
    assert_eq!(services_read(&answer), read, "{}", answer["findings"]);
    let fatal = errors.iter().any(|error| error["fatal"] == true);
    assert_eq!(said.status == Some(3), fatal, "{:?}", said.status);
}

#[test]
fn alias_bombs_end_early_and_alone() {
    let mut bomb =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx:\n- &a0 [l,l,l,l,l,l,l,l,l]\n".to_owned();
    for level in 1..12 {
        let inner = vec![format!("*a{}", level - 1); 9].join(",");
        bomb.push_str(&format!("- &a{level} [{inner}]\n"));
    }
    let text = format!("{}---\n{bomb}---\n{}", service("a"), service("b"));
    check_file(&text, 2, &[(14, "aliases expand to more than 50000")]);
    // A handful of aliases is no bomb.
    check_file(
        "apiVersion: v1\nkind: Service\nmetadata: &m {name: plain, namespace: a}\nx: *m\nspec: {ports: [{port: 80}]}\n",
        1,
        &[],
    );
}

#[test]
fn deep_nesting_ends_early_and_alone() {
    let flow = format!("apiVersion: v1\nkind: Pod\nx: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let block: String = (1..5000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let text = format!("{flow}---\nx:\n{block}---\n{}", service("a"));
    check_file(&text, 1, &[(3, "64 levels deep"), (69, "64 levels deep")]);
}

#[test]
fn more_documents_than_are_read_are_named() {
    let mut text = service("a");
    text.push_str(&"---\napiVersion: v1\nkind: Secret\n".repeat(9_999));
    text.push_str(&format!("---\n{}", service("b")));
    let (said, answer) = lint_file("many.yaml", text.as_bytes());
    assert_eq!((said.status, services_read(&answer)), (Some(3), 1));
    said.one_message(&["many.yaml:", "more than 10000 documents", "split"]);
}

#[test]
fn a_document_that_is_too_long_stops_no_other() {
    let filler = format!("# {}\n", "x".repeat(1022)).repeat(64 * 1024);
    let text = format!("{}---\napiVersion: v1\nkind: Pod\n{filler}---\n{}", service("a"), service("b"));
    let (said, answer) = lint_file("long.yaml", text.as_bytes());
    assert_eq!((said.status, services_read(&answer)), (Some(3), 2));
    said.one_message(&["long.yaml:6", "longer than", "split"]);
}

#[test]
fn every_mistake_of_a_file_is_told() {
    let text = format!(
        "a: [\n---\n{}---\nmetadata:\n\tname: x\n---\nkind: Pod\nkind: Pod\n---\nname: {{{{ .Values.x }}}}\n---\n{}",
        service("a"),
        service("b")
    );
    check_file(&text, 2, &[(1, "unclosed"), (9, "tab"), (12, "duplicate"), (14, "render it first")]);
}

#[test]
fn what_tools_print_is_read() {
    // A byte order mark, line ends of Windows, empty documents and comments, as helm and kustomize print them.
    let helm = format!(
        "\u{feff}---\n# Source: a.yaml\n---\n# Source: b.yaml\n{}---\n\n...\n---\n{}",
        service("a"),
        service("b")
    );
    check_file(&helm.replace('\n', "\r\n"), 2, &[]);
    let item = |namespace: &str| serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "plain", "namespace": namespace}, "spec": {"ports": [{"port": 80}]}});
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [item("a"), {"no": "object"}, item("b")]});
    check_file(&serde_json::to_string_pretty(&list).expect("JSON"), 2, &[(19, "no Kubernetes object")]);
    let typed = serde_json::json!({"apiVersion": "v1", "kind": "ServiceList", "items": [item("a")]});
    check_file(&typed.to_string(), 1, &[]);
    check_file(&format!("apiVersion: v1\nkind: List\nitems: []\n---\n{}", service("a")), 1, &[]);
    // JSON values after each other, on a line each and on several, as `jq '.items[]'` prints them.
    let bad = serde_json::json!({"no": "object"});
    let values = format!("{}\n{bad}\n{:#}\n", item("a"), item("b"));
    check_file(&values, 2, &[(2, "no Kubernetes object")]);
    // What is YAML stays YAML, be it in braces.
    check_file(
        "{apiVersion: v1, kind: Service, metadata: {name: plain, namespace: a}, spec: {ports: [{port: 80}]}}\n",
        1,
        &[],
    );
}

#[test]
fn text_of_windows_is_read() {
    let text = service("\u{fc}ber");
    for order in [u16::to_le_bytes, u16::to_be_bytes] {
        let bytes: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(order).collect();
        let (said, answer) = lint_file("mesh.yaml", &bytes);
        assert_eq!(services_read(&answer), 1, "{}", said.errors);
        let folder = TempDir::new().expect("a folder");
        let half = folder.path().join("mesh.yaml");
        fs::write(&half, &bytes[..bytes.len() - 1]).expect("written");
        let said = wireproof(&[Path::new("lint"), Path::new("--mesh"), &half]);
        assert_eq!(said.status, Some(3));
        said.one_message(&["mesh.yaml", "not UTF-8"]);
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_in_a_folder_is_left_out() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("a.yml"), service("a")).expect("written");
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("b.yml")).status();
    assert!(made.expect("mkfifo runs").success());
    let (said, answer) = lint_path(folder.path());
    assert_eq!(services_read(&answer), 1, "{}", said.errors);
    said.one_message(&["b.yml", "a pipe"]);
}

#[test]
fn what_istio_rejects_has_no_effect() {
    let clean_findings =
        replay_with("none.yaml", "apiVersion: v1\nkind: List\nitems: []\n").audit()["findings"].clone();
    let rejected = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: odd, namespace: web}\nspec:\n  mtls:\n    mode: DISABLED\n";
    let said = replay_with("odd.yaml", rejected);
    assert_eq!(said.status, Some(3));
    said.one_message(&[
        "odd.yaml:6",
        "PeerAuthentication/web/odd",
        "'DISABLED' is none of",
        "did you mean 'DISABLE'?",
        "rejects",
        "no effect",
    ]);
    assert_eq!(said.audit()["findings"], clean_findings);
    for (spec, line, words) in [
        ("mtls: STRICT", 4, "spec.mtls is not an object"),
        ("portLevelMtls: {http: {mode: STRICT}}", 4, "'http' is no port"),
    ] {
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: odd, namespace: web}}\nspec: {{{spec}}}\n"
        );
        check_file(&text, 0, &[(line, words)]);
    }
}

#[test]
fn the_same_note_comes_once() {
    let rule = |name: &str| {
        format!(
            "apiVersion: networking.istio.io/v9\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: web}}\nspec:\n  host: {name}.example.com\n  trafficPolicy:\n    tls:\n      mode: DISABLE\n      modus: x\n"
        )
    };
    let text = ["a", "b", "c"].map(rule).join("---\n");
    check_file(
        &text,
        0,
        &[(1, "unknown version 'networking.istio.io/v9'"), (9, "spec.trafficPolicy.tls.modus is no field")],
    );
    let (_, answer) = lint_file("mesh.yaml", text.as_bytes());
    for error in answer["errors"].as_array().expect("errors") {
        assert!(error["message"].as_str().expect("text").ends_with("(and 2 more like it)"), "{error}");
        assert_eq!(error["fatal"], false);
    }
}

#[cfg(unix)]
#[test]
fn links_that_lead_in_circles_are_read_once() {
    let folder = TempDir::new().expect("a folder");
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("made");
    fs::write(inner.join("a.yml"), service("a")).expect("written");
    fs::write(inner.join("b.json"), "{}").expect("written");
    fs::write(inner.join("notes.txt"), "no yaml").expect("written");
    std::os::unix::fs::symlink(folder.path(), inner.join("circle")).expect("linked");
    std::os::unix::fs::symlink(&inner, folder.path().join("again")).expect("linked");
    let (said, answer) = lint_path(folder.path());
    assert_eq!(services_read(&answer), 1, "{}", said.errors);
    said.one_message(&["b.json", "no Kubernetes object"]);
}

#[test]
fn declarations_come_from_standard_input() {
    let run = |arguments: &[&str]| {
        assert_cmd::Command::cargo_bin("wireproof")
            .expect("the program is built")
            .args(arguments)
            .write_stdin(service("a"))
            .output()
            .expect("the program runs")
    };
    let output = run(&["lint", "--mesh", "-", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(services_read(&answer), 1);
    assert_eq!(answer["findings"][0]["file"], "standard input");
    let both = run(&["replay", "-", "--mesh", "-"]);
    assert_eq!((both.status.code(), both.stdout.as_slice()), (Some(2), &b""[..]));
    assert!(String::from_utf8_lossy(&both.stderr).contains("standard input"));
}
