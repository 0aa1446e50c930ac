// Makes hello-javascript.wasm of plugin.js.

import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const output = process.argv[2] ?? join(here, "hello-javascript.wasm");
const componentize = join(here, "node_modules/.bin/componentize-qjs");

if (!existsSync(componentize)) {
  console.error(`componentize-qjs is not installed: run npm ci in ${here} first`);
  process.exit(1);
}
mkdirSync(dirname(resolve(output)), { recursive: true });

// The interface lies beside the world that uses it. Elsewhere, keep a copy of the file there.
const dependency = join(here, "wit/deps/carillon-plugin");
mkdirSync(dependency, { recursive: true });
copyFileSync(
  join(here, "../../wit/carillon-plugin-0.1.1/plugin.wit"),
  join(dependency, "plugin.wit"),
);

execFileSync(
  componentize,
  [
    ["--wit", join(here, "wit")],
    ["--world", "hello-javascript"],
    ["--js", join(here, "plugin.js")],
    ["--output", output],
    // The host calls a plugin and waits: no part of the interface is asynchronous.
    ["--sync"],
  ].flat(),
  { stdio: "inherit" },
);
