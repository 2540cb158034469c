//! Names and values of HTTP headers as Istio's webhook takes them.

use super::Refusals;
use crate::mesh::node::Node;

/// Checks what a route or a destination does to headers.
///
/// Istio: `ValidateHTTPHeaderWithAuthorityOperationName`, `ValidateHTTPHeaderOperationName`, `ValidateHTTPHeaderValue`.
pub(super) fn operations(node: &Node, path: &str, found: &mut Refusals) {
    for side in ["request", "response"] {
        for operation in ["set", "add"] {
            let entries = node.at(&["headers", side, operation]).map(Node::entries).unwrap_or_default();
            for (name, value) in entries {
                let path = format!("{path}.headers.{side}.{operation}");
                check(name, side == "request", value, &path, found);
                if !is_value(&value.scalar().unwrap_or_default()) {
                    found.add(
                        value,
                        format!("{path}.{name} has a % that is neither doubled nor around a name"),
                    );
                }
            }
        }
        let removed = node.at(&["headers", side, "remove"]).map(Node::items).unwrap_or_default();
        for name in removed {
            let path = format!("{path}.headers.{side}.remove");
            check(&name.scalar().unwrap_or_default(), false, name, &path, found);
        }
    }
}

/// Checks a name; a request's host may be set, and nothing else that is Envoy's own.
fn check(name: &str, may_be_host: bool, at: &Node, path: &str, found: &mut Refusals) {
    let own = name.starts_with(':') || name.eq_ignore_ascii_case("host");
    if name.is_empty() {
        found.add(at, format!("{path} has an empty name"));
    } else if own && !(may_be_host && is_host(name)) {
        found.add(at, format!("{path}: '{name}' is not to be changed"));
    }
}

/// Tells whether a header is the one that names the host. Istio: `isAuthorityHeader`.
pub(super) fn is_host(name: &str) -> bool {
    [":authority", "host"].iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// Tells whether a name may stand in a match. Istio: `ValidateHTTPHeaderNameOrJwtClaimRoute`.
pub(super) fn is_matchable(name: &str) -> bool {
    let pseudo = [":method", ":scheme", ":authority", ":path", ":status"];
    is_claim(name) || pseudo.contains(&name) || is_name(name)
}

/// Tells whether a text is a name of a header: RFC 9110, `token`.
pub(super) fn is_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

/// Tells whether a name stands for a claim of a token. Istio: `pkg/jwt`, `ToRoutingClaim`.
pub(super) fn is_claim(name: &str) -> bool {
    name.strip_prefix("@request.auth.claims")
        .is_some_and(|rest| rest.len() > 1 && rest.starts_with(['.', '[']))
}

/// Tells whether each `%` of a value is doubled, or one of two around a name of Envoy's, behind which arguments may stand.
///
/// Istio: `validateHeaderValue`, after Envoy's `header_parser.cc`.
fn is_value(value: &str) -> bool {
    let mut rest = value;
    while let Some((_, behind)) = rest.split_once('%') {
        if let Some(behind) = behind.strip_prefix('%') {
            rest = behind;
            continue;
        }
        let Some(end) = behind.find(['%', '(']) else { return false };
        let (_, behind) = behind.split_at(end);
        let arguments = behind.strip_prefix('(').and_then(|behind| behind.split_once(')'));
        rest = match (arguments, behind.strip_prefix('%')) {
            (Some((_, behind)), _) => match behind.trim_start_matches(' ').strip_prefix('%') {
                Some(behind) => behind,
                None => return false,
            },
            (None, Some(behind)) => behind,
            (None, None) => return false,
        };
    }
    true
}
