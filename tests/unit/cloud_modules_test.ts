import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

/** The packages that only a cloud's backend may load. */
const SDKS = /^npm:\/?(@aws-sdk|@smithy|@googleapis|google-auth-library|googleapis|@alicloud)\b/;
/** The clouds' modules, which the registry loads when they are chosen. */
const CLOUD_BACKEND = /\/backends\/(aws_vpc|gce|ali_vpc|tencent_vpc)\//;
const MAIN = new URL("../../main.ts", import.meta.url);

/** What `deno info --json` says of a module. */
interface ModuleInfo {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly specifier: string;
    readonly isDynamic?: boolean;
    readonly code?: { readonly specifier?: string };
    readonly type?: unknown;
  }[];
}

async function moduleGraph(entry: URL): Promise<ReadonlyMap<string, ModuleInfo>> {
  const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
  const args = ["info", "--json", "--config", config, fileURLToPath(entry)];
  const { stdout, success } = await new Deno.Command(Deno.execPath(), { args }).output();
  assert.ok(success);
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as { modules: readonly ModuleInfo[] };
  return new Map(modules.map((module) => [module.specifier, module]));
}

/** What of the program may ever load, by any import, while no cloud's backend is chosen in the registry. */
function loadedWithoutClouds(graph: ReadonlyMap<string, ModuleInfo>, entry: string): Set<string> {
  const seen = new Set<string>();
  const queue = [entry];
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    if (seen.has(at)) continue;
    seen.add(at);
    for (const { code, isDynamic } of graph.get(at)?.dependencies ?? []) {
      const chosen = isDynamic && CLOUD_BACKEND.test(code?.specifier ?? "");
      if (code?.specifier && !chosen) queue.push(code.specifier);
    }
  }
  return seen;
}

Deno.test("cloud SDKs: no module of the program loads one but by import() inside its backend", async () => {
  const graph = await moduleGraph(MAIN);
  const loaded = [...loadedWithoutClouds(graph, MAIN.href)];
  assert.ok(loaded.some((specifier) => specifier.endsWith("/backends/vxlan.ts")));
  assert.deepEqual(loaded.filter((one) => SDKS.test(one) || CLOUD_BACKEND.test(one)), []);
  const users = [...graph.values()].flatMap(({ specifier, dependencies = [] }) =>
    dependencies.filter(({ code }) => code?.specifier && SDKS.test(code.specifier))
      .map(({ isDynamic }) =>
        `${specifier.split("/").slice(-3).join("/")} ${isDynamic ? "dynamic" : "static"}`
      )
  );
  assert.deepEqual([...new Set(users)].sort(), [
    "backends/ali_vpc/vpc.ts dynamic",
    "backends/aws_vpc/ec2.ts dynamic",
    "backends/gce/compute.ts dynamic",
  ]);
});

/** Runs a module and gives what it prints, as JSON. */
async function evaluate(code: string): Promise<unknown> {
  const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
  const args = ["eval", "--config", config, code];
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), { args }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

Deno.test("cloud SDKs: choosing vxlan, or only checking a cloud's config, loads none of them", async () => {
  const registry = new URL("../../backends/registry.ts", import.meta.url).href;
  // Each SDK brings CommonJS modules, and those stand in require's cache.
  const seen = await evaluate(`
    import { createRequire } from "node:module";
    const { BACKENDS } = await import(${JSON.stringify(registry)});
    const sdks = () => Object.keys(createRequire(import.meta.url).cache)
      .filter((path) => /@aws-sdk|@smithy|@googleapis|@alicloud/.test(path)).length;
    const counts = [];
    for (const type of ["vxlan", "host-gw", "alloc", "aws-vpc", "gce", "ali-vpc", "tencent-vpc"]) {
      (await BACKENDS.load(type)).parse({}, []);
      counts.push(sdks());
    }
    await import("@googleapis/compute");
    console.log(JSON.stringify([counts, sdks() > 0]));
  `);
  assert.deepEqual(seen, [[0, 0, 0, 0, 0, 0, 0], true]);
});
