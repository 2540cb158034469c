// The namespace matrix: who talks to whom, each cell a lock with its word. A cell filters everything else on the page.

import { useMemo } from "preact/hooks";

import type { MatrixCell } from "./api.ts";
import type { Go } from "./app.tsx";
import type { Counts } from "./forms.ts";
import { counted } from "./format.ts";
import { lock } from "./lock.ts";
import { Lock } from "./marks.tsx";
import type { Route } from "./route.ts";

export function Matrix({ cells, route, go }: { cells: MatrixCell[]; route: Route; go: Go }) {
  // A hundred namespaces are ten thousand cells: they are not made anew for every letter that is typed elsewhere.
  return useMemo(() => <Cells cells={cells} route={route} go={go} />, [cells, route.from, route.to, go]);
}

function Cells({ cells, route, go }: { cells: MatrixCell[]; route: Route; go: Go }) {
  const rows = names(cells.map(({ from }) => from));
  const columns = names(cells.map(({ to }) => to));
  const found = new Map(cells.map(({ from, to, flows }) => [`${from ?? ""} ${to ?? ""}`, flows]));
  const find = (from: string, to: string): Counts | undefined => found.get(`${from} ${to}`);
  const filtered = route.from !== null || route.to !== null;
  return (
    <section class="panel" aria-labelledby="matrix">
      <div class="bar">
        <h2 id="matrix">Namespaces</h2>
        <span class="quiet">Client down, server across. [mTLS]: every flow certain. [mTLS~]: some not. [MIX n%]: the share that is mTLS.</span>
        {filtered && <button type="button" onClick={() => go({ from: null, to: null })}>Clear namespaces</button>}
      </div>
      <div class="scroll tall">
        <table class="matrix">
          <thead>
            <tr><th scope="col">from \ to</th>{columns.map((to) => <th key={to} scope="col">{label(to)}</th>)}</tr>
          </thead>
          <tbody>
            {rows.map((from) => (
              <tr key={from}>
                <th scope="row">{label(from)}</th>
                {columns.map((to) => {
                  const counts = find(from, to);
                  if (counts === undefined) return <td key={to} class="none" aria-label="no flow">·</td>;
                  const chosen = route.from === from && route.to === to;
                  return (
                    <td key={to}>
                      <button
                        type="button" class={`cell cell-${lock(counts).state}`} aria-pressed={chosen}
                        aria-label={`${label(from)} to ${label(to)}: ${lock(counts).text}, ${counted(total(counts), "flow")}`}
                        onClick={() => go(chosen ? { from: null, to: null } : { from, to })}
                      >
                        <Lock counts={counts} /><span class="flows">{counted(total(counts), "flow")}</span>
                      </button>
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function total(counts: Counts): number {
  return Object.values(counts).flatMap((proofs) => Object.values(proofs)).reduce((sum, flows) => sum + flows, 0);
}

/** Each namespace once, in order; what is outside the mesh comes last. */
function names(given: (string | null)[]): string[] {
  return [...new Set(given.map((name) => name ?? ""))].sort((one, other) => Number(one === "") - Number(other === "") || one.localeCompare(other));
}

function label(namespace: string): string {
  return namespace === "" ? "outside" : namespace;
}
