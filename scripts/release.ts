/**
 * Makes a release of the commit that is checked out, in dist/release:
 *
 *     deno task release [--out=FOLDER] [--arch=amd64,arm64] [--runtime-amd64=FILE] [--runtime-arm64=FILE] [--verify]
 *
 *     flanneld-VERSION-linux-ARCH     the executable
 *     flanneld_VERSION_ARCH.deb       the package
 *     flanneld-VERSION-image.tar      the OCI image for all machines (needs root and mmdebstrap)
 *     flanneld-VERSION.cdx.json       the bill of materials, CycloneDX
 *     CHANGES.md                      the changelog's part
 *     SHA256SUMS                      of all of these
 *
 * It is made in a clone of the commit, with the commit's time in place of the clock's: what isn't committed is not in
 * it, and two runs give the same bytes. `--verify` makes a second one in another folder and compares.
 *
 * A machine whose Deno can't be had is left out, and the last lines say so; with `--arch` that is an error.
 *
 * @module
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { VERSION } from "../lib/version.ts";
import { dirname, fromFileUrl, join } from "./build/paths.ts";
import { run } from "./build/run.ts";
import { checkRuntime, findRuntime, type Target, targetOf, TARGETS } from "./build/runtime.ts";
import type { DebianPackage } from "./image/root.ts";
import { npmPackages, sha256Of } from "./release/materials.ts";
import { billOfMaterials, changesOf, type Runtime } from "./release/sbom.ts";
import { runScript } from "./run_script.ts";

const CHECKOUT = dirname(dirname(fromFileUrl(import.meta.url)));
/** Building for a machine, or making the image, in milliseconds. */
const STEP_LIMIT = 600_000;

interface Options {
  readonly out: string;
  /** Undefined: those that can be had. */
  readonly targets: readonly Target[] | undefined;
  readonly runtimes: Readonly<Partial<Record<string, string>>>;
  readonly verify: boolean;
}

/** What is released. */
interface Source {
  readonly commit: string;
  /** The commit's time, in seconds since 1970. */
  readonly epoch: number;
}

/** A machine that is released for, and the Deno that goes into its executable. */
interface Machine {
  readonly target: Target;
  readonly runtime: string;
  /** It came as a file, of whatever version. */
  readonly isGiven: boolean;
}

function readOptions(args: string[]): Options {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args,
    options: {
      ...{ "out": text, "arch": text, "runtime-amd64": text, "runtime-arm64": text },
      "verify": { type: "boolean" },
    },
  });
  const file = (path: string | undefined) => path === undefined ? undefined : resolve(path);
  return {
    out: resolve(values.out ?? join(CHECKOUT, "dist/release")),
    targets: values.arch?.split(",").map(targetOf),
    runtimes: {
      ...{ amd64: file(values["runtime-amd64"]), arm64: file(values["runtime-arm64"]) } as Record<
        string,
        string
      >,
    },
    verify: values.verify ?? false,
  };
}

async function readSource(): Promise<Source> {
  const [commit = "", epoch = ""] = (await run(CHECKOUT, ["git", "log", "-1", "--format=%H %ct"])).trim()
    .split(" ");
  return { commit, epoch: Number(epoch) };
}

/** The machines whose Deno is there, and why the others are left out. */
async function findMachines(
  options: Options,
  scratch: string,
): Promise<{ machines: Machine[]; missing: string[] }> {
  const machines: Machine[] = [], missing: string[] = [];
  for (const target of options.targets ?? TARGETS) {
    try {
      const folder = join(scratch, `runtime-${target.debian}`);
      await Deno.mkdir(folder);
      const given = options.runtimes[target.debian];
      const runtime = given ?? await findRuntime(target, folder);
      await checkRuntime(runtime, target);
      machines.push({ target, runtime, isGiven: given !== undefined });
    } catch (error) {
      const why = (error as Error).message.replace("--runtime=", `--runtime-${target.debian}=`);
      if (options.targets) throw new Error(`${target.debian}: ${why}`, { cause: error });
      missing.push(`${target.debian} is left out: ${why}`);
    }
  }
  if (machines.length === 0) throw new Error(missing.join("; "));
  return { machines, missing };
}

