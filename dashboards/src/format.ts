// Values -> short text for people. Pure; the locale is fixed so that two machines show the same page.

import type { Endpoint, Party, Proof } from "./forms.ts";

/** Writes a count with thousands separators. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** Writes a number of bytes with binary units. */
export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let scaled = value;
  let unit = 0;
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${value} B` : `${scaled.toFixed(1)} ${units[unit] ?? ""}`;
}

/** Writes a share as a percentage, never rounding up to 100 %; `null` where there is nothing to share. */
export function percent(part: number, whole: number): string | null {
  if (whole === 0) return null;
  if (part === whole) return "100%";
  return `${(Math.floor((1000 * part) / whole) / 10).toFixed(1)}%`;
}

/** Writes a singular or plural noun after its count. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Writes an RFC 3339 time as UTC date and time to the second. */
export function time(text: string): string {
  return `${text.slice(0, 10)} ${text.slice(11, 19)}`;
}

/** Writes an RFC 3339 time as UTC time of day to the millisecond. */
export function clock(text: string): string {
  return /\.\d{3}/.test(text) ? text.slice(11, 23) : text.slice(11, 19);
}

/** Writes an address and port; IPv6 in brackets. */
export function endpoint({ ip, port }: Endpoint): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Names a party: `namespace/workload`, else its host or its address. */
export function party({ namespace, workload, address }: Party): string {
  if (workload === null) return address;
  return namespace === null ? workload : `${namespace}/${workload}`;
}

/** Writes a file and line the way compilers do; `null` when there is no file. */
export function place(file: string | null, line: number | null): string | null {
  if (file === null) return null;
  return line === null ? file : `${file}:${line}`;
}

const PROOF_MEANING: Record<Proof, string> = {
  wire: "read in the clear",
  exact: "TLS 1.3 record arithmetic that leaves no other reading",
  strong: "only one known stack behaviour fits",
  linked: "a resumption tied to a session that was seen",
  inferred: "a size or one direction only",
  none: "not decidable",
};

/** Explains a proof level in a few words. */
export function proof(level: Proof): string {
  return PROOF_MEANING[level];
}
