// The top of the page: what was audited and on what coverage, then the counts by class and proof.

import type { Overview } from "./api.ts";
import type { Go } from "./app.tsx";
import { CLASSES, type Class, type Coverage, PROOFS } from "./forms.ts";
import { count, counted, percent, proof as proofMeaning, time } from "./format.ts";
import { ClassWord } from "./marks.tsx";
import type { Route } from "./route.ts";

export function Header({ overview, reload, busy }: { overview: Overview | null; reload: (() => void) | null; busy: boolean }) {
  return (
    <header class="top">
      <h1>wireproof</h1>
      <p class="scope">
        {overview !== null && overview.from !== null && overview.to !== null && (
          <span>{time(overview.from)} to {overview.from.slice(0, 10) === overview.to.slice(0, 10) ? overview.to.slice(11, 19) : time(overview.to)} UTC</span>
        )}
        {overview !== null && (
          <span title={overview.mesh?.id}>
            {overview.mesh === null ? "no mesh loaded" : <>mesh <code>{overview.mesh.id.slice(0, 12)}</code></>}
          </span>
        )}
      </p>
      <nav aria-label="More">
        {/* While it works it keeps the focus, which a disabled button loses. */}
        <button type="button" aria-busy={busy} onClick={busy ? undefined : (reload ?? undefined)} disabled={reload === null}>Reload</button>
        <a href="docs">API</a>
      </nav>
    </header>
  );
}

export function Totals({ overview, route, go }: { overview: Overview; route: Route; go: Go }) {
  const of = (name: Class): number => Object.values(overview.flows[name] ?? {}).reduce((sum, flows) => sum + flows, 0);
  const total = CLASSES.reduce((sum, name) => sum + of(name), 0);
  return (
    <section class="totals" aria-label="Flows by class and proof">
      {CLASSES.map((name) => (
        <button
          key={name} type="button" class={`total total-${name}`} aria-pressed={route.class === name}
          title={`Show only ${name} connections below`} onClick={() => go({ class: route.class === name ? null : name })}
        >
          <ClassWord name={name} />
          <strong>{count(of(name))}</strong>
          <span class="share">{percent(of(name), total) ?? ""}</span>
          <span class="proofs">
            {PROOFS.filter((level) => overview.flows[name]?.[level]).map((level) => (
              <span key={level} title={proofMeaning(level)}>{level === "none" ? "no proof" : level} {count(overview.flows[name]?.[level] ?? 0)}</span>
            ))}
          </span>
        </button>
      ))}
      <CoverageBox coverage={overview.coverage} translated={overview.translated} />
    </section>
  );
}

function CoverageBox({ coverage, translated }: { coverage: Coverage; translated: number }) {
  const skipped = Object.values(coverage.skipped).reduce((sum, frames) => sum + frames, 0);
  const share = percent(coverage.from_start, coverage.from_start + coverage.mid_stream);
  return (
    <div class="total coverage">
      <span class="class">coverage</span>
      <strong>{share ?? "n/a"}</strong>
      <span class="share">seen from start</span>
      <span class="proofs">
        <span>{counted(coverage.packets, "packet")}</span>
        {coverage.mid_stream > 0 && <span>{count(coverage.mid_stream)} mid-stream</span>}
        {coverage.empty > 0 && <span title="Connections without any payload byte; they are not counted as flows.">{count(coverage.empty)} empty</span>}
        {translated > 0 && <span title="Connections seen on both sides of an address translation are counted and judged on one; these are the other sides.">{count(translated)} translated</span>}
        {skipped > 0 && <span title={Object.entries(coverage.skipped).map(([reason, frames]) => `${reason} ${frames}`).join(", ")}>{count(skipped)} skipped</span>}
        {coverage.kernel_dropped !== null && coverage.kernel_dropped > 0 && <span class="warn">{count(coverage.kernel_dropped)} dropped by the kernel</span>}
        {coverage.damaged.length > 0 && <span class="warn" title={coverage.damaged.join("\n")}>{counted(coverage.damaged.length, "damaged input")}</span>}
      </span>
    </div>
  );
}
