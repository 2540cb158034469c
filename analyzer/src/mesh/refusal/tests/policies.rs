//! Traffic policies of rules. The values are those of Istio's own `TestValidateTrafficPolicy`, `TestValidateConnectionPool`,
//! `TestValidateLoadBalancer`, `TestValidateOutlierDetection` and `TestValidateLocalityLbSetting`.

use super::check;

/// Holds that a policy is taken, or refused for this.
#[track_caller]
fn policy(text: &str, reasons: &[&str]) {
    check("DestinationRule", &format!("{{host: a, trafficPolicy: {{{text}}}}}"), reasons);
}

#[test]
fn connection_pools() {
    let pool = |text: &str, reasons: &[&str]| policy(&format!("connectionPool: {{{text}}}"), reasons);
    pool("tcp: {maxConnections: 7, connectTimeout: 2.005s, tcpKeepalive: {time: 2h, interval: 75s}}", &[]);
    pool("tcp: {maxConnections: -1}", &["maxConnections is negative"]);
    for field in ["http1MaxPendingRequests", "http2MaxRequests", "maxRequestsPerConnection", "maxRetries"] {
        pool(&format!("http: {{{field}: 1}}"), &[]);
        pool(&format!("http: {{{field}: -1}}"), &["is negative"]);
    }
    pool("tcp: {connectTimeout: 2.000000005s}", &["of whole milliseconds"]);
    pool("tcp: {maxConnectionDuration: 500ns}", &["maxConnectionDuration"]);
    pool("tcp: {tcpKeepalive: {time: 0s}}", &["tcpKeepalive.time"]);
    // Without end for TCP; not so for HTTP.
    pool("tcp: {idleTimeout: 0s}", &[]);
    pool("http: {idleTimeout: 0s}", &["idleTimeout"]);
    pool("http: {h2UpgradePolicy: UPGRADE}", &[]);
    pool("http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}", &["useClientProtocol"]);
}

#[test]
fn outliers() {
    let outliers = |text: &str, reasons: &[&str]| policy(&format!("outlierDetection: {{{text}}}"), reasons);
    outliers("maxEjectionPercent: 100, minHealthPercent: 0, consecutiveErrors: 101", &[]);
    outliers("maxEjectionPercent: 105", &["maxEjectionPercent"]);
    outliers("minHealthPercent: -1", &["minHealthPercent"]);
    outliers("interval: 2.000000005s, baseEjectionTime: 0s", &["interval", "baseEjectionTime"]);
    outliers("consecutiveLocalOriginFailures: 10", &["splitExternalLocalOriginErrors"]);
    outliers("consecutiveLocalOriginFailures: 10, splitExternalLocalOriginErrors: true", &[]);
}

#[test]
fn load_balancers() {
    let balancer = |text: &str, reasons: &[&str]| policy(&format!("loadBalancer: {{{text}}}"), reasons);
    let hash = |text: &str, reasons: &[&str]| balancer(&format!("consistentHash: {{{text}}}"), reasons);
    hash("minimumRingSize: 1024, httpCookie: {name: test, ttl: 1h}", &[]);
    hash("httpCookie: {ttl: 1h}", &["httpCookie has no name"]);
    for (size, taken) in [(1, true), (2, true), (9, false), (1000, false), (65537, true), (5_000_011, false)]
    {
        let reasons = ["no prime"];
        hash(&format!("maglev: {{tableSize: {size}}}"), if taken { &[] } else { &reasons });
    }
    hash("maglev: {}", &["tableSize 0"]);
    hash("minimumRingSize: 1024, maglev: {tableSize: 65537}", &["both minimumRingSize"]);
    balancer("warmup: {duration: 300s, minimumPercent: 5.0, aggression: 5.0}", &[]);
    balancer("warmup: {minimumPercent: 5.0}", &["duration is missing"]);
    balancer("warmup: {duration: 300s, minimumPercent: 150.0, aggression: 0.3}", &["above 100", "below 1"]);
}

#[test]
fn localities() {
    let set = |text: &str, reasons: &[&str]| {
        policy(&format!("loadBalancer: {{localityLbSetting: {{{text}}}}}"), reasons);
    };
    set("distribute: [{from: a/b/c, to: {a/b/c: 80, a/b1: 20}}]", &[]);
    for weights in ["a/b/c: 80, a/b1: 25", "a/b/c: 80, a/b1: 15", "a/b/c: 0, a/b1: 100"] {
        set(&format!("distribute: [{{from: a/b/c, to: {{{weights}}}}}]"), &["the weights"]);
    }
    set("failover: [{from: region1, to: region2}], failoverPriority: [topology.istio.io/network]", &[]);
    set("failover: [{from: one, to: two}], distribute: [{from: a, to: {b: 100}}]", &["both distribute"]);
    for (from, to) in [("one", "one"), ("'*'", "two"), ("one", "'*'"), ("one/zone", "two")] {
        set(&format!("failover: [{{from: {from}, to: {to}}}]"), &["not two regions"]);
    }
    let place = "failoverPriority: [topology.kubernetes.io/region]";
    set(place, &[]);
    set(&format!("failover: [{{from: one, to: two}}], {place}"), &["names a place beside"]);
    for (from, reasons) in [
        ("a1/*, a2/*, a3/b3/c3, a4/b4, a5/b5/*, '*'", [].as_slice()),
        ("'*/zone'", &["is no place"]),
        ("'*', a/b/c", &["overlaps"]),
        ("a/*, a/b/c", &["overlaps"]),
        ("a/b/c, a/*", &[]),
        ("a/b/c, a/b", &["overlaps"]),
        ("a/b/*, a/b/c", &["overlaps"]),
    ] {
        let list: Vec<String> =
            from.split(", ").map(|from| format!("{{from: {from}, to: {{r: 100}}}}")).collect();
        set(&format!("distribute: [{}]", list.join(", ")), reasons);
    }
}

#[test]
fn tunnels() {
    policy("tunnel: {targetHost: example.com, targetPort: 443}", &[]);
    policy("tunnel: {protocol: POST, targetHost: 192.168.1.2, targetPort: 443}", &[]);
    policy("tunnel: {protocol: GET, targetHost: '*.a.b'}", &["neither CONNECT", "targetHost", "targetPort"]);
}
