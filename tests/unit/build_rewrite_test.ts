import assert from "node:assert/strict";
import {
  declareDirname,
  isCommonJsChunk,
  moduleUrls,
  replaceModules,
  rewriteDynamicImports,
  rewriteModuleUrls,
  shortenPackagePaths,
} from "../../scripts/build/rewrite.ts";

Deno.test("build: workers and assets are found by import.meta.url, over line breaks too", () => {
  const source = `new Worker(new URL("./worker.ts", import.meta.url).href);
    const schema = new URL("../schema.sql",
      import.meta.url);
    new URL("https://example.org/", base);`;
  assert.deepEqual(moduleUrls(source), ["./worker.ts", "../schema.sql"]);
});

Deno.test("build: workers and assets are pointed to their new places, and an unknown one is an error", () => {
  const text = `new Worker(new URL("./worker.ts", import.meta.url).href)`;
  assert.equal(
    rewriteModuleUrls(text, new Map([["./worker.ts", "./backends/udp/worker.js"]])),
    `new Worker(new URL("./backends/udp/worker.js", import.meta.url).href)`,
  );
  assert.throws(() => rewriteModuleUrls(text, new Map()), /Cannot place "\.\/worker\.ts"/);
});

Deno.test("build: a chunk that was CommonJS is distinguished from one that has names of its own", () => {
  const commonJs = `var require_lib = 1;\nexport default require_lib();\n/*! a licence */\n`;
  assert.equal(isCommonJsChunk(commonJs), true);
  assert.equal(isCommonJsChunk(`${commonJs}export {\n  name\n};\n`), false);
  assert.equal(isCommonJsChunk(`var a = 1;\nexport {\n  a\n};\n`), false);
});

Deno.test("build: dynamic imports are hidden from static analysis; CommonJS ones get their names back", async () => {
  const text = `await import("./lib-1.js"); await import("./own-2.js"); import("node:fs"); import(path);`;
  const out = rewriteDynamicImports(text, (specifier) => specifier === "./lib-1.js");
  assert.doesNotMatch(out, /import\("\./);
  assert.match(out, /import\("node:fs"\); import\(path\);$/);
  const load = async (code: string) => {
    const url = `data:text/javascript,${encodeURIComponent(code)}`;
    const call = out.slice(0, out.indexOf(";")).replace(/^await /, "")
      .replace('new URL("./lib-1.js", import.meta.url).href', JSON.stringify(url));
    return await (0, eval)(call) as Record<string, unknown>;
  };
  const names = await load("export default { Etcd3: 1, other: 2 };");
  assert.deepEqual(names, { Etcd3: 1, other: 2, default: { Etcd3: 1, other: 2 } });
});

Deno.test("build: __dirname is declared where it is used and isn't declared yet", () => {
  assert.equal(declareDirname("f(__dirname);"), "const __dirname = import.meta.dirname;\nf(__dirname);");
  for (const text of ["f(x__dirname);", "var __dirname = 1; f(__dirname);"]) {
    assert.equal(declareDirname(text), text);
  }
});

Deno.test("build: unused modules of a package are emptied, their neighbours untouched", () => {
  const module = (path: string, body: string) =>
    `var require_x = __commonJS({
  "${path}"(exports) {
    "use strict";
    ${body}
  }
});
`;
  const text = module("npm/api/1/build/alpha.js", "if (a) {\n    big();\n    }") +
    module("npm/api/1/build/v1.js", "exports.v1 = 1;");
  const out = replaceModules(text, (path) => path.endsWith("alpha.js") ? "exports.alpha = {};" : undefined);
  assert.equal(
    out,
    `var require_x = __commonJS({
  "npm/api/1/build/alpha.js"(exports) {
    exports.alpha = {};
  }
});
` + module("npm/api/1/build/v1.js", "exports.v1 = 1;"),
  );
});

Deno.test("build: a module without the end that the bundler writes is an error, not a broken program", () => {
  const text = `  "npm/a.js"(exports) {\n    body();\n`;
  assert.throws(() => replaceModules(text, () => ""), /Cannot replace npm\/a\.js/);
});

Deno.test("build: the paths of packages don't depend on the machine that builds", () => {
  assert.equal(
    shortenPackagePaths(`// ../../root/.cache/deno/npm/registry.example.org/etcd3/1.1.2/lib/index.js`),
    `// npm/etcd3/1.1.2/lib/index.js`,
  );
  assert.equal(shortenPackagePaths(`"../lib/npm.js"`), `"../lib/npm.js"`);
});
