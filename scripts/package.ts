/**
 * Makes `dist/flanneld_VERSION_ARCH.deb` of the built executable, its units and snippets, with dpkg-deb alone.
 *
 *     deno task package [--binary=FILE] [--version=VERSION] [--arch=amd64|arm64] [--out=FOLDER]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { createHash } from "node:crypto";
import { completion } from "./install/completion.ts";
import { VERSION } from "../lib/version.ts";
import { dirname, fromFileUrl, join } from "./build/paths.ts";
import { run } from "./build/run.ts";
import { targetOf } from "./build/runtime.ts";
import { conffiles, controlFile, MAINTAINER_SCRIPTS } from "./install/debian.ts";
import { contentOf, type Target } from "./install/files.ts";
import { foldersBelow, type InstalledFile, installedFiles } from "./install/layout.ts";
import { runScript } from "./run_script.ts";

const CHECKOUT = dirname(dirname(fromFileUrl(import.meta.url)));

/** The command line, read. */
interface Options {
  readonly binary: string;
  readonly version: string;
  readonly architecture: string;
  readonly out: string;
}

function readOptions(args: string[]): Options {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ args, options: { binary: text, version: text, arch: text, out: text } });
  return {
    binary: values.binary ?? join(CHECKOUT, "dist/flanneld"),
    version: values.version ?? VERSION,
    architecture: targetOf(values.arch ?? Deno.build.arch).debian,
    out: values.out ?? join(CHECKOUT, "dist"),
  };
}

/** Writes the installed files below `root`. @returns Their lines for md5sums, and their size in bytes. */
async function stageFiles(
  root: string,
  files: readonly InstalledFile[],
  target: Target,
): Promise<{ sums: string; bytes: number }> {
  const sums: string[] = [];
  let size = 0;
  for (const file of files) {
    const bytes = await contentOf(file, target);
    const path = root + file.to;
    await Deno.mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await Deno.writeFile(path, bytes);
    await Deno.chmod(path, file.mode);
    size += bytes.length;
    // dpkg --verify reads these; conffiles have their sums in dpkg's status.
    if (file.isConfiguration) continue;
    sums.push(`${createHash("md5").update(bytes).digest("hex")}  ${file.to.slice(1)}\n`);
  }
  return { sums: sums.join(""), bytes: size };
}

async function writeControl(root: string, files: Readonly<Record<string, string>>): Promise<void> {
  const folder = join(root, "DEBIAN");
  await Deno.mkdir(folder, { mode: 0o755 });
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(join(folder, name), text);
    await Deno.chmod(join(folder, name), name in MAINTAINER_SCRIPTS ? 0o755 : 0o644);
  }
}

async function makePackage(options: Options, root: string): Promise<string> {
  const target: Target = { checkout: CHECKOUT, destdir: root, folders: foldersBelow("/usr") };
  const files = installedFiles(target.folders, { binary: options.binary, completion });
  const { sums, bytes } = await stageFiles(root, files, target);
  const { version, architecture } = options;
  await writeControl(root, {
    control: controlFile({ version, architecture, installedBytes: bytes }),
    conffiles: conffiles(files.filter((file) => file.isConfiguration).map((file) => file.to)),
    md5sums: sums,
    ...MAINTAINER_SCRIPTS,
  });
  const out = join(options.out, `flanneld_${version}_${architecture}.deb`);
  await Deno.mkdir(options.out, { recursive: true });
  // The executable is compressed already.
  await run(root, ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", root, out]);
  return out;
}

async function main(): Promise<void> {
  Deno.umask(0o022);
  const options = readOptions(Deno.args);
  const root = await Deno.makeTempDir({ prefix: "flanneld-deb-" });
  try {
    await Deno.chmod(root, 0o755);
    const out = await makePackage(options, root);
    console.log(`${out}: ${((await Deno.stat(out)).size / 1e6).toFixed(1)} MB`);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

if (import.meta.main) await runScript("package", main);
