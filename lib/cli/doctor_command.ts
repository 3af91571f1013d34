/**
 * `doctor [-json]`: looks for what keeps flanneld from working here. Changes nothing.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import { CHECKS } from "../doctor/checks.ts";
import { examine, worstOf } from "../doctor/examine.ts";
import { findingsJson, formatFindings } from "../doctor/report_text.ts";
import { Scene } from "../doctor/scene.ts";
import type { Severity } from "../doctor/types.ts";
import { printableJson } from "../observe/printable.ts";
import { COMMANDS } from "../options/commands.ts";
import type { Invocation } from "../options/parse.ts";
import { VERSION_TEXT } from "../version.ts";
import { print } from "./print.ts";
import { standardOutput } from "./terminal.ts";

/** Exit status by the worst finding: 1 is a fault, as ever; 2 is a wrong command line. */
const STATUS: Readonly<Record<Severity, number>> = { ok: 0, note: 0, warning: 3, fault: 1 };

/** Prints what each check found. @returns 0 if all is well, 3 if there are warnings, 1 if there are faults. */
export async function doctorCommand(
  { options, own }: Invocation,
  backends: BackendRegistry,
): Promise<number> {
  using scene = new Scene(options, backends);
  const results = await examine(CHECKS, scene);
  if (own.get(COMMANDS.doctor.options.json)) {
    await print(`${printableJson(findingsJson(results, VERSION_TEXT), 2)}\n`);
  } else {
    const { width, hasColours } = standardOutput((name) => Deno.env.get(name));
    await print(`${formatFindings(results, { width, colour: hasColours })}\n`);
  }
  return STATUS[worstOf(results)];
}
