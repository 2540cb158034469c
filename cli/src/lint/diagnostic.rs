//! A finding as compilers print theirs: the message, the offending line under a caret, and what to do.

use analyzer::report::{LintFinding, Severity};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::Sources;

/// Source lines are never cut: what is piped elsewhere is whole.
const WIDTH: usize = 1 << 16;

/// Prints one finding; the colours go where standard output is no terminal.
pub(super) fn text(finding: &LintFinding, sources: &Sources<'_>) -> String {
    let level = match finding.severity {
        Severity::Critical | Severity::High => Level::ERROR,
        Severity::Medium => Level::WARNING,
        Severity::Low => Level::INFO,
        Severity::Info => Level::NOTE,
    };
    let title = level.with_name(finding.severity.name()).primary_title(&finding.message).id(&finding.id);
    let file = finding.file.as_deref();
    let found = sources.spot(file, finding.line);
    let line = finding.line.and_then(|line| usize::try_from(line).ok());
    let group: Group<'_> = match (&found, file) {
        (Some(spot), Some(file)) => title.element(
            Snippet::source(spot.line)
                .line_start(line.unwrap_or(1))
                .path(file)
                .annotation(AnnotationKind::Primary.span(spot.span.clone()).label(finding.resource.as_str())),
        ),
        (None, Some(file)) => {
            let origin = Origin::path(file);
            title
                .element(match line {
                    Some(line) => origin.line(line),
                    None => origin,
                })
                .element(Level::NOTE.message(&finding.resource))
        }
        (_, None) => title.element(Level::NOTE.message(&finding.resource)),
    };
    let group = group.element(Level::HELP.message(&finding.remedy));
    let renderer = Renderer::styled().decor_style(DecorStyle::Ascii).term_width(WIDTH);
    let mut text = renderer.render(&[group]);
    text.push('\n');
    for line in finding.yaml.iter().flat_map(|yaml| yaml.lines()) {
        text.push_str(&format!("      {line}\n"));
    }
    text
}
