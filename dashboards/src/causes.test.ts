import assert from "node:assert/strict";
import { test } from "node:test";

import { byCause, matches, part, weakestProof } from "./causes.ts";
import type { Citation, Finding, Party } from "./forms.ts";

const PARTY: Party = { address: "10.0.0.1", kind: "sidecar", namespace: "shop", workload: "web", pod: null, service: null, service_account: null };

function finding(change: Partial<Finding>): Finding {
  return {
    key: "0", id: "OB01", severity: "high", certainty: "certain", message: "m", client: PARTY,
    server: { ...PARTY, namespace: "pay", workload: "ledger" }, port: 80, class: "plaintext", proof: "wire", expected: null,
    cause: "DestinationRule/shop/lb", because: [], remedy: { summary: "s", resource: null, file: null, line: null, yaml: null },
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

test("a citation decides, loses or adds", () => {
  const check = (effect: string, expected: string): void => {
    const citation: Citation = { rule: "r", resource: "x", field: null, effect, file: null, line: null };
    assert.equal(part(citation), expected, effect);
  };
  check("STRICT, decides", "decides");
  check("PERMISSIVE, overridden", "loses");
  check("ignored: the client has no proxy", "loses");
  check("port 8080 is http", "adds");
});
