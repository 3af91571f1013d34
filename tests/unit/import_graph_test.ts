/**
 * Imports point downwards: the layers of the program, and no circle of files.
 */
import assert from "node:assert/strict";
import { dirname, join, normalize, relative } from "node:path";
import { filesBelow, readSource } from "./source_files.ts";

/**
 * The layers, lowest first. A file imports from its own folder and from layers below it. Folders in one layer know
 * nothing of each other.
 */
const LAYERS: readonly (readonly string[])[] = [
  ["lib"],
  ["lib/ffi", "lib/net", "lib/time"],
  ["lib/config"],
  ["lib/netlink", "lib/packet", "lib/observe", "lib/status"],
  ["lib/kube", "lib/wireguard", "lib/capture"],
  ["lib/external", "lib/kernel", "lib/leases", "lib/firewall", "lib/options", "lib/cni", "lib/web"],
  ["lib/backend"],
  ["lib/probe"],
  ["lib/daemon"],
  ["lib/doctor"],
  ["lib/report"],
  ["lib/cli"],
  ["backends"],
  ["main.ts"],
];

/** Every import of a file, also those of types and at run time. */
const IMPORT = /(?:\bfrom|\bimport\(?)\s*["'](\.{1,2}\/[^"']+)["']/g;

async function importGraph(): Promise<Map<string, string[]>> {
  const files = [...await filesBelow(["lib", "backends"]), "main.ts"];
  const graph = new Map<string, string[]>();
  for (const file of files) {
    const text = await readSource(file);
    const specifiers = [...text.matchAll(IMPORT)].map((match) => match[1]!);
    graph.set(file, specifiers.map((specifier) => normalize(join(dirname(file), specifier))));
  }
  return graph;
}

/** The room of a file: `lib/netlink`, `backends`, or `lib` for a file right in lib. */
function roomOf(file: string): string {
  if (!file.startsWith("lib/")) return file.split("/")[0]!;
  const parts = file.split("/");
  return parts.length > 2 ? `lib/${parts[1]}` : "lib";
}

Deno.test("imports point to the own folder or to a lower layer", async () => {
  const level = new Map(LAYERS.flatMap((rooms, index) => rooms.map((room) => [room, index] as const)));
  const upward: string[] = [];
  for (const [file, imports] of await importGraph()) {
    const room = roomOf(file);
    assert.ok(level.has(room), `${room} stands in no layer: add it to LAYERS`);
    for (const target of imports) {
      const other = roomOf(target);
      if (other !== room && level.get(other)! >= level.get(room)!) upward.push(`${file} → ${target}`);
    }
  }
  assert.deepEqual(upward, []);
});

Deno.test("no file imports itself by way of others", async () => {
  const graph = await importGraph();
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) circles.push([...path.slice(at), file].join(" → "));
    if (at >= 0 || done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  assert.deepEqual(circles, []);
});

Deno.test("every relative import names a file that exists", async () => {
  const graph = await importGraph();
  const missing = [...graph].flatMap(([file, imports]) =>
    imports.filter((target) => target.endsWith(".ts") && !graph.has(target)).map((target) =>
      `${file} → ${relative(".", target)}`
    )
  );
  assert.deepEqual(missing, []);
});
