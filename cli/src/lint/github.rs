//! Findings as GitHub Actions shows them beside the lines of a pull request (workflow commands).

use analyzer::report::{InputError, LintFinding, Severity};

/// Prints one command a finding and a document that was not read.
pub(super) fn annotations(findings: &[LintFinding], errors: &[InputError]) -> String {
    let mut text = String::new();
    for finding in findings {
        let level = match finding.severity {
            Severity::Critical | Severity::High => "error",
            Severity::Medium => "warning",
            Severity::Low | Severity::Info => "notice",
        };
        let title = format!("{} {}: {}", finding.id, finding.severity, finding.resource);
        let message = format!("{}\nFix: {}", finding.message, finding.remedy);
        text.push_str(&command(level, finding.file.as_deref(), finding.line, &title, &message));
    }
    for error in errors {
        let level = if error.fatal { "error" } else { "warning" };
        let title = if error.fatal { "not read" } else { "read with a note" };
        text.push_str(&command(level, Some(&error.file), error.line, title, &error.message));
    }
    text
}

fn command(level: &str, file: Option<&str>, line: Option<u32>, title: &str, message: &str) -> String {
    let mut properties = Vec::new();
    if let Some(file) = file {
        properties.push(format!("file={}", property(file)));
    }
    if let Some(line) = line {
        properties.push(format!("line={line}"));
    }
    properties.push(format!("title={}", property(title)));
    format!("::{level} {}::{}\n", properties.join(","), data(message))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_ends_the_command() {
        assert_eq!(
            command("error", Some("a,b:c.yaml"), Some(3), "DR02", "50 %\nFix::x"),
            "::error file=a%2Cb%3Ac.yaml,line=3,title=DR02::50 %25%0AFix::x\n"
        );
        assert_eq!(command("notice", None, None, "t", "m"), "::notice title=t::m\n");
    }
}
