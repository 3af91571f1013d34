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
import { COMMANDS } from "../options/commands.ts";
import type { Invocation } from "../options/parse.ts";
import { VERSION_TEXT } from "../version.ts";

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
    console.log(JSON.stringify(findingsJson(results, VERSION_TEXT), null, 2));
  } else console.log(formatFindings(results, { width: terminalWidth(), colour: wantsColour() }));
  return STATUS[worstOf(results)];
}

/** Columns of the terminal; Infinity where the output goes elsewhere. */
function terminalWidth(): number {
  return Deno.stdout.isTerminal() ? Deno.consoleSize().columns : Infinity;
}

function wantsColour(): boolean {
  return Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR");
}
