// Flows by class and proof -> the lock that stands for them. The rule is strict on purpose: a closed lock without a mark
// is drawn only when every single flow is mTLS, and that is read on the wire or exact.

import type { Class, Counts, Proof } from "./forms.ts";

export type LockState = "mtls" | "mtls-inferred" | "tls" | "tls-unsettled" | "mix" | "plain" | "opaque" | "unknown" | "none";

export interface Lock {
  state: LockState;
  /** The word inside the brackets, such as `mTLS~` or `MIX 97%`. */
  text: string;
  /** What it means, as a sentence. */
  meaning: string;
}

/** Proofs that leave no other reading. The others rest on what stacks are known to do, or on a link to another session. */
const CERTAIN: ReadonlySet<Proof> = new Set<Proof>(["wire", "exact"]);

/** Picks the lock for a set of flows. */
export function lock(counts: Counts): Lock {
  const of = (name: Class): number => Object.values(counts[name] ?? {}).reduce((sum, count) => sum + count, 0);
  const total = of("mtls") + of("tls") + of("plaintext") + of("opaque") + of("unknown");
  if (total === 0) return { state: "none", text: "none", meaning: "No flow." };
  const all = (name: Class): boolean => of(name) === total;
  if (all("mtls")) {
    const certain = Object.keys(counts.mtls ?? {}).every((proof) => CERTAIN.has(proof as Proof));
    return certain
      ? { state: "mtls", text: "mTLS", meaning: "Every flow is mTLS, read on the wire or exact." }
      : { state: "mtls-inferred", text: "mTLS~", meaning: "Every flow is mTLS; of some it is linked or inferred rather than read or exact." };
  }
  if (all("tls")) {
    return counts.tls?.none
      ? { state: "tls-unsettled", text: "TLS?", meaning: "TLS; of some flows it is not known whether the client showed a certificate." }
      : { state: "tls", text: "TLS", meaning: "TLS without a client certificate." };
  }
  if (all("plaintext")) return { state: "plain", text: "PLAIN", meaning: "Every flow is plaintext." };
  if (all("opaque")) return { state: "opaque", text: "OPAQUE", meaning: "Encrypted, but not TLS." };
  if (all("unknown")) return { state: "unknown", text: "?", meaning: "No flow could be classified." };
  // Rounded down, so that one plaintext flow among thousands never reads as 100%.
  const share = Math.floor((100 * of("mtls")) / total);
  return { state: "mix", text: `MIX ${share}%`, meaning: `${share}% of the flows are mTLS.` };
}
