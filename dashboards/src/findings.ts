// The findings that the page holds: the worst of all. Where there are more than the page reads, a severity or a namespace that is
// chosen is asked of the server, for those that fit it may be among the others; so is the one that the address opens.

import { useEffect, useState } from "preact/hooks";

import * as api from "./api.ts";
import type { Finding } from "./forms.ts";
import type { Route } from "./route.ts";

export interface Held extends api.Findings {
  /** Whether the rows are not those that were asked for, but what was there before. */
  busy: boolean;
  problem: api.Problem | null;
  /** The one whose drawer is open. */
  open: Finding | null;
}

export function useFindings(worst: api.Findings, { severity, from, to, open }: Route): Held {
  const asked = worst.more && (severity !== null || from !== null || to !== null) ? JSON.stringify([severity, from, to]) : null;
  const [narrowed, setNarrowed] = useState<{ asked: string; of: api.Findings; held: api.Findings; problem: api.Problem | null } | null>(null);
  useEffect(() => {
    if (asked === null) return undefined;
    let current = true;
    const keep = (held: api.Findings, problem: api.Problem | null): void => { if (current) setNarrowed({ asked, of: worst, held, problem }); };
    api.findings({ severity, from, to }).then((held) => keep(held, null), (problem: unknown) => keep(worst, api.asProblem(problem)));
    return () => { current = false; };
  }, [worst, asked]);
  const answered = asked !== null && narrowed?.asked === asked && narrowed.of === worst ? narrowed : null;
  const { rows, more } = answered?.held ?? worst;

  const listed = open === null ? null : (rows.find(({ key }) => key === open) ?? worst.rows.find(({ key }) => key === open) ?? null);
  const [single, setSingle] = useState<Finding | null>(null);
  const strange = open !== null && listed === null && worst.more ? open : null;
  useEffect(() => {
    if (strange === null || strange === single?.key) return undefined;
    let current = true;
    // A key that leads to nothing opens nothing, as where all findings are there.
    api.finding(strange).then((finding) => { if (current) setSingle(finding); }, () => undefined);
    return () => { current = false; };
  }, [strange]);

  return { rows, more, busy: asked !== null && answered === null, problem: answered?.problem ?? null, open: listed ?? (single?.key === open ? single : null) };
}
