/**
 * `status [-json]`: what a running flanneld does.
 *
 * @module
 */
import { readStatus } from "../daemon/status_client.ts";
import { statusSocketPath } from "../daemon/status_server.ts";
import type { Json, JsonObject } from "../config/types.ts";
import { COMMANDS } from "../options/commands.ts";
import type { Invocation } from "../options/parse.ts";

/** Prints the status; exit status 0 if the host is ready, 1 if not. */
export async function statusCommand({ options, own }: Invocation): Promise<number> {
  const status = await readStatus(statusSocketPath(options));
  console.log(
    own.get(COMMANDS.status.options.json)
      ? JSON.stringify(status, null, 2)
      : formatStatus(status as unknown as JsonObject),
  );
  return status["ready"] ? 0 : 1;
}

/** The status as lines of `name: value`, indented by level, for people. */
function formatStatus(status: JsonObject): string {
  return lines(status, "").join("\n");
}

function lines(value: JsonObject, indent: string): string[] {
  return Object.entries(value).flatMap(([name, item]) => {
    const label = `${indent}${name}:`;
    if (Array.isArray(item)) {
      return item.length === 0 ? [] : [label, ...item.map((one: Json) => `${indent}  - ${short(one)}`)];
    }
    if (item === null) return [];
    if (typeof item === "object") return [label, ...lines(item as JsonObject, `${indent}  `)];
    return [`${label} ${item}`];
  });
}

function short(value: Json): string {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return String(value);
  return Object.values(value).map(String).join(": ");
}