/** One release of a commit into an empty folder. */
async function makeRelease(
  out: string,
  source: Source,
  machines: readonly Machine[],
  scratch: string,
): Promise<void> {
  const clone = join(scratch, "checkout");
  await run(scratch, ["git", "clone", "--quiet", "--no-local", CHECKOUT, clone], {}, STEP_LIMIT);
  await run(clone, ["git", "checkout", "--quiet", "--detach", source.commit]);
  const environment = { SOURCE_DATE_EPOCH: String(source.epoch), TZ: "UTC", LC_ALL: "C.UTF-8" };
  const script = (name: string, ...args: string[]) =>
    run(
      clone,
      [Deno.execPath(), "run", "-A", join(clone, "scripts", name), ...args],
      environment,
      STEP_LIMIT,
    );
  const binaries: string[] = [];
  for (const { target, runtime } of machines) {
    const binary = join(out, `flanneld-${VERSION}-linux-${target.debian}`);
    // One kind wherever it is made: which other one there is depends on the machine's cache.
    const build = [
      `--target=${target.arch}`,
      "--kind=self-extracting",
      `--runtime=${runtime}`,
      `--out=${binary}`,
    ];
    await script("build.ts", ...build);
    await script("package.ts", `--binary=${binary}`, `--arch=${target.debian}`, `--out=${out}`);
    binaries.push(binary);
  }
  const packages = join(scratch, "packages.json");
  await script(
    "image.ts",
    ...[`--arch=${machines.map(({ target }) => target.debian).join(",")}`, `--binary=${binaries.join(",")}`],
    ...[`--name=localhost/flanneld:${VERSION}`, `--out=${join(out, `flanneld-${VERSION}-image.tar`)}`],
    `--packages=${packages}`,
  );
  const debian = JSON.parse(await Deno.readTextFile(packages)) as Record<string, readonly DebianPackage[]>;
  const runtimes = await Promise.all(machines.map(async ({ target, runtime, isGiven }): Promise<Runtime> => ({
    architecture: target.debian,
    version: isGiven ? undefined : Deno.version.deno,
    sha256: await sha256Of(runtime),
  })));
  const materials = { ...source, version: VERSION, npm: await npmPackages(clone), runtimes, debian };
  await Deno.writeTextFile(join(out, `flanneld-${VERSION}.cdx.json`), billOfMaterials(materials));
  const changelog = await Deno.readTextFile(join(clone, "CHANGELOG.md"));
  await Deno.writeTextFile(join(out, "CHANGES.md"), changesOf(changelog, VERSION));
  await Deno.writeTextFile(join(out, "SHA256SUMS"), await sumsOf(out));
}

async function sumsOf(folder: string): Promise<string> {
  const names = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
  const lines = await Promise.all(
    names.filter((name) => name !== "SHA256SUMS").sort()
      .map(async (name) => `${await sha256Of(join(folder, name))}  ${name}\n`),
  );
  return lines.join("");
}

/** A folder for one run, gone after it. */
async function inScratch<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-release-" });
  try {
    return await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Makes it once more elsewhere. @throws {Error} With the files that differ. */
async function verify(out: string, source: Source, machines: readonly Machine[]): Promise<void> {
  const again = await inScratch(async (scratch) => {
    const folder = join(scratch, "out");
    await Deno.mkdir(folder);
    await makeRelease(folder, source, machines, scratch);
    return await Deno.readTextFile(join(folder, "SHA256SUMS"));
  });
  const first = (await Deno.readTextFile(join(out, "SHA256SUMS"))).split("\n");
  const different = first.filter((line) => !again.split("\n").includes(line)).map((line) =>
    line.split("  ")[1]
  );
  if (different.length > 0) throw new Error(`a second run gives other bytes: ${different.join(", ")}`);
}

async function main(): Promise<void> {
  Deno.umask(0o022);
  const options = readOptions(Deno.args);
  const source = await readSource();
  await inScratch(async (scratch) => {
    const { machines, missing } = await findMachines(options, scratch);
    await Deno.remove(options.out, { recursive: true }).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
    await Deno.mkdir(options.out, { recursive: true });
    await makeRelease(options.out, source, machines, scratch);
    console.log(`${options.out}: flanneld ${VERSION} of commit ${source.commit.slice(0, 12)}`);
    console.log((await Deno.readTextFile(join(options.out, "SHA256SUMS"))).trimEnd());
    if (options.verify) {
      await verify(options.out, source, machines);
      console.log("a second run in another folder gives the same bytes");
    }
    for (const line of missing) console.log(line);
  });
}

if (import.meta.main) await runScript("release", main);
