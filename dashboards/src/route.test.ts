import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, START, write } from "./route.ts";

test("a route reads back as it was written", () => {
  for (const route of [
    START,
    { ...START, text: "a b&c=d", severity: "high" as const, from: "", to: "pay", port: 8080, open: "00ff" },
    { ...START, table: "flows" as const, class: "mtls" as const, judgement: "violates" as const, workload: "a/b", community: "1:a+b/c=" },
  ]) {
    assert.deepEqual(parse(write(route)), route);
  }
});

test("unknown words are absent, never passed on", () => {
  assert.deepEqual(parse("#severity=bad&class=1&port=99999&table=x"), START);
  assert.deepEqual(parse(""), START);
});
