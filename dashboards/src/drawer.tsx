// The drawer of one finding: what happened, why by declaration, what was seen, and what mends it. A modal `dialog`, so that
// Escape, the focus trap and the return of focus are the browser's own.

import { useEffect, useRef } from "preact/hooks";

import type { Go } from "./app.tsx";
import { byCause, parts } from "./causes.ts";
import { Yaml } from "./copy.tsx";
import { Evidence } from "./evidence.tsx";
import type { Citation, Expected, Finding, Party } from "./forms.ts";
import { count, party, place, proof as proofMeaning, time } from "./format.ts";
import { ClassWord, Seen, SeverityMark } from "./marks.tsx";

export function Drawer({ finding, findings, go }: { finding: Finding; findings: Finding[]; go: Go }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const close = (): void => go({ open: null });
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  const siblings = byCause(findings).find((cause) => cause.findings.includes(finding))?.findings ?? [finding];
  const here = siblings.indexOf(finding);
  return (
    <dialog
      ref={dialog} class="drawer" aria-labelledby="finding" onClose={close}
      onClick={(event) => { if (event.target === dialog.current) close(); }}
    >
      <article>
        <header>
          <SeverityMark severity={finding.severity} />
          <span class="code">{finding.id}</span>
          <span class={finding.certainty === "certain" ? "quiet" : "likely"} title={finding.certainty === "certain" ? "Read on the wire, or exact" : "Rests on an inference"}>{finding.certainty}</span>
          <span class="grow" />
          {siblings.length > 1 && (
            <span class="steps">
              <button type="button" disabled={here === 0} onClick={() => go({ open: siblings[here - 1]?.key ?? null })}>Previous</button>
              <span class="quiet">{here + 1} of {siblings.length} with this cause</span>
              <button type="button" disabled={here === siblings.length - 1} onClick={() => go({ open: siblings[here + 1]?.key ?? null })}>Next</button>
            </span>
          )}
          <button type="button" class="close" aria-label="Close" onClick={close}>Close</button>
        </header>
        <h2 id="finding" tabIndex={-1} autofocus>{finding.message}</h2>
        <dl class="facts">
          <dt>From</dt><dd><PartyLine party={finding.client} /></dd>
          <dt>To</dt><dd><PartyLine party={finding.server} port={finding.port} /></dd>
          <dt>Cause</dt><dd>{finding.cause === null ? "no resource declares it" : <code>{finding.cause}</code>}</dd>
          <dt>Flows</dt><dd>{count(finding.flows)}, {time(finding.first_seen)} to {time(finding.last_seen)} UTC</dd>
        </dl>
        <Why because={finding.because} />
        <Fix finding={finding} />
        <Comparison finding={finding} expected={finding.expected} />
        <Evidence key={finding.key} finding={finding} go={go} />
      </article>
    </dialog>
  );
}

function PartyLine({ party: given, port }: { party: Party; port?: number }) {
  const details = [given.kind, given.service && `service ${given.service}`, given.pod && `pod ${given.pod}`, given.address];
  return <><strong>{party(given)}{port !== undefined && `:${port}`}</strong> <span class="quiet">{details.filter(Boolean).join(" · ")}</span></>;
}

function Fix({ finding: { remedy } }: { finding: Finding }) {
  const where = place(remedy.file, remedy.line);
  return (
    <section aria-labelledby="fix" class="fix">
      <h3 id="fix">What mends it</h3>
      <p>{remedy.summary}</p>
      {remedy.resource !== null && <p class="quiet"><code>{remedy.resource}</code>{where !== null && <> in <code>{where}</code></>}</p>}
      {remedy.yaml !== null && <Yaml key={remedy.yaml} text={remedy.yaml} />}
      {remedy.values !== null && <>
        <p>Values of wireproof's Helm chart:</p>
        <Yaml key={remedy.values} text={remedy.values} />
      </>}
      {remedy.yaml === null && remedy.values === null && <p class="quiet">No YAML mends this.</p>}
    </section>
  );
}

const PART_WORD = { decides: "decides", loses: "loses", adds: "" } as const;

function Why({ because }: { because: Citation[] }) {
  const roles = parts(because);
  return (
    <section aria-labelledby="why">
      <h3 id="why">Why</h3>
      {because.length === 0 ? <p class="quiet">No declaration applies to this connection.</p> : (
        <ol class="why">
          {because.map((citation, at) => {
            const role = roles[at] ?? "adds";
            const where = place(citation.file, citation.line);
            return (
              <li key={at} class={`why-${role}`}>
                <span class="role">{PART_WORD[role]}</span>
                <div>
                  <code class="resource">{citation.resource}</code>{citation.field !== null && <code class="field"> {citation.field}</code>}
                  <span class="effect">{citation.effect}</span>
                  <span class="quiet line">{citation.rule}{where !== null && <> · {where}</>}</span>
                </div>
              </li>
            );
          })}
        </ol>
      )}
    </section>
  );
}

function Comparison({ finding, expected }: { finding: Finding; expected: Expected | null }) {
  const gateway = expected?.gateway_server ?? null;
  return (
    <section aria-labelledby="compare">
      <h3 id="compare">Expected and seen</h3>
      {expected === null ? <p class="quiet">The destination is unknown to the mesh, so nothing is declared for it.</p> : (
        <dl class="facts">
          <dt>Seen</dt><dd><Seen name={finding.class} proof={finding.proof} /> <span class="quiet">{proofMeaning(finding.proof)}</span></dd>
          <dt>Server accepts</dt><dd><Classes names={expected.allowed} /></dd>
          <dt>Server mode</dt><dd>{expected.server_mode ?? "none enforced"} <span class="quiet">from {expected.server_mode_from}</span></dd>
          <dt>Client sends</dt><dd><Classes names={expected.client_wire} /></dd>
          <dt>Client TLS</dt><dd>{expected.client_tls ?? "not decided"} <span class="quiet">from {expected.client_tls_from}</span></dd>
          <dt>Istio mTLS</dt><dd>{expected.istio_mtls}</dd>
          {expected.conflict !== null && <><dt>Conflict</dt><dd>{expected.conflict ? "client and server declarations exclude each other" : "none between client and server"}</dd></>}
          {expected.sni !== null && <><dt>SNI</dt><dd><code>{expected.sni}</code></dd></>}
          {expected.protocol !== null && <><dt>Port protocol</dt><dd>{expected.protocol}</dd></>}
          {gateway !== null && (
            <><dt>Gateway server</dt><dd>{gateway.protocol}{gateway.tls_mode !== null && ` ${gateway.tls_mode}`}, client certificate {gateway.client_cert} <span class="quiet">from {gateway.from}</span></dd></>
          )}
        </dl>
      )}
    </section>
  );
}

function Classes({ names }: { names: Finding["class"][] }) {
  if (names.length === 0) return <>nothing</>;
  return <>{names.map((name, at) => <span key={name}>{at > 0 && ", "}<ClassWord name={name} /></span>)}</>;
}
