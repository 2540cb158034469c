//! `wireproof lint` as people and pipelines call it.

#![expect(clippy::expect_used, reason = "a test may stop here")]

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

fn lint(arguments: &[&str]) -> Output {
    assert_cmd::Command::cargo_bin("wireproof")
        .expect("the program is built")
        .current_dir(root())
        .arg("lint")
        .args(arguments)
        .output()
        .expect("the program runs")
}

const MESH: [&str; 2] = ["--mesh", "testdata/boutique/mesh.yaml"];

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn with(more: &[&str]) -> Output {
    lint(&[&MESH[..], more].concat())
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_finding_stands_under_its_line() {
    let said = text(&with(&[]));
    let expected = "\
   --> testdata/boutique/mesh.yaml:870:7
    |
870 |       mode: DISABLE
    |       ^^^^^^^^^^^^^ DestinationRule/orders/ledger-plaintext
    |
    = help: ";
    assert!(said.contains(expected), "{said}");
    assert!(said.starts_with("critical[XC01]: "), "{said}");
    assert!(!said.contains('\u{1b}'), "no colour when piped");
}

#[test]
fn ids_are_selected_and_ignored() {
    let ids = |output: &Output| -> Vec<String> {
        let answer = json(output);
        let findings = answer["findings"].as_array().expect("findings").clone();
        let mut ids: Vec<_> =
            findings.iter().map(|finding| finding["id"].as_str().expect("an id").to_owned()).collect();
        ids.sort();
        ids.dedup();
        ids
    };
    let all = ids(&with(&["-o", "json"]));
    let some = ids(&with(&["-o", "json", "--select", "xc,DR12", "--ignore", "XC03"]));
    assert!(all.len() > some.len());
    assert_eq!(
        some,
        all.iter()
            .filter(|id| id.starts_with("XC") && *id != "XC03" || *id == "DR12")
            .cloned()
            .collect::<Vec<_>>()
    );
    let none = with(&["--select", "AM"]);
    assert_eq!((none.status.code(), text(&none).as_str()), (Some(0), "0 findings, 0 documents not read\n"));
    assert_eq!(with(&["--select", "ZZ"]).status.code(), Some(2));
}

#[test]
fn a_page_is_printed_without_any_mesh() {
    let said = lint(&["--explain", "dr02"]);
    let page = std::fs::read_to_string(root().join("docs/findings/DR02.md")).expect("the page is there");
    assert_eq!((said.status.code(), text(&said).trim()), (Some(0), page.trim()));
    let unknown = lint(&["--explain", "DR99"]);
    assert_eq!((unknown.status.code(), text(&unknown).as_str()), (Some(2), ""));
    // Without a mesh and without a page to print, the command has nothing to do.
    assert_eq!(lint(&[]).status.code(), Some(2));
}

#[test]
fn sarif_points_at_the_same_lines() {
    let findings = json(&with(&["-o", "json"]))["findings"].as_array().expect("findings").clone();
    let log = json(&with(&["-o", "sarif"]));
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let results = run["results"].as_array().expect("results");
    assert_eq!(results.len(), findings.len());
    for (result, finding) in results.iter().zip(&findings) {
        assert_eq!(result["ruleId"], finding["id"]);
        let index = usize::try_from(result["ruleIndex"].as_u64().expect("a number")).expect("small");
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], finding["id"]);
        if finding["line"].is_null() {
            continue;
        }
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], finding["file"]);
        assert_eq!(place["region"]["startLine"], finding["line"]);
        assert!(place["region"]["startColumn"].as_u64() < place["region"]["endColumn"].as_u64(), "{place}");
    }
}

#[test]
fn github_gets_one_command_a_finding() {
    let findings = json(&with(&["-o", "json"]))["findings"].as_array().expect("findings").len();
    let said = text(&with(&["-o", "github"]));
    assert_eq!(said.lines().count(), findings);
    for line in said.lines() {
        assert!(
            ["::error ", "::warning ", "::notice "].iter().any(|start| line.starts_with(start)),
            "{line}"
        );
    }
}

#[test]
fn a_reader_that_leaves_early_does_not_make_it_clean() {
    let mut running = std::process::Command::new(assert_cmd::cargo::cargo_bin("wireproof"))
        .current_dir(root())
        .args(["lint", "--mesh", "testdata/boutique/mesh.yaml"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(running.stdout.take());
    assert_eq!(running.wait().expect("it ends").code(), Some(1));
}
