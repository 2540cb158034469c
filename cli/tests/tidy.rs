//! What clippy cannot see: rules on the tree itself.

#![expect(clippy::expect_used, reason = "a test may stop here")]

use std::fs;
use std::path::{Path, PathBuf};

use cluster::KINDS;

#[test]
fn no_module_is_named_after_nothing() {
    let nothing = ["utils", "util", "common", "helpers", "helper", "types", "manager", "misc"];
    let found: Vec<_> = sources("rs")
        .into_iter()
        .filter(|path| {
            path.file_stem().is_some_and(|stem| nothing.iter().any(|name| stem == *name))
                || path.components().any(|part| nothing.iter().any(|name| part.as_os_str() == *name))
        })
        .collect();
    assert!(found.is_empty(), "named after nothing: {found:?}");
}

#[test]
fn long_files_have_a_reason() {
    // A flat catalogue may be long; it says so in its header with the words "flat catalogue".
    let found: Vec<_> = sources("rs")
        .into_iter()
        .filter(|path| !path.components().any(|part| part.as_os_str() == "tests"))
        .filter_map(|path| {
            let text = fs::read_to_string(&path).expect("a source file reads");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
            (lines > 600 && !text.contains("flat catalogue")).then_some((path, lines))
        })
        .collect();
    assert!(found.is_empty(), "longer than 600 lines outside tests: {found:?}");
}

#[test]
fn no_test_is_switched_off() {
    let marks = [concat!("#[", "ignore"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    let found: Vec<_> = sources("rs")
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(path).expect("a source file reads");
            marks.iter().any(|mark| text.contains(mark))
        })
        .collect();
    assert!(found.is_empty(), "ignored tests or unfinished code: {found:?}");
}

#[test]
fn every_case_is_complete() {
    let mut cases = 0;
    for entry in fs::read_dir(root().join("testdata")).expect("testdata is there") {
        let case = entry.expect("an entry reads").path();
        if case.join("capture.pcap").exists() {
            cases += 1;
            for file in ["README.md", "mesh.yaml", "flows.json", "findings.json"] {
                assert!(case.join(file).exists(), "{} lacks {file}", case.display());
            }
        }
    }
    assert!(cases >= 3, "only {cases} cases of real traffic");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut pages = sources("md");
    pages.retain(|page| !page.components().any(|part| part.as_os_str() == "node_modules"));
    assert!(pages.len() > 5, "the pages were not found");
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page reads");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next()) {
            if target.is_empty() || target.contains("://") || target.contains('`') {
                continue;
            }
            let folder = page.parent().expect("a page has a folder");
            assert!(folder.join(target).exists(), "{} links to {target}, which is not there", page.display());
        }
    }
}

#[test]
fn the_readme_collects_every_kind_that_decides_answers() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README reads");
    let commands: String = readme.lines().filter(|line| line.starts_with("kubectl get ")).collect();
    for kind in KINDS.iter().filter(|kind| !kind.group.ends_with(".x-k8s.io")) {
        // Two groups have a kind of this name, so each is named whole.
        let name = if kind.plural == "gateways" { kind.resource() } else { kind.plural.to_owned() };
        assert!(commands.contains(&name), "{name}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").to_path_buf()
}

/// The files of the tree with this ending, build output left out.
fn sources(ending: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder reads") {
            let path = entry.expect("an entry reads").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !["target", "node_modules", "dist"].contains(&name.as_str()) {
                    walk(&path, ending, found);
                }
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), ending, &mut found);
    assert!(!found.is_empty(), "no .{ending} file in the tree");
    found
}
