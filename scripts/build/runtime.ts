/**
 * A Deno for the target: the one that runs the build, or its twin for another machine, as npm has it.
 *
 * @module
 */
import { fromFileUrl, join } from "./paths.ts";
import { run } from "./run.ts";

/** A machine that is built for. */
export interface Target {
  /** As `uname -m` prints it, and `Deno.build.arch`. */
  readonly arch: "x86_64" | "aarch64";
  /** As `deno compile --target` names it. */
  readonly triple: string;
  /** As Debian names it. */
  readonly debian: "amd64" | "arm64";
  /** The npm package that carries a Deno for it. */
  readonly npm: string;
  /** ELF's number for the machine (e_machine, elf.h). */
  readonly elfMachine: number;
}

/** All targets. */
export const TARGETS: readonly Target[] = [
  {
    arch: "x86_64",
    triple: "x86_64-unknown-linux-gnu",
    debian: "amd64",
    npm: "@deno/linux-x64-glibc",
    elfMachine: 62,
  },
  {
    arch: "aarch64",
    triple: "aarch64-unknown-linux-gnu",
    debian: "arm64",
    npm: "@deno/linux-arm64-glibc",
    elfMachine: 183,
  },
];

/**
 * The target of a name: `aarch64`, `arm64`, or a triple.
 *
 * @throws {Error} if there is none of that name
 */
export function targetOf(name: string): Target {
  const target = TARGETS.find(({ arch, triple, debian }) => [arch, triple, debian].includes(name));
  if (target !== undefined) return target;
  const names = TARGETS.map(({ arch }) => arch).join(", ");
  throw new Error(`Cannot build for ${JSON.stringify(name)}: targets are ${names}`);
}

/**
 * Checks that a file is a program for the target.
 *
 * @throws {Error} if it isn't: what it is, and what it must be
 */
export async function checkRuntime(path: string, target: Target): Promise<void> {
  using file = await Deno.open(path);
  const head = new Uint8Array(20);
  const length = await file.read(head) ?? 0;
  const isElf = length === head.length && head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c &&
    head[3] === 0x46;
  if (!isElf) throw new Error(`Cannot use ${path} as runtime: it must be an ELF file`);
  const machine = new DataView(head.buffer).getUint16(18, true);
  if (machine === target.elfMachine) return;
  const is = TARGETS.find(({ elfMachine }) => elfMachine === machine)?.arch ?? `ELF machine ${machine}`;
  throw new Error(`Cannot use ${path} as runtime: it is for ${is}, must be for ${target.arch}`);
}

/**
 * The path of a Deno for the target.
 *
 * @param scratch an empty folder to work in
 * @throws {Error} if it is for another machine than this one and npm has none of the same version
 */
export async function findRuntime(target: Target, scratch: string): Promise<string> {
  if (target.arch === Deno.build.arch) return Deno.execPath();
  const wanted = `npm:${target.npm}@${Deno.version.deno}`;
  const own = [Deno.execPath(), "--no-config", "--no-lock"] as const;
  try {
    // However new it is: it is the version that runs this build.
    await run(scratch, [own[0], "cache", "--quiet", own[1], own[2], "--min-dep-age=0", wanted]);
  } catch (cause) {
    throw new Error(`Cannot get ${wanted}, a Deno for ${target.arch}: name one by --runtime=FILE`, { cause });
  }
  const code = `console.log(import.meta.resolve("${wanted}/package.json"))`;
  const found = await run(scratch, [own[0], "eval", "--quiet", own[1], own[2], code]);
  return join(fromFileUrl(found.trim()), "../deno");
}
