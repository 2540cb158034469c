//! The http routes of a VirtualService. Istio: `validation/virtualservice.go`, and the functions named here.

use super::virtual_service::{destination, gateway_name, targets};
use super::{Refusals, duration, labels, names, port, text};
use crate::mesh::node::Node;

pub(super) fn check(route: &Node, path: &str, found: &mut Refusals) {
    ends(route, path, found);
    for one in list(route, "match") {
        matched(one, &format!("{path}.match"), found);
    }
    if route.get("mirror").is_some() && !list(route, "mirrors").is_empty() {
        found.add(route, format!("{path} has both mirror and mirrors"));
    }
    if let Some(to) = route.get("mirror") {
        destination(to, &format!("{path}.mirror"), found);
    }
    for mirror in list(route, "mirrors") {
        match mirror.get("destination") {
            Some(to) => destination(to, &format!("{path}.mirrors"), found),
            None => found.add(mirror, format!("{path}.mirrors has no destination")),
        }
    }
    redirect(route.get("redirect"), path, found);
    status(route.at(&["directResponse", "status"]), &format!("{path}.directResponse.status"), found);
    fault(route.get("fault"), path, found);
    retries(route.get("retries"), path, found);
    rewrite(route, path, found);
    duration(route.get("timeout"), &format!("{path}.timeout"), found);
    duration(route.at(&["corsPolicy", "maxAge"]), &format!("{path}.corsPolicy.maxAge"), found);
    targets(route, path, found);
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
            if name.is_empty() && field != "queryParams" {
                found.add(value, format!("{path}.{field} has an empty name"));
            }
            words(value, &format!("{path}.{field}"), false, found);
        }
    }
    if let Some(number) = one.get("port").filter(|number| number.number() != Some(0)) {
        port(Some(number), number, &format!("{path}.port"), found);
    }
    labels(one.get("sourceLabels"), &format!("{path}.sourceLabels"), found);
    for gateway in list(one, "gateways") {
        gateway_name(gateway, found);
    }
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
    status(node.at(&["abort", "httpStatus"]), &format!("{path}.fault.abort.httpStatus"), found);
    duration(node.at(&["delay", "fixedDelay"]), &format!("{path}.fault.delay.fixedDelay"), found);
}

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
    let sets = |operation: &str| {
        let set = route.at(&["headers", "request", operation]).map(Node::entries).unwrap_or_default();
        let is_host = |name: &str| [":authority", "host"].iter().any(|own| name.eq_ignore_ascii_case(own));
        set.iter().any(|(name, _)| is_host(name))
    };
    if authority && (sets("set") || sets("add")) {
        found.add(node, format!("{path} sets the host twice: in rewrite.authority and in headers"));
    }
}
