//! Where resources stand in a mesh, so that asking for those that matter costs what matches and not what there is.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};
use ipnet::IpNet;

use crate::mesh::meta::{Labels, Meta};

/// Places by key, each list in rising order.
#[derive(Debug, Clone)]
pub(super) struct Index<K>(HashMap<K, Vec<usize>>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Index<K> {
    /// Adds a place, once for each key; places come in rising order.
    pub(super) fn add(&mut self, key: K, place: usize) {
        let places = self.0.entry(key).or_default();
        if places.last() != Some(&place) {
            places.push(place);
        }
    }

    pub(super) fn at<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> &[usize] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
}

/// Places by namespace.
pub(super) fn by_namespace<'a>(metas: impl Iterator<Item = &'a Meta>) -> Index<Arc<str>> {
    let mut index = Index::default();
    for (place, meta) in metas.enumerate() {
        index.add(meta.namespace.clone(), place);
    }
    index
}

/// The first place of each `Kind/namespace/name`.
pub(super) fn by_id<'a>(metas: impl Iterator<Item = &'a Meta>) -> HashMap<String, usize> {
    let mut index = HashMap::new();
    for (place, meta) in metas.enumerate() {
        index.entry(meta.id()).or_insert(place);
    }
    index
}

/// Returns what stands at places.
pub(super) fn all_at<'a, T>(
    all: &'a [T],
    places: &'a [usize],
) -> impl DoubleEndedIterator<Item = &'a T> + use<'a, T> {
    places.iter().filter_map(|place| all.get(*place))
}

/// Places by host: names, and patterns that begin with a star. It answers as [`covers`] does.
///
/// [`covers`]: crate::policy::visibility::covers
#[derive(Debug, Clone, Default)]
pub(super) struct ByHost {
    names: Index<String>,
    /// By what follows the star.
    suffixes: Index<String>,
    /// How long the suffixes are, in bytes.
    lengths: BTreeSet<usize>,
}

impl ByHost {
    pub(super) fn add(&mut self, pattern: &str, place: usize) {
        let mut pattern = pattern.to_ascii_lowercase();
        if pattern.starts_with('*') {
            let suffix = pattern.split_off(1);
            self.lengths.insert(suffix.len());
            self.suffixes.add(suffix, place);
        } else {
            self.names.add(pattern, place);
        }
    }

    /// Returns the places of every name and pattern that covers a host, in rising order.
    pub(super) fn covering(&self, host: &str) -> Vec<usize> {
        let host = lowercase(host);
        let mut places = self.names.at(&*host).to_vec();
        let end = host.strip_prefix('*').unwrap_or(&host);
        for length in self.lengths.range(..=end.len()) {
            if let Some(suffix) = end.get(end.len().saturating_sub(*length)..) {
                places.extend(self.suffixes.at(suffix));
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Returns the places of a name, or of a pattern's own spelling; upper and lower case are alike.
    pub(super) fn spelled(&self, host: &str) -> &[usize] {
        let host = lowercase(host);
        match host.strip_prefix('*') {
            Some(suffix) => self.suffixes.at(suffix),
            None => self.names.at(&*host),
        }
    }
}

/// Returns a host in lower case; most are already.
fn lowercase(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Places of selectors, by one label that each asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct BySelector {
    by_label: Index<(String, String)>,
    /// Selectors that ask for nothing.
    for_all: Vec<usize>,
}

impl BySelector {
    pub(super) fn add(&mut self, selector: &Labels, place: usize) {
        match selector.iter().next() {
            Some((key, value)) => self.by_label.add((key.clone(), value.clone()), place),
            None => self.for_all.push(place),
        }
    }

    /// Returns the places of the selectors that ask for nothing.
    pub(super) fn for_all(&self) -> &[usize] {
        &self.for_all
    }

    /// Returns the places of every selector that may select these labels, in rising order: each is still to be asked.
    pub(super) fn candidates(&self, labels: &Labels) -> Vec<usize> {
        let mut places = self.for_all.clone();
        for (key, value) in labels {
            places.extend(self.by_label.at(&Label { key, value }));
        }
        places.sort_unstable();
        places
    }
}

/// Places of ranges of addresses.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges {
    places: Index<IpNet>,
    lengths: BTreeSet<u8>,
}

impl Ranges {
    pub(super) fn add(&mut self, range: IpNet, place: usize) {
        self.lengths.insert(range.prefix_len());
        self.places.add(range.trunc(), place);
    }

    /// Returns the places of the ranges that hold an address, in no order.
    pub(super) fn holding(&self, ip: IpAddr) -> impl Iterator<Item = usize> {
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let ranges = self.lengths.range(..=longest).filter_map(move |length| IpNet::new(ip, *length).ok());
        ranges.flat_map(|range| self.places.at(&range.trunc())).copied()
    }
}

/// A label to look up, which hashes as a key and value that are owned.
#[derive(Hash)]
struct Label<'a> {
    key: &'a str,
    value: &'a str,
}

impl Equivalent<(String, String)> for Label<'_> {
    fn equivalent(&self, (key, value): &(String, String)) -> bool {
        self.key == key && self.value == value
    }
}

/// A label as one text.
pub(super) fn label(key: &str, value: &str) -> String {
    format!("{key}={value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::visibility::covers;

    #[test]
    fn hosts_are_found_as_patterns_cover_them() {
        let names = ["*", "a.b", "A.b", "*.b", "*.B", "*b", "b", "*.a.b", "*.é.b", "", "x"];
        let mut index = ByHost::default();
        for (place, name) in names.iter().enumerate() {
            index.add(name, place);
        }
        for host in names.iter().chain(&["c.a.b", "C.A.B", "*.c.a.b", "ä.b", "bb", "y"]) {
            let expected: Vec<usize> = names
                .iter()
                .enumerate()
                .filter(|(_, name)| covers(name, host))
                .map(|(place, _)| place)
                .collect();
            assert_eq!(index.covering(host), expected, "{host}");
        }
        assert_eq!(index.spelled("a.B"), [1, 2]);
        assert_eq!(index.spelled("*.b"), [3, 4]);
    }

    #[test]
    fn ranges_are_found_by_the_addresses_that_they_hold() {
        let ranges = ["10.0.0.0/8", "10.1.2.3/16", "0.0.0.0/0", "::/0", "2001:db8::/32", "10.1.0.0/16"];
        let ranges = ranges.map(|range| range.parse::<IpNet>().unwrap());
        let mut index = Ranges::default();
        for (place, range) in ranges.iter().enumerate() {
            index.add(*range, place);
        }
        for ip in ["10.1.9.9", "10.2.0.1", "192.0.2.1", "2001:db8::1", "2001:db9::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let mut found: Vec<usize> = index.holding(ip).collect();
            found.sort_unstable();
            let held = ranges.iter().enumerate().filter(|(_, range)| range.contains(&ip));
            assert_eq!(found, held.map(|(place, _)| place).collect::<Vec<_>>(), "{ip}");
        }
    }

    #[test]
    fn selectors_are_found_by_any_labels_that_they_select() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let mut index = BySelector::default();
        for (place, selector) in
            [labels(&[("a", "1"), ("b", "1")]), labels(&[]), labels(&[("b", "1")])].iter().enumerate()
        {
            index.add(selector, place);
        }
        assert_eq!(index.candidates(&labels(&[("a", "1"), ("b", "1")])), [0, 1, 2]);
        assert_eq!(index.candidates(&labels(&[("b", "1")])), [1, 2]);
        assert_eq!(index.candidates(&labels(&[("b", "2")])), [1]);
    }
}
