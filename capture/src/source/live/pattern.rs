//! Names of interfaces as asked for: exact ones and patterns.

/// The names asked for. `*` stands for any characters, `?` for one; `any` is every interface.
#[derive(Debug, Clone)]
pub(super) struct Patterns(Vec<String>);

impl Patterns {
    pub(super) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| if name == "any" { "*".to_owned() } else { name.clone() }).collect())
    }

    /// Tells whether one of them may stand for several interfaces.
    pub(super) fn several(&self) -> bool {
        self.0.iter().any(|pattern| pattern.contains(['*', '?']))
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
    }
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        // Names have 15 bytes at most, so trying every split is cheap.
        (Some((b'*', rest)), _) => {
            matches(rest, name) || name.split_first().is_some_and(|(_, tail)| matches(pattern, tail))
        }
        (Some((one, rest)), Some((byte, tail))) => (*one == b'?' || one == byte) && matches(rest, tail),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_a_shell() {
        let check = |asked: &[&str], name: &str| {
            Patterns::new(&asked.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).matches(name)
        };
        assert!(check(&["eth0"], "eth0"));
        assert!(!check(&["eth0"], "eth01"));
        assert!(!check(&["eth01"], "eth0"));
        assert!(check(&["veth*"], "veth"));
        assert!(check(&["veth*"], "veth1a2b"));
        assert!(!check(&["veth*"], "eth0"));
        assert!(check(&["*0"], "eth00"));
        assert!(check(&["e?h*"], "eth1"));
        assert!(!check(&["eth?"], "eth"));
        assert!(check(&["eth0", "cali*"], "cali12"));
        assert!(check(&["any"], "lo"));
        assert!(!check(&[], "lo"));
    }
}
