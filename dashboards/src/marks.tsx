// The small marks that repeat over the page: locks, severities, classes. Each has a shape and a word beside its colour, so
// that nothing is told by colour alone.

import { Fragment } from "preact";

import type { Class, Counts, Proof, Severity } from "./forms.ts";
import { proof as proofMeaning } from "./format.ts";
import { lock, type LockState } from "./lock.ts";

const SHACKLE: Record<LockState, string> = {
  mtls: "M5 7V5a3 3 0 0 1 6 0v2",
  "mtls-inferred": "M5 7V5a3 3 0 0 1 6 0v2",
  tls: "M5 7V5a3 3 0 0 1 6 0v2",
  "tls-unsettled": "M5 7V5a3 3 0 0 1 6 0v2",
  mix: "M5 7V4.5a3 3 0 0 1 5.6-1.5",
  plain: "M5 7V4a3 3 0 0 1 5.6-1.5",
  opaque: "M5 7V5a3 3 0 0 1 6 0v2",
  unknown: "",
  none: "",
};

/** Draws the lock for a set of flows, with its word. */
export function Lock({ counts }: { counts: Counts }) {
  const { state, text, meaning } = lock(counts);
  return (
    <span class={`lock lock-${state}`} title={meaning}>
      <LockGlyph state={state} />
      <span class="word">{text}</span>
    </span>
  );
}

export function LockGlyph({ state }: { state: LockState }) {
  const filled = state === "mtls" || state === "opaque";
  return (
    <svg class="glyph" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" focusable="false">
      {state === "unknown" || state === "none" ? (
        <circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="1.5" stroke-dasharray="2.4 2" />
      ) : (
        <>
          <path d={SHACKLE[state]} fill="none" stroke="currentColor" stroke-width="1.5" />
          <rect x="3" y="7" width="10" height="7" rx="1.2" fill={filled ? "currentColor" : "none"} stroke="currentColor" stroke-width="1.5" stroke-dasharray={state === "mtls-inferred" || state === "tls-unsettled" ? "2.2 1.6" : undefined} />
          {state === "mix" && <path d="M3 14L13 7V14Z" fill="currentColor" />}
          {state === "tls" && <path d="M5.5 10.5H10.5" stroke="currentColor" stroke-width="1.5" />}
        </>
      )}
    </svg>
  );
}

export function SeverityMark({ severity }: { severity: Severity }) {
  return <span class={`severity severity-${severity}`}>{severity}</span>;
}

export const CLASS_WORD: Record<Class, string> = { mtls: "mTLS", tls: "TLS", plaintext: "plaintext", opaque: "opaque", unknown: "unknown" };

export function ClassWord({ name }: { name: Class }) {
  return <span class={`class class-${name}`}>{CLASS_WORD[name]}</span>;
}

/** Shows a class with the proof behind it, which is never left out. */
export function Seen({ name, proof }: { name: Class; proof: Proof }) {
  return (
    <span class="seen">
      <ClassWord name={name} /> <span class="proof" title={proofMeaning(proof)}>{proof === "none" ? "no proof" : proof}</span>
    </span>
  );
}

/** Shows `namespace/name` so that a narrow column breaks it after the slash and nowhere else. */
export function Name({ text }: { text: string }) {
  return <>{text.split(/(?<=\/)/).map((piece, at) => <Fragment key={at}>{at > 0 && <wbr />}{piece}</Fragment>)}</>;
}
