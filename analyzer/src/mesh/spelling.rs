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

/// How many near names are worth showing.
const SHOWN: usize = 5;

/// Returns the names that a person may have meant, the nearest first: those written alike, wholly or in the part behind
/// the last slash (the right name in another namespace), and those that begin so. Of one name only once.
#[must_use]
pub(crate) fn near<'a>(known: impl IntoIterator<Item = &'a str>, written: &str) -> Vec<String> {
    let lower = written.to_ascii_lowercase();
    let own = last(&lower);
    let mut ranked: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|name| {
            let candidate = name.to_ascii_lowercase();
            let allowed = |word: &str| (word.len() / 3).clamp(1, 3);
            let lengths = |a: &str, b: &str| a.len().abs_diff(b.len()) <= 3;
            let whole = (lengths(&candidate, &lower))
                .then(|| distance(&candidate, &lower))
                .filter(|slips| *slips <= allowed(&lower));
            let part = last(&candidate);
            let partly = lengths(part, own)
                .then(|| distance(part, own))
                .filter(|slips| *slips <= allowed(own))
                .map(|slips| slips.saturating_add(1));
            let begins = (own.len() >= 3 && (part.starts_with(own) || own.starts_with(part)))
                .then_some(SLIPS.saturating_add(2));
            [whole, partly, begins].into_iter().flatten().min().map(|slips| (slips, name))
        })
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(SHOWN).map(|(_, name)| name.to_owned()).collect()
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Returns the known name that a written one was meant to be; absent where none is near, or where only a number differs,
/// which people do on purpose: `web-v1` and `web-v2`.
#[must_use]
pub(crate) fn meant<'a>(known: &[&'a str], written: &str) -> Option<&'a str> {
    let letters = |name: &str| name.chars().filter(|one| !one.is_ascii_digit()).collect::<String>();
    nearest(known, written).filter(|near| letters(near) != letters(written))
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
    fn another_number_is_no_slip() {
        assert_eq!(meant(&["web"], "weeb"), Some("web"));
        assert_eq!(meant(&["web-v1"], "web-v2"), None);
        assert_eq!(meant(&["web"], "store"), None);
    }

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
    fn near_names_are_ranked() {
        const KNOWN: &[&str] =
            &["web/frontend", "web/backend", "shop/frontend", "catalog/search", "catalog/search-pa"];
        let check = |written, expected: &[&str]| {
            assert_eq!(near(KNOWN.iter().copied(), written), expected, "{written}");
        };
        check("web/frontent", &["web/frontend", "shop/frontend"]);
        check("mesh/frontend", &["shop/frontend", "web/frontend"]);
        check("catalog/serach", &["catalog/search"]);
        check("sear", &["catalog/search", "catalog/search-pa"]);
        check("zzz", &[]);
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
