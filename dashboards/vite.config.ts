import { defineConfig } from "vite";

export default defineConfig({
  // The page may be served below another path by a proxy, so nothing in it starts with a slash.
  base: "./",
  build: {
    target: "es2022",
    // The content security policy allows the page's own origin only, and a data: address is not that.
    assetsInlineLimit: 0,
    modulePreload: false,
    // What is bundled stays under its own licence, whose text has to travel along.
    license: { fileName: "assets/licenses.txt" },
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
});
