/**
 * The .deb of this checkout, and one of another build, for upgrades.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { run } from "../../scripts/lab/process.ts";
import { builtBinary } from "../lab/built_binary.ts";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
/** Later than any version of this checkout. */
const LATER = "999.0.0";

/** Makes the .deb of an executable in a folder of its own. @returns Its path. */
async function makePackage(binary: string, folder: string, ...options: string[]): Promise<string> {
  const script = `${CHECKOUT}/scripts/package.ts`;
  await run([Deno.execPath(), "run", "-A", script, `--binary=${binary}`, `--out=${folder}`, ...options]);
  for await (const { name } of Deno.readDir(folder)) if (name.endsWith(".deb")) return `${folder}/${name}`;
  throw new Error(`${script} left no .deb in ${folder}`);
}

/** The .deb of this checkout, in `folder`. @returns Its path. */
export async function currentPackage(folder: string): Promise<string> {
  return await makePackage(await builtBinary(), `${folder}/current`);
}

/** A later .deb with another build of the same program, in `folder`. @returns Its path. */
export async function laterPackage(folder: string): Promise<string> {
  const binary = `${folder}/flanneld`;
  await Deno.writeFile(binary, anotherBuild(await Deno.readFile(await builtBinary())), { mode: 0o755 });
  return await makePackage(binary, `${folder}/later`, `--version=${LATER}`);
}

/**
 * A self-extracting executable that has nothing unpacked yet: an empty member is added to its archive, which gives it
 * another hash. An executable of the other kind is returned as it is.
 */
function anotherBuild(binary: Uint8Array): Uint8Array {
  const text = new TextDecoder("latin1").decode(binary.subarray(0, 64 * 1024));
  const value = (name: string) => new RegExp(`^flanneld_${name}=(\\S+)$`, "m").exec(text)?.[1];
  const [offset, hash, size] = ["offset", "hash", "payload_size"].map(value);
  if (offset === undefined || hash === undefined || size === undefined) return binary;
  const start = Number(offset) - 1;
  const payload = Buffer.concat([binary.subarray(start), gzipSync(new Uint8Array())]);
  const newHash = createHash("sha256").update(payload).digest("hex");
  const head = text.slice(0, start).replace(hash, newHash).replace(hash.slice(0, 16), newHash.slice(0, 16))
    .replace(`flanneld_payload_size=${size}`, `flanneld_payload_size=${payload.length}`);
  if (head.length !== start) throw new Error("the launcher's head changed its length");
  return Buffer.concat([Buffer.from(head, "latin1"), payload]);
}
