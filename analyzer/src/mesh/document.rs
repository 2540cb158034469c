//! One text as documents, and one document as nodes, within bounds that no input gets past.

use serde::de::IgnoredAny;

use crate::mesh::node::Node;

/// The longest document that is read, in bytes. A Kubernetes object cannot exceed 1.5 MiB in its store; a `List` may.
pub const DOCUMENT_BYTES: usize = 64 * 1024 * 1024;

/// The most YAML nodes that one document may hold.
pub const DOCUMENT_NODES: usize = 5_000_000;

/// The most YAML nodes that the aliases of one document may expand to: what stops alias bombs. Nothing that a cluster prints
/// has an alias.
pub const ALIAS_NODES: usize = 50_000;

/// How deep lists and mappings may lie in each other. A List of pods takes about 15 levels.
pub const NESTING: usize = 64;

/// Reads one document of YAML or JSON, within the bounds of this module; an error has its line in the text, and the reason.
pub(crate) fn parse(text: &str) -> Result<Node, (Option<u32>, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: DOCUMENT_NODES,
            max_events: DOCUMENT_NODES * 3,
            max_total_scalar_bytes: DOCUMENT_BYTES,
            max_reader_input_bytes: Some(DOCUMENT_BYTES),
            max_depth: NESTING,
            max_recorded_anchor_events: ALIAS_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIAS_NODES,
        },
        // YAML 1.1 takes `y` and `n` for booleans as well, which are names as good as any and are printed without quotes.
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().and_then(|location| u32::try_from(location.line()).ok());
        (line, reason(&error, text))
    })
}

/// Says in plain words why a document cannot be read. The reader's own place is dropped: it counts from the document, not
/// from the file.
fn reason(error: &serde_saphyr::Error, text: &str) -> String {
    let said = error.to_string();
    let about = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if about(&["Depth {", "recursion limit", "nesting"]) {
        return format!("lists and mappings lie more than {NESTING} levels deep in each other");
    }
    if about(&["Anchor", "Alias", "alias replay"]) {
        return format!("its aliases expand to more than {ALIAS_NODES} nodes");
    }
    if about(&["Nodes {", "Events {"]) {
        return format!("it has more than {DOCUMENT_NODES} nodes; split it");
    }
    let said = said.split(" at line ").next().unwrap_or_default();
    let said = said.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
    if text.contains("{{") {
        return format!("{said}; it looks like a template: render it first (helm template, kustomize build)");
    }
    said.to_owned()
}

/// Splits text at YAML's document markers, and JSON values that follow each other (as `jq '.items[]'` prints them), each with the
/// line that it begins at: a broken document must not take the ones behind it along.
pub(super) fn documents_of(text: &str) -> impl Iterator<Item = (u32, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut offset, mut number) = (0, 1_u32, 0, 0_u32);
    for line in text.split_inclusive('\n') {
        number = number.saturating_add(1);
        let bare = line.trim_end();
        if bare == "---" || bare.starts_with("--- ") || bare.starts_with("---\t") {
            documents.push((start_line, text.get(start..offset).unwrap_or_default()));
            // What stands behind the marker on its line belongs to the new document.
            start = if bare == "---" { offset.saturating_add(line.len()) } else { offset };
            start_line = if bare == "---" { number.saturating_add(1) } else { number };
        } else if bare == "..." {
            documents.push((start_line, text.get(start..offset).unwrap_or_default()));
            start = offset.saturating_add(line.len());
            start_line = number.saturating_add(1);
        }
        offset = offset.saturating_add(line.len());
    }
    documents.push((start_line, text.get(start..).unwrap_or_default()));
    let says_something = |text: &str| {
        text.lines().any(|line| {
            !line.trim().is_empty() && !line.trim_start().starts_with('#') && !line.starts_with('%')
        })
    };
    let values = documents.into_iter().flat_map(|(line, text)| json_values(line, text));
    values.filter(move |(_, text)| says_something(text))
}

/// Splits a document of several JSON objects; any other stays whole.
fn json_values(first_line: u32, text: &str) -> Vec<(u32, &str)> {
    if !text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
        return vec![(first_line, text)];
    }
    let mark = text.len().saturating_sub(text.trim_start_matches('\u{feff}').len());
    let json = text.get(mark..).unwrap_or_default();
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<IgnoredAny>();
    let (mut documents, mut start, mut line) = (Vec::new(), 0, first_line);
    while let Some(Ok(IgnoredAny)) = values.next() {
        let end = values.byte_offset();
        let value = json.get(start..end).unwrap_or_default();
        documents.push((line, value));
        let lines = value.bytes().filter(|byte| *byte == b'\n').count();
        line = line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        start = end;
    }
    documents.push((line, json.get(start..).unwrap_or_default()));
    documents
}
