import assert from "node:assert/strict";
import { test } from "node:test";

import { CLASSES, PROOFS, type Counts } from "./forms.ts";
import { lock } from "./lock.ts";

function check(counts: Counts, text: string): void {
  assert.equal(lock(counts).text, text, JSON.stringify(counts));
}

test("one class alone has its own lock", () => {
  check({}, "none");
  check({ mtls: {} }, "none");
  check({ mtls: { wire: 3, exact: 9 } }, "mTLS");
  check({ tls: { exact: 2 } }, "TLS");
  check({ tls: { exact: 2, none: 1 } }, "TLS?");
  check({ plaintext: { wire: 5 } }, "PLAIN");
  check({ opaque: { wire: 5 } }, "OPAQUE");
  check({ unknown: { none: 5 } }, "?");
});

test("a mixture states the share of mTLS, rounded down", () => {
  check({ mtls: { wire: 97 }, plaintext: { wire: 3 } }, "MIX 97%");
  check({ mtls: { wire: 9999 }, plaintext: { wire: 1 } }, "MIX 99%");
  check({ mtls: { wire: 1 }, tls: { exact: 1 } }, "MIX 50%");
  check({ plaintext: { wire: 1 }, unknown: { none: 1 } }, "MIX 0%");
});

test("the unmarked closed lock needs every flow mTLS and certain, over every pair of class and proof", () => {
  for (const name of CLASSES) {
    for (const proof of PROOFS) {
      const alone = lock({ [name]: { [proof]: 1 } }).state === "mtls";
      assert.equal(alone, name === "mtls" && (proof === "wire" || proof === "exact"), `${name} ${proof}`);
      if (name === "mtls") continue;
      assert.notEqual(lock({ mtls: { wire: 1000 }, [name]: { [proof]: 1 } }).state, "mtls", `${name} ${proof}`);
    }
  }
});
