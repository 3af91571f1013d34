import assert from "node:assert/strict";
import { trimPackages } from "../../scripts/build/trim.ts";

const UNUSED = ["alpha", "beta"].map((name) => `npm/@googleapis/compute/1/build/${name}.js`);

function commonJs(path: string, body: string): string {
  return `var require_x = __commonJS({\n  "${path}"(exports, module) {\n    ${body}\n  }\n});\n`;
}

const REQUIRE = `import { createRequire as __deno_internal_createRequire } from "node:module";
var __require = __deno_internal_createRequire(import.meta.url);
`;

const IP_ADDRESS = `var import_ip_address = __toESM(require_ip_address());\n`;

/** A bundle in which everything has its place. */
function bundle(): Map<string, string> {
  return new Map([
    ["require.js", REQUIRE],
    ["lib.js", UNUSED.map((path) => commonJs(path, `big("${path}");`)).join("")],
    ["chunk.js", IP_ADDRESS + commonJs("npm/other/1/client.js", "exports.Client = 1;")],
  ]);
}

function trimmed(file: string): string {
  return trimPackages(bundle()).get(file)!;
}

Deno.test("trim: unused modules are empty, and the others as they were", () => {
  const lib = trimmed("lib.js");
  assert.doesNotMatch(lib, /big\(/);
  for (const path of UNUSED) assert.ok(lib.includes(`"${path}"`), path);
  assert.match(trimmed("chunk.js"), /exports\.Client = 1;/);
});

Deno.test("trim: a change that finds no place is an error that names it", () => {
  // Bug: a newer package or bundler made these changes do nothing, and nobody noticed.
  for (const path of UNUSED) {
    const texts = bundle();
    texts.set(
      "lib.js",
      texts.get("lib.js")!.replace(`"${path}"`, `"${path.replace("/build/", "/dist/")}.new"`),
    );
    assert.throws(() => trimPackages(texts), /adapt scripts\/build\/trim\.ts.*module /, path);
  }
  const other = new Map(
    [...bundle()].map(([name, text]) => [name, text.replace("createRequire as", "create as")]),
  );
  assert.throws(() => trimPackages(other), /Cannot trim the bundle.*require of Node/);
  const texts = bundle();
  texts.delete("chunk.js");
  assert.throws(() => trimPackages(texts), /ip-address is loaded with the first text/);
});

Deno.test("trim: require of Node's modules is lazy, and names what it can't find", () => {
  const out = trimmed("require.js");
  assert.doesNotMatch(out, /node:module|import/);
  const require = new Function(`${out}; return __require;`)() as (id: string) => { sep: string };
  assert.equal(require("node:path").sep, "/");
  assert.throws(() => require("leftpad"), /Cannot find module leftpad/);
});

Deno.test("trim: ip-address is loaded when it is used", () => {
  const line = trimmed("chunk.js").split("\n")[0]!;
  const out = new Function(`
    let loads = 0;
    const require_ip_address = () => (loads++, { Address6: "class" });
    ${line}
    return [loads, import_ip_address.Address6, loads];`)();
  assert.deepEqual(out, [0, "class", 1]);
});
