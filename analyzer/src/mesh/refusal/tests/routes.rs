//! Headers, shares, faults, retries and the rest of http routes. The values are those of Istio's own `TestValidateHTTPRoute`
//! and the tests beside it.

use super::super::headers::{is_claim, is_matchable};
use super::check;

/// Holds that a route to a destination that has this besides is taken, or refused for this.
#[track_caller]
fn route(text: &str, reasons: &[&str]) {
    let route = format!("{{route: [{{destination: {{host: foo.baz}}}}], {text}}}");
    check("VirtualService", &format!("{{hosts: [a.b], http: [{route}]}}"), reasons);
}

#[test]
fn headers() {
    route("headers: {request: {set: {':authority': a, name: '100%% of %HOSTNAME%'}, remove: [name]}}", &[]);
    route("headers: {request: {set: {':path': a}}}", &["':path' is not to be changed"]);
    route("headers: {request: {add: {'': a}}}", &["an empty name"]);
    route("headers: {request: {remove: [Host]}}", &["'Host' is not to be changed"]);
    route("headers: {response: {set: {host: a}}}", &["'host' is not to be changed"]);
    route("mirrors: [], headers: {response: {add: {':status': a}}}", &["':status'"]);
    for (value, taken) in [
        ("", true),
        ("%START_TIME%%", false),
        ("abcd%oijasodifj", false),
        ("50%", false),
        ("%REQ(a)% and %B%", true),
        ("%REQ(a) %", true),
        ("%REQ(a):1%", false),
        ("%REQ(a%", false),
        (r#"%X(["a", "b"])%"#, true),
    ] {
        let reasons = ["a % that is neither"];
        route(
            &format!("headers: {{response: {{set: {{n: '{value}'}}}}}}"),
            if taken { &[] } else { &reasons },
        );
    }
    let to = "{destination: {host: a.b}, headers: {request: {remove: ['']}}}";
    check("VirtualService", &format!("{{hosts: [a.b], http: [{{route: [{to}]}}]}}"), &["an empty name"]);
}

#[test]
fn names_in_matches() {
    for name in ["header1", ":authority", "funky!$#_", "@request.auth.claims.a", "@request.auth.claims[a][b]"]
    {
        assert!(is_matchable(name), "{name}");
    }
    for name in ["", "::", "illegal\"char", "@request.auth.claims"] {
        assert!(!is_matchable(name), "{name}");
    }
    assert!(!is_claim("@request.auth.claimsa"));
    route("match: [{headers: {h: {exact: a}}, withoutHeaders: {h: {regex: '*'}}}]", &[]);
    route("match: [{headers: {h: null}}]", &["headers.h says nothing"]);
    let claim = "match: [{headers: {'@request.auth.claims.foo': {exact: bar}}}]";
    route(claim, &["is for Gateways"]);
    let to = "route: [{destination: {host: a.b}}]";
    for (gateways, reasons) in [("[ns/g]", [].as_slice()), ("[ns/g, mesh]", &["is for Gateways"])] {
        let spec = format!("{{hosts: [a.b], gateways: {gateways}, http: [{{{to}, {claim}}}]}}");
        check("VirtualService", &spec, reasons);
    }
}

#[test]
fn shares() {
    route("mirrorPercent: 5, mirrorPercentage: {value: 0.5}", &[]);
    route("mirrorPercent: 101", &["mirrorPercent is above"]);
    route("mirrorPercentage: {value: 101}", &["mirrorPercentage"]);
    route("mirrorPercentage: {value: -1}", &["mirrorPercentage"]);
    route("mirrors: [{destination: {host: a}, percentage: {value: 50}}]", &[]);
    route("mirrors: [{destination: {host: a}, percentage: {value: 101}}]", &["mirrors.percentage"]);
    route("fault: {abort: {httpStatus: 200, percentage: {value: 0.001}}}", &[]);
    route("fault: {abort: {httpStatus: 200, percentage: {value: -10.0}}}", &["fault.abort.percentage"]);
    route("fault: {delay: {fixedDelay: 3s, percentage: {value: 0.00001}}}", &["fault.delay.percentage"]);
}

#[test]
fn faults_and_retries() {
    route("fault: {abort: {grpcStatus: DEADLINE_EXCEEDED}}", &[]);
    route("fault: {abort: {grpcStatus: BAD_STATUS}}", &["no status of gRPC"]);
    route("fault: {abort: {http2Error: a}}", &["http2Error is not supported"]);
    route("fault: {delay: {exponentialDelay: 3s}}", &["exponentialDelay is not supported"]);
    route("fault: {delay: {fixedDelay: 3.000000042s}}", &["fixedDelay"]);
    route("retries: {attempts: 10, retryOn: '5xx,503,connect-failure'}", &[]);
    route("retries: {attempts: 10, retryOn: '5xx,invalid policy,600'}", &["'invalid policy'", "'600'"]);
    route("rewrite: {uriRegexRewrite: {match: ^/a, rewrite: /b}}", &[]);
    route("rewrite: {uriRegexRewrite: {match: ^/a}}", &["needs both match and rewrite"]);
}

#[test]
fn cross_origin() {
    route("corsPolicy: {allowMethods: [GET, '*'], allowHeaders: [a, '*'], maxAge: 2s}", &[]);
    route("corsPolicy: {allowOrigins: [{exact: a}, {prefix: b}, {regex: c}]}", &[]);
    route("corsPolicy: {allowOrigins: [{exact: ''}]}", &["allowOrigins matches an empty text"]);
    route("corsPolicy: {allowMethods: [PUTT], exposeHeaders: ['']}", &["allowMethods", "exposeHeaders"]);
    route("corsPolicy: {maxAge: 2.5s}", &["no whole number of seconds"]);
}

#[test]
fn ends() {
    let end = |text: &str, reasons: &[&str]| {
        check("VirtualService", &format!("{{hosts: [a.b], http: [{{{text}}}]}}"), reasons);
    };
    end("redirect: {uri: /a, port: 8443}", &[]);
    end("redirect: {port: 70000}", &["redirect.port 70000"]);
    end("directResponse: {status: 200}", &[]);
    end("directResponse: {body: {string: a}}", &["directResponse.status is missing"]);
    let delegate = "http: [{delegate: {name: a}}]";
    check("VirtualService", &format!("{{hosts: [a.b], {delegate}}}"), &[]);
    check("VirtualService", &format!("{{{delegate}}}"), &["delegates no further"]);
}
