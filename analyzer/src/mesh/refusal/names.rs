//! Names of hosts as Istio's webhook takes them.

use std::net::IpAddr;

/// Tells whether a text is one label of a name, in either case: letters, digits and hyphens between them, 63 at most.
///
/// Istio: `labels.IsDNS1123Label`.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|byte| inner(*byte))
}

/// Tells whether a text is like a label of a name, with underscores and dots as well: the key or value of a label.
///
/// Kubernetes: `IsQualifiedName`.
pub(super) fn is_qualified(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|byte| inner(*byte))
}

/// Istio: `labels.IsWildcardDNS1123Label`: a label, `*`, or a label behind `*` or `*-`.
fn is_wildcard_label(text: &str) -> bool {
    let rest = text.strip_prefix("*-").or_else(|| text.strip_prefix('*'));
    text == "*" || is_label(rest.unwrap_or(text))
}

fn length(name: &str) -> Result<(), String> {
    match name.len() {
        0 => Err("a host is empty".to_owned()),
        1..=255 => Ok(()),
        _ => Err(format!("the host '{name}' is longer than 255 bytes")),
    }
}

/// Istio: `ValidateDNS1123Labels`. The last label may be empty: a dot at the end.
fn labels(name: &str, whole: &str) -> Result<(), String> {
    let labels: Vec<&str> = name.split('.').collect();
    let (last, before) = labels.split_last().unwrap_or((&"", &[]));
    if last.parse::<i64>().is_ok() {
        return Err(format!("the host '{whole}' ends in a number"));
    }
    match before.iter().chain((!last.is_empty()).then_some(last)).find(|label| !is_label(label)) {
        Some(label) => Err(format!("the host '{whole}' has the label '{label}', which is no DNS label")),
        None => Ok(()),
    }
}

/// Checks a whole name.
///
/// Istio: `ValidateFQDN`.
pub(super) fn whole(name: &str) -> Result<(), String> {
    length(name)?;
    labels(name, name)
}

/// Checks a name whose first label may begin with a wildcard.
///
/// Istio: `ValidateWildcardDomain`.
pub(super) fn wildcard(name: &str) -> Result<(), String> {
    length(name)?;
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    if !is_wildcard_label(first) {
        return Err(format!("the host '{name}' has the label '{first}', which is no DNS label"));
    }
    rest.map_or(Ok(()), |rest| labels(rest, name))
}

/// Checks `namespace/name` of a Gateway's server or a Sidecar's egress. Only a Gateway may leave the namespace out.
///
/// Istio: `ValidateNamespaceSlashWildcardHostname`.
pub(super) fn with_namespace(text: &str, gateway: bool) -> Result<(), String> {
    let Some((namespace, name)) = text.split_once('/') else {
        return if gateway {
            listed(text, gateway)
        } else {
            Err(format!("the host '{text}' is not of the form namespace/host"))
        };
    };
    if namespace.is_empty() || name.is_empty() {
        return Err(format!("the host '{text}' has an empty side"));
    }
    // A Sidecar leaves out what `~` stands before; by itself it stands for every namespace.
    let own = namespace.strip_prefix('~').filter(|_| !gateway);
    let special = matches!(namespace, "*" | ".") || own.is_some_and(|own| matches!(own, "" | "."));
    if !special && !is_label(own.unwrap_or(namespace)) {
        return Err(format!("the host '{text}' has the namespace '{namespace}', which is no DNS label"));
    }
    listed(name, gateway)
}

/// Checks the host itself: no short name, and no wildcard but a whole label. A Gateway's may be an address.
///
/// Istio: `validateSidecarOrGatewayHostnamePart`, `ValidatePartialWildCard`.
fn listed(name: &str, gateway: bool) -> Result<(), String> {
    if gateway && is_address(name) {
        return Ok(());
    }
    wildcard(name)?;
    if name != "*" && !name.contains('.') {
        return Err(format!("the host '{name}' is a short name"));
    }
    if name.contains('*') && name != "*" && !name.starts_with("*.") {
        return Err(format!("the host '{name}' has a wildcard that is no whole label"));
    }
    Ok(())
}

/// Tells whether a text is an address.
pub(super) fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// Checks an address or a range.
///
/// Istio: `ValidateIPSubnet`.
pub(super) fn subnet(text: &str) -> Result<(), String> {
    if is_address(text) || text.parse::<ipnet::IpNet>().is_ok() {
        Ok(())
    } else {
        Err(format!("'{text}' is no address and no range"))
    }
}

/// Checks the path of a socket behind `unix://`.
///
/// Istio: `ValidateUnixAddress`.
pub(super) fn socket(path: &str) -> Result<(), String> {
    if path.starts_with('@') || (path.starts_with('/') && !path.ends_with('/')) {
        Ok(())
    } else {
        Err(format!("'unix://{path}' is no whole path of a socket"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_with_a_wildcard_in_front_at_most() {
        for good in
            ["*", "*.a.b", "*a.b", "*-a.b", "a", "a.b.", "A.b", "reviews.prod.svc.cluster.local", "1.b"]
        {
            assert_eq!(wildcard(good), Ok(()), "{good}");
        }
        for bad in ["", "a.*.b", "**.a", ".a", "a..b", "a_b.c", "-a.b", "10.0.0.1", "a.7", "a/b", "*.a.b/c"] {
            assert!(wildcard(bad).is_err(), "{bad}");
        }
        assert!(wildcard(&"a".repeat(64)).is_err());
        assert!(wildcard(&"a.".repeat(128)).is_err());
        assert!(whole("*.a.b").is_err());
        assert_eq!(whole("a.b"), Ok(()));
    }

    #[test]
    fn a_namespace_stands_in_front_of_a_host() {
        for good in ["*/*", "./a.b", "shop/*.a.b", "*/*.b"] {
            assert_eq!(with_namespace(good, true), Ok(()), "{good}");
            assert_eq!(with_namespace(good, false), Ok(()), "{good}");
        }
        assert_eq!(with_namespace("a.b", true), Ok(()));
        assert!(with_namespace("a.b", false).is_err());
        for left_out in ["~/*", "~/a.b", "~./*", "~shop/*", "~shop/a.b"] {
            assert_eq!(with_namespace(left_out, false), Ok(()), "{left_out}");
            assert!(with_namespace(left_out, true).is_err(), "{left_out}");
        }
        assert!(with_namespace("~sh_op/*", false).is_err());
        for bad in [
            "/a.b",
            "shop/",
            "sh_op/a.b",
            "~/*",
            "shop/a/b.c",
            "a",
            "shop/a",
            "*a.b",
            "shop/*-a.b",
            "10.0.0.300",
        ] {
            assert!(with_namespace(bad, true).is_err(), "{bad}");
        }
        for address in ["10.0.0.1", "*/10.0.0.1", "2001:db8::1"] {
            assert_eq!(with_namespace(address, true), Ok(()), "{address}");
            assert!(with_namespace(address, false).is_err(), "{address}");
        }
        assert!(with_namespace("shop/a", false).is_err());
    }
}
