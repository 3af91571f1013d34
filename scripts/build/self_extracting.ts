/**
 * The executable for hosts whose runtime base can't be had: a shell script with a Deno and the program behind it.
 *
 * Only `sh`, coreutils, `tar` and `gzip` are on every Debian, so the archive is a gzip'd tar (xz would be a quarter
 * smaller), and the launcher a POSIX shell script: see `launcher.sh`.
 *
 * @module
 */
import { gzipSync } from "node:zlib";
import { createHash } from "node:crypto";
import { join } from "./paths.ts";
import { CLOSED_WORLD, CNI_PERMISSIONS, PERMISSIONS, V8_FLAGS } from "./permissions.ts";
import { run } from "./run.ts";

/** What {@link selfExtracting} puts together. */
export interface SelfExtractingOptions {
  /** The folder of {@link ./bundle.ts}; the runtime is put into it. */
  readonly stage: string;
  /** A Deno for the target, an ELF file. */
  readonly runtime: string;
  /** The file to write. */
  readonly out: string;
  readonly version: string;
  /** The target's machine, for example `x86_64`. */
  readonly arch: string;
}

/** The launcher's text with its values filled in, and the archive's offset, which the text itself moves. */
function launcher(template: string, values: Readonly<Record<string, string>>): Uint8Array<ArrayBuffer> {
  const fill = (offset: number) =>
    new TextEncoder().encode(template.replace(/@([A-Z_]+)@/g, (whole, name: string) => {
      return name === "OFFSET" ? String(offset) : values[name] ?? whole;
    }));
  let text = fill(0);
  // tail -c +N counts from 1. Its digits make the text longer once or twice.
  for (let offset = 0; offset !== text.length + 1; text = fill(offset)) offset = text.length + 1;
  return text;
}

/**
 * Writes the executable.
 *
 * @throws {Error} if the runtime can't be read, or `tar` fails
 */
export async function selfExtracting(options: SelfExtractingOptions): Promise<void> {
  const { stage, out } = options;
  await Deno.copyFile(options.runtime, join(stage, "flanneld"));
  await Deno.chmod(join(stage, "flanneld"), 0o700);
  const archive = `${stage}.tar`;
  await run(stage, [
    ...["tar", "--create", "--file", archive, "--format=ustar", "--sort=name", "--mtime=@0"] as const,
    ...["--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=", "app", "flanneld"],
  ]);
  const payload = gzipSync(await Deno.readFile(archive), { level: 9 });
  await Deno.remove(archive);
  const hash = createHash("sha256").update(payload).digest("hex");
  const template = await Deno.readTextFile(new URL("./launcher.sh", import.meta.url));
  const head = launcher(template, {
    VERSION: options.version,
    ARCH: options.arch,
    HASH: hash,
    SHORT_HASH: hash.slice(0, 16),
    PAYLOAD_SIZE: String(payload.length),
    RUNTIME_SIZE: String((await Deno.stat(options.runtime)).size),
    RUN: ["run", V8_FLAGS, ...CLOSED_WORLD, ...PERMISSIONS].join(" "),
    RUN_CNI: ["run", V8_FLAGS, ...CLOSED_WORLD, ...CNI_PERMISSIONS].join(" "),
  });
  const temporary = `${out}.new`;
  using file = await Deno.open(temporary, { create: true, truncate: true, write: true, mode: 0o755 });
  await writeAll(file, head);
  await writeAll(file, payload);
  await Deno.chmod(temporary, 0o755);
  await Deno.rename(temporary, out);
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}
