// Flows by class over time, as stacked bars. Left out when the capture is too short to have a course; its figures are those of
// the totals above, and a screen reader gets them as a sentence.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import type { Bucket } from "./api.ts";
import { CLASSES, type Class } from "./forms.ts";
import { CLASS_WORD } from "./marks.tsx";
import { counted } from "./format.ts";

/** Fewer columns than this are no course. */
const FEWEST = 3;
const HEIGHT = 110;
/** Pixels from one tick to the next: the widest label (`01:33:09.500`) and a gap. */
const TICK = 90;

export function Timeline({ buckets }: { buckets: Bucket[] }) {
  const place = useRef<HTMLDivElement>(null);
  const drawn = CLASSES.filter((name) => buckets.some(({ flows }) => flows[name]));
  const busy = buckets.filter(({ flows }) => Object.keys(flows).length > 0).length;
  useEffect(() => {
    const element = place.current;
    if (element === null) return;
    let plot = draw(element, buckets, drawn);
    const resized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    // Colours are read when drawing, so a change of scheme draws anew.
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = (): void => { plot.destroy(); plot = draw(element, buckets, drawn); };
    scheme.addEventListener("change", redraw);
    return () => { scheme.removeEventListener("change", redraw); resized.disconnect(); plot.destroy(); };
  }, [buckets]);
  if (busy < FEWEST) return null;
  return (
    <section class="panel timeline" aria-labelledby="timeline">
      <div class="bar">
        <h2 id="timeline">Flows over time</h2>
        <span class="legend">{drawn.map((name) => <span key={name} class={`key key-${name}`}>{CLASS_WORD[name]}</span>)}</span>
      </div>
      <div ref={place} class="plot" role="img" aria-label={drawn.map((name) => `${CLASS_WORD[name]} ${counted(sum(buckets, name), "flow")}`).join(", ")} />
    </section>
  );
}

function sum(buckets: Bucket[], name: Class): number {
  return buckets.reduce((total, { flows }) => total + (flows[name] ?? 0), 0);
}

function draw(element: HTMLElement, buckets: Bucket[], drawn: Class[]): uPlot {
  const style = getComputedStyle(element);
  const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  // uPlot draws series over each other: the tallest sum comes first, so that each later one leaves the part above it showing.
  const stacked = drawn.map((_, at) => buckets.map(({ flows }) => drawn.slice(at).reduce((total, name) => total + (flows[name] ?? 0), 0)));
  const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const times = buckets.map(({ at }) => Date.parse(at) / 1e3);
  const [first = 0, last = 0] = [times[0], times.at(-1)];
  const step = (last - first) / Math.max(times.length - 1, 1);
  const bars = uPlot.paths.bars?.({ size: [0.86, 40] });
  return new uPlot(
    {
      width: element.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { range: (_, first, last) => [first - step, last + step] }, y: { range: (_, _least, most) => [0, Math.max(most, 1)] } },
      axes: [{ ...axis, size: 24, space: TICK, values: (_, ticks) => ticks.map((seconds) => label(seconds, (ticks[1] ?? seconds) - (ticks[0] ?? seconds))) }, { ...axis, size: 44, space: 28, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6] }],
      series: [{}, ...drawn.map((name) => ({
        label: name, fill: colour(`class-${name}`), stroke: colour(`class-${name}`), width: 0, points: { show: false },
        ...(bars === undefined ? {} : { paths: bars }),
      }))],
    },
    [times, ...stacked],
    element,
  );
}

/** Writes a tick in UTC: the date where ticks are hours apart, as many digits as tell two ticks apart else. */
function label(seconds: number, step: number): string {
  const text = new Date(seconds * 1e3).toISOString();
  if (step >= 21_600) return text.slice(5, 16).replace("T", " ");
  return text.slice(11, step >= 60 ? 16 : step >= 1 ? 19 : 23);
}
