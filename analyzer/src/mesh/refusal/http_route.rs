//! The http routes of a VirtualService. Istio: `validation/virtualservice.go`, and the functions named here.

use super::virtual_service::{destination, gateway_names, targets};
use super::{Refusals, duration, headers, labels, names, nanoseconds, percentage, port, text};
use crate::mesh::node::Node;

pub(super) fn check(route: &Node, path: &str, found: &mut Refusals) {
    ends(route, path, found);
    headers::operations(route, path, found);
    for entry in list(route, "route") {
        headers::operations(entry, &format!("{path}.route"), found);
    }
    for one in list(route, "match") {
        matched(one, &format!("{path}.match"), found);
    }
    if route.get("mirror").is_some() && !list(route, "mirrors").is_empty() {
        found.add(route, format!("{path} has both mirror and mirrors"));
    }
    if let Some(to) = route.get("mirror") {
        destination(to, &format!("{path}.mirror"), found);
    }
    let share = route.get("mirrorPercent");
    if let Some(node) = share.filter(|node| node.number().is_some_and(|share| share > 100)) {
        found.add(node, format!("{path}.mirrorPercent is above 100"));
    }
    share_of(route.get("mirrorPercentage"), &format!("{path}.mirrorPercentage"), found);
    for mirror in list(route, "mirrors") {
        share_of(mirror.get("percentage"), &format!("{path}.mirrors.percentage"), found);
        match mirror.get("destination") {
            Some(to) => destination(to, &format!("{path}.mirrors"), found),
            None => found.add(mirror, format!("{path}.mirrors has no destination")),
        }
    }
    redirect(route.get("redirect"), path, found);
    if let Some(answer) = route.get("directResponse") {
        match answer.get("status") {
            Some(node) => status(Some(node), &format!("{path}.directResponse.status"), found),
            None => found.add(answer, format!("{path}.directResponse.status is missing")),
        }
    }
    fault(route.get("fault"), path, found);
    retries(route.get("retries"), path, found);
    rewrite(route, path, found);
    duration(route.get("timeout"), &format!("{path}.timeout"), found);
    cors(route.get("corsPolicy"), &format!("{path}.corsPolicy"), found);
    targets(route, path, found);
}

/// Claims of tokens are known to gateways, and not to sidecars. Istio: `ValidateVirtualService`.
pub(super) fn claims(route: &Node, path: &str, found: &mut Refusals) {
    for one in list(route, "match") {
        for field in ["headers", "withoutHeaders"] {
            let names = one.get(field).map(Node::entries).unwrap_or_default();
            for (name, value) in names.iter().filter(|(name, _)| headers::is_claim(name)) {
                found.add(value, format!("{path}.match.{field}: '{name}' is for Gateways"));
            }
        }
    }
}

/// The share of requests that is mirrored. Istio: `validateHTTPRoute`, `validateHTTPMirrors`.
fn share_of(node: Option<&Node>, path: &str, found: &mut Refusals) {
    let Some(value) = node.and_then(|node| node.get("value")) else { return };
    let share: Option<f64> = value.scalar().and_then(|text| text.parse().ok());
    if !share.is_some_and(|share| (0.0..=100.0).contains(&share)) {
        found.add(value, format!("{path} is not from 0 to 100"));
    }
}

/// Istio: `validateCORSPolicy`.
fn cors(node: Option<&Node>, path: &str, found: &mut Refusals) {
    let Some(node) = node else { return };
    for origin in list(node, "allowOrigins") {
        if !["exact", "prefix", "regex"].iter().any(|field| text(origin, field).is_some()) {
            found.add(origin, format!("{path}.allowOrigins matches an empty text"));
        }
    }
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];
    for method in list(node, "allowMethods") {
        if !methods.contains(&method.scalar().unwrap_or_default().as_str()) {
            found.add(method, format!("{path}.allowMethods has a method that HTTP does not have"));
        }
    }
    for field in ["allowHeaders", "exposeHeaders"] {
        for name in list(node, field) {
            let own = name.scalar().unwrap_or_default();
            if own != "*" && !headers::is_name(&own) {
                found.add(name, format!("{path}.{field}: '{own}' is no name of a header"));
            }
        }
    }
    let age = node.get("maxAge");
    duration(age, &format!("{path}.maxAge"), found);
    let parts = |node: &Node| node.scalar().and_then(|text| nanoseconds(&text)).unwrap_or(0) % 1_000_000_000;
    if let Some(age) = age.filter(|age| parts(age) != 0) {
        found.add(age, format!("{path}.maxAge is no whole number of seconds"));
    }
}

