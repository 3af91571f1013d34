/**
 * `report [-o FILE]`: what a bug report needs, in one archive, without secrets.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import { Scene } from "../doctor/scene.ts";
import { COMMANDS } from "../options/commands.ts";
import type { Invocation } from "../options/parse.ts";
import { printable } from "../observe/printable.ts";
import { archiveOf, reportName, writeNewFile } from "../report/archive.ts";
import { collect } from "../report/collect.ts";
import { UsageError } from "../options/usage_error.ts";
import { VERSION_TEXT } from "../version.ts";
import { printBytes } from "./print.ts";

/** Collects, writes, and says what is missing. @returns 0 also where something can't be collected. */
export async function reportCommand(
  { options, own }: Invocation,
  backends: BackendRegistry,
): Promise<number> {
  const facts = { host: Deno.hostname(), time: Date.now(), version: VERSION_TEXT };
  const path = own.get(COMMANDS.report.options.o) || `${reportName(facts)}.tar.gz`;
  using scene = new Scene(options, backends);
  const items = await collect(scene);
  const archive = await archiveOf(items, facts);
  // Stdout is the archive's then.
  const say = path === "-" ? console.error : console.log;
  if (path !== "-") await writeNewFile(path, archive);
  else if (Deno.stdout.isTerminal()) {
    throw new UsageError(
      "report: an archive isn't for a terminal; send stdout to a file or a program",
      "report",
    );
  } else await printBytes(archive);
  for (const { item, text, problem } of items) {
    if (problem !== undefined) {
      say(`${text === undefined ? "missing" : "cut    "}  ${item.name}: ${printable(problem)}`);
    }
  }
  const count = items.filter(({ text }) => text !== undefined).length;
  say(
    `${path === "-" ? "stdout" : path}: ${count} of ${items.length} parts, ${
      Math.ceil(archive.length / 1024)
    } KiB, secrets masked`,
  );
  return 0;
}
