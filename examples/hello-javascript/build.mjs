// Makes hello-javascript.wasm of plugin.js.

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const output = process.argv[2] ?? join(here, "hello-javascript.wasm");

// The interface lies beside the world that uses it. Elsewhere, keep a copy of the file there.
const dependency = join(here, "wit/deps/carillon-plugin");
mkdirSync(dependency, { recursive: true });
copyFileSync(
  join(here, "../../wit/carillon-plugin-0.1.1/plugin.wit"),
  join(dependency, "plugin.wit"),
);

execFileSync(
  join(here, "node_modules/.bin/componentize-qjs"),
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
