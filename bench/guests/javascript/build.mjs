// Builds a component: build.mjs WIT MODULE.js OUT.wasm

import { readFile, writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const [witPath, module, out] = process.argv.slice(2);
const { component } = await componentize(await readFile(module, "utf8"), {
  witPath,
  worldName: "transfers",
  sourceName: "work.js",
  disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
});
await writeFile(out, component);