fn list<'a>(node: &'a Node, field: &str) -> &'a [Node] {
    node.get(field).map(Node::items).unwrap_or_default()
}

/// A request has one end: a destination, a redirect or an answer made up. What is left to another VirtualService has
/// neither of the first two.
///
/// Istio: `validateHTTPRouteConflict`.
fn ends(route: &Node, path: &str, found: &mut Refusals) {
    let has = |field: &str| match route.get(field) {
        Some(node) if field == "route" => !node.items().is_empty(),
        node => node.is_some(),
    };
    let with = |end: &'static str, others: &'static [&'static str]| {
        others.iter().filter(|other| has(other)).map(move |other| (end, *other)).collect()
    };
    let conflicts: Vec<(&str, &str)> = if has("delegate") {
        with("delegate", &["route", "redirect"])
    } else if has("redirect") {
        with("redirect", &["route", "fault", "rewrite", "directResponse"])
    } else if has("directResponse") {
        with("directResponse", &["route", "fault", "rewrite"])
    } else {
        if !has("route") {
            found.add(route, format!("{path} has no route, redirect, directResponse or delegate"));
        }
        Vec::new()
    };
    for (one, other) in conflicts {
        found.add(route, format!("{path} has both {other} and {one}"));
    }
}

/// Istio: `validateHTTPRouteMatchRequest`, `validateStringMatch`.
fn matched(one: &Node, path: &str, found: &mut Refusals) {
    // A path may have the empty prefix.
    for field in ["scheme", "method", "authority", "uri"] {
        if let Some(value) = one.get(field) {
            words(value, &format!("{path}.{field}"), field == "uri", found);
        }
    }
    for field in ["headers", "withoutHeaders", "queryParams"] {
        for (name, value) in one.get(field).map(Node::entries).unwrap_or_default() {
            if field != "queryParams" && !headers::is_matchable(name) {
                found.add(value, format!("{path}.{field}: '{name}' is no name of a header"));
            }
            if field == "headers" && value.is_null() {
                found.add(value, format!("{path}.headers.{name} says nothing"));
            }
            words(value, &format!("{path}.{field}"), false, found);
        }
    }
    if let Some(number) = one.get("port").filter(|number| number.number() != Some(0)) {
        port(Some(number), number, &format!("{path}.port"), found);
    }
    labels(one.get("sourceLabels"), &format!("{path}.sourceLabels"), found);
    gateway_names(one, found);
    if let Some(namespace) = text(one, "sourceNamespace").filter(|namespace| !names::is_label(namespace)) {
        found.add(one, format!("{path}.sourceNamespace '{namespace}' is no DNS label"));
    }
}

fn words(value: &Node, path: &str, empty_prefix: bool, found: &mut Refusals) {
    let empty = |field: &str| value.get(field).and_then(Node::scalar).is_some_and(|text| text.is_empty());
    if (empty("prefix") && !empty_prefix) || empty("regex") {
        found.add(value, format!("{path} matches an empty text"));
    }
    if text(value, "regex").is_some_and(|regex| regex.len() > 1024) {
        found.add(value, format!("{path}.regex is longer than 1024 bytes"));
    }
}

/// Istio: `validateHTTPRedirect`.
fn redirect(node: Option<&Node>, path: &str, found: &mut Refusals) {
    let Some(node) = node else { return };
    let says = ["uri", "authority", "scheme"].iter().any(|field| text(node, field).is_some());
    if !says && node.get("port").is_none() && node.get("derivePort").is_none() {
        found.add(node, format!("{path}.redirect says neither uri, authority, scheme nor port"));
    }
    let code = node.get("redirectCode").and_then(Node::number).unwrap_or(0);
    if code != 0 && !(300..400).contains(&code) {
        found.add(node, format!("{path}.redirect.redirectCode {code} is no 3xx"));
    }
    if let Some(number) = node.get("port").filter(|number| number.number().is_some_and(|number| number > 0)) {
        port(Some(number), number, &format!("{path}.redirect.port"), found);
    }
    if let Some(scheme) = text(node, "scheme").filter(|scheme| !matches!(scheme.as_str(), "http" | "https")) {
        found.add(node, format!("{path}.redirect.scheme '{scheme}' is neither http nor https"));
    }
}

