// YAML with a copy button. The clipboard needs a permission or a secure origin that a page on a plain address may lack; then
// the text is left selected, so that the keyboard's own copy finishes the job.

import { useRef, useState } from "preact/hooks";

export function Yaml({ text }: { text: string }) {
  const block = useRef<HTMLPreElement>(null);
  const [done, setDone] = useState<"" | "Copied" | "Selected: press Ctrl+C">("");
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setDone("Copied");
    } catch {
      setDone(block.current !== null && selectAndCopy(block.current) ? "Copied" : "Selected: press Ctrl+C");
    }
  };
  return (
    <div class="yaml">
      <div class="yaml-bar">
        <span>YAML</span>
        <span role="status" class="quiet">{done}</span>
        <button type="button" class="copy" onClick={copy}>Copy</button>
      </div>
      <pre ref={block} tabIndex={0} aria-label="YAML that mends it"><code>{text}</code></pre>
    </div>
  );
}

function selectAndCopy(block: HTMLElement): boolean {
  getSelection()?.selectAllChildren(block);
  // Deprecated, yet the only way without the permission; what it cannot do the selection leaves to the reader.
  return document.execCommand("copy");
}
