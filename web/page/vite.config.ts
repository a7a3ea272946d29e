import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

/** What the built page may do: run its own scripts, and ask other servers for models (over HTTPS). */
const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob:",
  "media-src 'self' blob:",
  "connect-src 'self' https:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

export default defineConfig({
  // The page can be served from any folder.
  base: "./",
  // As an app sees it: the package as it was built.
  resolve: { alias: { "vit-gpu": fileURLToPath(new URL("../dist/index.js", import.meta.url)) } },
  optimizeDeps: { exclude: ["vit-gpu"] },
  server: { fs: { allow: [fileURLToPath(new URL("../..", import.meta.url))] } },
  worker: { format: "es" },
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 3000 },
  plugins: [
    {
      name: "policy",
      apply: "build",
      transformIndexHtml: () => [
        { tag: "meta", attrs: { "http-equiv": "Content-Security-Policy", content: POLICY }, injectTo: "head-prepend" },
      ],
    },
  ],
});
