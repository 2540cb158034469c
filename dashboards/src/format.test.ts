import assert from "node:assert/strict";
import { test } from "node:test";

import type { Party } from "./forms.ts";
import { bytes, clock, count, counted, endpoint, party, percent, place, time } from "./format.ts";

test("numbers are grouped and scaled", () => {
  assert.equal(count(1234567), "1,234,567");
  assert.equal(bytes(0), "0 B");
  assert.equal(bytes(1023), "1023 B");
  assert.equal(bytes(1536), "1.5 KiB");
  assert.equal(counted(1, "flow"), "1 flow");
  assert.equal(counted(2, "flow"), "2 flows");
});

test("a share is never rounded up to the whole", () => {
  assert.equal(percent(1, 1), "100%");
  assert.equal(percent(99999, 100000), "99.9%");
  assert.equal(percent(0, 7), "0.0%");
  assert.equal(percent(0, 0), null);
});

test("times keep UTC", () => {
  assert.equal(time("2026-09-14T09:14:02.117000000Z"), "2026-09-14 09:14:02");
  assert.equal(clock("2026-09-14T09:14:02.117000000Z"), "09:14:02.117");
  assert.equal(clock("2026-09-14T09:14:02Z"), "09:14:02");
});

test("ends and places are written as their tools write them", () => {
  assert.equal(endpoint({ ip: "10.0.0.1", port: 80 }), "10.0.0.1:80");
  assert.equal(endpoint({ ip: "2001:db8::1", port: 80 }), "[2001:db8::1]:80");
  assert.equal(place("a.yaml", 3), "a.yaml:3");
  assert.equal(place("a.yaml", null), "a.yaml");
  assert.equal(place(null, 3), null);
});

test("a party is named by its workload, else by what is known", () => {
  const known: Party = { address: "10.0.0.1", kind: "sidecar", namespace: "a", workload: "b", pod: null, service: null, service_account: null };
  assert.equal(party(known), "a/b");
  assert.equal(party({ ...known, namespace: null }), "b");
  assert.equal(party({ ...known, workload: null }), "10.0.0.1");
});
