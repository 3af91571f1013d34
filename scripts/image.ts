/**
 * Makes `dist/flanneld-image.tar`, an OCI image, with Debian's packages and without a registry.
 *
 *     deno task image [--arch=amd64,arm64] [--name=localhost/flanneld:latest] [--binary=FILE,...] [--out=FILE]
 *                     [--root=FOLDER] [--packages=FILE]
 *
 * `--binary` names one for each machine, in their order; without it the executable is built for each. `--runtime` (a
 * Deno, as for `deno task build`) is for one machine only. `--root` also leaves the first machine's file system in a
 * folder, `--packages` a list of Debian's packages in the image.
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
import { debianFiles, type DebianPackage, programFiles } from "./image/root.ts";
import { runScript } from "./run_script.ts";

const CHECKOUT = dirname(dirname(fromFileUrl(import.meta.url)));

interface Options {
  readonly targets: readonly Target[];
  readonly name: string;
  /** One for each target, or none. */
  readonly binaries: readonly string[];
  readonly runtime: string | undefined;
  readonly out: string;
  readonly root: string | undefined;
  readonly packages: string | undefined;
}

function readOptions(args: string[]): Options {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args,
    options: { arch: text, name: text, binary: text, runtime: text, out: text, root: text, packages: text },
  });
  const targets = (values.arch ?? Deno.build.arch).split(",").map(targetOf);
  if (values.runtime !== undefined && targets.length > 1) {
    throw new Error("--runtime is one machine's: it can't be used with several in --arch");
  }
  const binaries = values.binary?.split(",").map((path) => resolve(path)) ?? [];
  if (values.binary !== undefined && binaries.length !== targets.length) {
    throw new Error(
      `--binary must name a file for each of ${targets.map(({ debian }) => debian).join(", ")}`,
    );
  }
  return {
    targets,
    name: values.name ?? "localhost/flanneld:latest",
    binaries,
    runtime: values.runtime === undefined ? undefined : resolve(values.runtime),
    out: values.out ?? join(CHECKOUT, "dist/flanneld-image.tar"),
    root: values.root,
    packages: values.packages,
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
    const packages = new Map<string, readonly DebianPackage[]>();
    for (const [i, target] of options.targets.entries()) {
      const binary = options.binaries[i] ?? await buildFor(target, options.runtime, scratch);
      const debian = await debianFiles(target, scratch);
      packages.set(target.debian, debian.packages);
      const layers = [debian.folder, await programFiles(binary, target, scratch)];
      platforms.push({ architecture: target.debian, layers });
    }
    if (options.packages !== undefined) {
      await Deno.writeTextFile(options.packages, JSON.stringify(Object.fromEntries(packages), undefined, 1));
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

if (import.meta.main) await runScript("image", main);