/// Istio: `validateHTTPStatus`.
fn status(node: Option<&Node>, path: &str, found: &mut Refusals) {
    if let Some(node) = node.filter(|node| !node.number().is_some_and(|code| (200..=600).contains(&code))) {
        found.add(node, format!("{path} is no HTTP status from 200 to 599"));
    }
}

/// Istio: `validateHTTPFaultInjection`.
fn fault(node: Option<&Node>, path: &str, found: &mut Refusals) {
    let Some(node) = node else { return };
    if node.get("abort").is_none() && node.get("delay").is_none() {
        found.add(node, format!("{path}.fault has neither abort nor delay"));
    }
    for kind in ["abort", "delay"] {
        percentage(
            node.at(&[kind, "percentage", "value"]),
            &format!("{path}.fault.{kind}.percentage"),
            found,
        );
    }
    status(node.at(&["abort", "httpStatus"]), &format!("{path}.fault.abort.httpStatus"), found);
    if let Some(own) = node.at(&["abort", "grpcStatus"]) {
        let status = own.scalar().unwrap_or_default();
        if !GRPC_STATUSES.contains(&status.as_str()) {
            found.add(own, format!("{path}.fault.abort.grpcStatus '{status}' is no status of gRPC"));
        }
    }
    for (kind, field) in [("abort", "http2Error"), ("delay", "exponentialDelay")] {
        if let Some(own) = node.at(&[kind, field]) {
            found.add(own, format!("{path}.fault.{kind}.{field} is not supported"));
        }
    }
    duration(node.at(&["delay", "fixedDelay"]), &format!("{path}.fault.delay.fixedDelay"), found);
}

/// Istio: `pkg/util/grpc`, `SupportedGRPCStatus`.
const GRPC_STATUSES: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
];

/// What a retry may be for, beside HTTP statuses. Istio: `supportedRetryOnPolicies`.
const RETRY_ON: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// Istio: `validateHTTPRetry`.
fn retries(node: Option<&Node>, path: &str, found: &mut Refusals) {
    let Some(node) = node else { return };
    let attempts = node.get("attempts").and_then(Node::number).unwrap_or(0);
    if attempts < 0 {
        found.add(node, format!("{path}.retries.attempts is negative"));
    }
    let others = ["perTryTimeout", "retryOn", "retryRemoteLocalities"];
    if attempts == 0 && others.iter().any(|field| node.get(field).is_some()) {
        found.add(node, format!("{path}.retries says how to try again, and not to"));
    }
    for own in text(node, "retryOn").iter().flat_map(|on| on.split(',')) {
        let status = own.parse::<u16>().is_ok_and(|code| (100..600).contains(&code));
        if !status && !RETRY_ON.contains(&own) {
            found.add(node, format!("{path}.retries.retryOn '{own}' is unknown"));
        }
    }
    for field in ["perTryTimeout", "backoff"] {
        duration(node.get(field), &format!("{path}.retries.{field}"), found);
    }
}

/// Istio: `validateHTTPRewrite`, `validateAuthorityRewrite`.
fn rewrite(route: &Node, path: &str, found: &mut Refusals) {
    let Some(node) = route.get("rewrite") else { return };
    let (uri, regex) = (text(node, "uri").is_some(), node.get("uriRegexRewrite").is_some());
    let authority = text(node, "authority").is_some();
    if uri && regex {
        found.add(node, format!("{path}.rewrite has both uri and uriRegexRewrite"));
    } else if !uri && !regex && !authority {
        found.add(node, format!("{path}.rewrite says neither uri, uriRegexRewrite nor authority"));
    }
    if let Some(own) = node
        .get("uriRegexRewrite")
        .filter(|own| text(own, "match").is_none() || text(own, "rewrite").is_none())
    {
        found.add(own, format!("{path}.rewrite.uriRegexRewrite needs both match and rewrite"));
    }
    let sets = |operation: &str| {
        let set = route.at(&["headers", "request", operation]).map(Node::entries).unwrap_or_default();
        set.iter().any(|(name, _)| headers::is_host(name))
    };
    if authority && (sets("set") || sets("add")) {
        found.add(node, format!("{path} sets the host twice: in rewrite.authority and in headers"));
    }
}
