/**
 * Makes `dist/flanneld-image.tar`, an OCI image, with Debian's packages and without a registry.
 *
 *     deno task image [--arch=amd64,arm64] [--name=localhost/flanneld:latest] [--binary=FILE] [--out=FILE] [--root=FOLDER]
 *
 * `--binary` and `--runtime` (a Deno, as for `deno task build`) are for one machine only; without them the executable is
 * built for each. `--root` also leaves the first machine's file system in a folder.
 *
 * @module
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { COMMIT, VERSION } from "../lib/version.ts";
import { dirname, fromFileUrl, join } from "./build/paths.ts";
import { run } from "./build/run.ts";
import { type Target, targetOf } from "./build/runtime.ts";
import { type Platform, writeImage } from "./image/oci.ts";
import { debianFiles, programFiles } from "./image/root.ts";

const CHECKOUT = dirname(dirname(fromFileUrl(import.meta.url)));

interface Options {
  readonly targets: readonly Target[];
  readonly name: string;
  readonly binary: string | undefined;
  readonly runtime: string | undefined;
  readonly out: string;
  readonly root: string | undefined;
}

function readOptions(args: string[]): Options {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args,
    options: { arch: text, name: text, binary: text, runtime: text, out: text, root: text },
  });
  const targets = (values.arch ?? Deno.build.arch).split(",").map(targetOf);
  if ((values.binary ?? values.runtime) !== undefined && targets.length > 1) {
    throw new Error("--binary and --runtime are one machine's: they can't be used with several in --arch");
  }
  return {
    targets,
    name: values.name ?? "localhost/flanneld:latest",
    binary: values.binary === undefined ? undefined : resolve(values.binary),
    runtime: values.runtime === undefined ? undefined : resolve(values.runtime),
    out: values.out ?? join(CHECKOUT, "dist/flanneld-image.tar"),
    root: values.root,
  };
}

/** The self-extracting kind: `cni install` puts this one file on the host. */
async function buildFor(target: Target, runtime: string | undefined, scratch: string): Promise<string> {
  const out = join(scratch, `flanneld-${target.debian}`);
  await run(CHECKOUT, [
    ...[Deno.execPath(), "run", "-A", join(CHECKOUT, "scripts/build.ts")] as const,
    ...[`--target=${target.arch}`, "--kind=self-extracting", `--out=${out}`],
    ...(runtime === undefined ? [] : [`--runtime=${runtime}`]),
  ]);
  return out;
}

async function main(): Promise<void> {
  const options = readOptions(Deno.args);
  const began = performance.now();
  if (Deno.uid() !== 0) throw new Error("an image's files belong to root: run this as root");
  const scratch = await Deno.makeTempDir({ prefix: "flanneld-image-" });
  try {
    const platforms: Platform[] = [];
    for (const target of options.targets) {
      const binary = options.binary ?? await buildFor(target, options.runtime, scratch);
      const layers = [
        await debianFiles(target, scratch),
        await programFiles(binary, target, scratch),
      ];
      platforms.push({ architecture: target.debian, layers });
    }
    await Deno.mkdir(dirname(options.out), { recursive: true });
    const { name, out, root } = options;
    const entrypoint = ["/usr/bin/flanneld"];
    await writeImage(out, platforms, { name, version: VERSION, commit: COMMIT ?? "", entrypoint }, scratch);
    for (const layer of root === undefined ? [] : platforms[0]!.layers) {
      await Deno.mkdir(root!, { recursive: true });
      await run(scratch, ["cp", "-a", `${layer}/.`, root!]);
    }
    const { size } = await Deno.stat(out);
    const machines = platforms.map(({ architecture }) => architecture).join(", ");
    const seconds = (performance.now() - began) / 1000;
    console.log(`${out}: ${name} for ${machines}, ${(size / 1e6).toFixed(1)} MB, in ${seconds.toFixed(1)} s`);
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(`image: ${error instanceof Error ? error.message : error}`);
    Deno.exit(1);
  }
}
