//! Near misses among names: which known field a misspelt one was meant to be.

/// As many letters may differ, be missing or be too many: more is another word, and no longer a slip of the hand.
const SLIPS: usize = 2;

/// Returns the known name nearest to a misspelt one; absent where none is near.
#[must_use]
pub(crate) fn nearest<'a>(known: &[&'a str], written: &str) -> Option<&'a str> {
    let lower = written.to_ascii_lowercase();
    let longest = known.iter().map(|name| name.len()).max()?;
    if written.len() > longest.saturating_add(SLIPS) {
        return None;
    }
    known
        .iter()
        .map(|name| (distance(&name.to_ascii_lowercase(), &lower), *name))
        .filter(|(slips, name)| *slips <= SLIPS && *slips < name.len().div_ceil(2))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

/// Counts the characters to insert, drop or replace to turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (above, left) in from.chars().enumerate() {
        let mut diagonal = above;
        let mut last = above.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = last;
        }
        for (cell, right) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal.saturating_add(usize::from(left != right));
            diagonal = *cell;
            last = replaced.min(cell.saturating_add(1)).min(last.saturating_add(1));
            *cell = last;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (from, to, slips) in [
            ("", "", 0),
            ("", "ab", 2),
            ("mtls", "mtls", 0),
            ("mtls", "mtlss", 1),
            ("mtls", "tls", 1),
            ("mtls", "mlts", 2),
            ("selector", "selektor", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(from, to), slips, "{from} {to}");
            assert_eq!(distance(to, from), slips, "{to} {from}");
        }
    }

    #[test]
    fn the_nearest_name_is_meant() {
        const KNOWN: &[&str] = &["selector", "mtls", "portLevelMtls", "tls", "exportTo"];
        for (written, meant) in [
            ("mtlss", Some("mtls")),
            ("MTLS", Some("mtls")),
            ("portLevelMTLS", Some("portLevelMtls")),
            ("portlevelmtl", Some("portLevelMtls")),
            ("selectors", Some("selector")),
            ("exports", Some("exportTo")),
            ("trafficPolicy", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(KNOWN, written), meant, "{written}");
        }
        assert_eq!(nearest(KNOWN, &"m".repeat(1 << 16)), None);
        assert_eq!(nearest(&[], "mtls"), None);
    }
}
