import assert from "node:assert/strict";
import { test } from "node:test";

import { byCause, matches, parts, weakestProof } from "./causes.ts";
import type { Citation, Finding, Party } from "./forms.ts";

const PARTY: Party = { address: "10.0.0.1", kind: "sidecar", namespace: "shop", workload: "web", pod: null, service: null, service_account: null };

function finding(change: Partial<Finding>): Finding {
  return {
    key: "0", id: "OB01", severity: "high", certainty: "certain", message: "m", client: PARTY,
    server: { ...PARTY, namespace: "pay", workload: "ledger" }, port: 80, class: "plaintext", proof: "wire", expected: null,
    cause: "DestinationRule/shop/lb", because: [], remedy: { summary: "s", resource: null, file: null, line: null, yaml: null, values: null },
    flows: 1, first_seen: "2026-01-01T00:00:00Z", last_seen: "2026-01-01T00:00:01Z", examples: [], ...change,
  };
}

test("one resource is one row, whatever it breaks", () => {
  const [only, ...others] = byCause([
    finding({ key: "1", flows: 700 }),
    finding({ key: "2", id: "OB02", severity: "critical", flows: 31, proof: "inferred", last_seen: "2026-01-02T00:00:00Z" }),
  ]);
  assert.equal(others.length, 0);
  assert.ok(only);
  assert.equal(only.flows, 731);
  assert.equal(only.severity, "critical");
  assert.deepEqual(only.ids, ["OB02", "OB01"]);
  assert.equal(only.lastSeen, "2026-01-02T00:00:00Z");
  assert.equal(weakestProof(only), "inferred");
});

test("findings without a causing resource group by id and server", () => {
  const groups = byCause([
    finding({ cause: null }),
    finding({ cause: null, client: { ...PARTY, workload: "other" } }),
    finding({ cause: null, port: 81 }),
  ]);
  assert.deepEqual(groups.map((group) => group.findings.length), [2, 1]);
});

test("the worst comes first, then the most flows", () => {
  const groups = byCause([
    finding({ cause: "a", severity: "low", flows: 9 }),
    finding({ cause: "b", severity: "critical" }),
    finding({ cause: "c", severity: "low", flows: 10 }),
  ]);
  assert.deepEqual(groups.map(({ key }) => key), ["b", "c", "a"]);
});

test("every part of a filter has to hold", () => {
  const none = { text: "", severity: null, from: null, to: null };
  const check = (change: object, expected: boolean): void => assert.equal(matches(finding({}), { ...none, ...change }), expected, JSON.stringify(change));
  check({}, true);
  check({ text: "LEDGER ob01" }, true);
  check({ text: "ledger absent" }, false);
  check({ severity: "high" }, true);
  check({ severity: "low" }, false);
  check({ from: "shop", to: "pay" }, true);
  check({ from: "pay" }, false);
  check({ to: "" }, false);
  assert.equal(matches(finding({ client: { ...PARTY, namespace: null } }), { ...none, from: "" }), true);
});

const citation = (rule: string, resource: string, effect: string): Citation => ({ rule, resource, field: null, effect, file: null, line: null });

test("an effect tells whether its resource decides, loses or adds", () => {
  const check = (effect: string, expected: string): void => assert.deepEqual(parts([citation("destination-rule.mode", "x", effect)]), [expected], effect);
  check("DISABLE, decides", "decides");
  check("no tls block: auto mTLS decides", "adds");
  check("ISTIO_MUTUAL, overridden", "loses");
  check("host *.local matches, a more specific one hides it", "loses");
  check("ignored: an older rule for the host has a trafficPolicy", "loses");
  check("not exported to the client's namespace", "loses");
  check("port 8080 is declared http by its name", "adds");
});

test("of the PeerAuthentication ladder only the narrowest that sets a mode decides", () => {
  const ladder = [
    citation("client.application-decides", "default", "the client has no proxy"),
    citation("peer-authentication.narrowest-wins", "default", "PERMISSIVE where nothing is declared"),
    citation("peer-authentication.narrowest-wins", "PeerAuthentication/a/workload", "STRICT for the workload"),
    citation("peer-authentication.port-level", "PeerAuthentication/a/workload", "DISABLE for port 80"),
    citation("inbound.mode-and-protocol", "default", "port 80 is declared HTTP by Service/a/b"),
  ];
  assert.deepEqual(parts(ladder), ["adds", "loses", "loses", "decides", "adds"]);
  assert.deepEqual(parts(ladder.slice(0, 2)), ["adds", "decides"]);
  const unset = citation("peer-authentication.port-level", "PeerAuthentication/a/workload", "UNSET: port 80 inherits STRICT");
  assert.deepEqual(parts([...ladder.slice(0, 3), unset]), ["adds", "loses", "decides", "adds"]);
});
