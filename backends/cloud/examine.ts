/**
 * What `doctor` finds in a cloud. Changes nothing there.
 *
 * @module
 */
import type { Finding } from "../../lib/backend/finding.ts";
import type { OpenContext } from "../../lib/backend/types.ts";
import { asCloudError, type CloudErrorKind } from "./errors.ts";
import type { CloudRoute, RouteTable, TableUse } from "./route_table.ts";

/** A table that is fuller than this part of its limit is worth a warning. */
const NEARLY_FULL = 0.9;

/** What the daemon retries, and so may pass by itself. */
const PASSING: ReadonlySet<CloudErrorKind> = new Set(["unavailable", "throttled"]);

/** Asks the cloud who this host is, what its tables hold, and what the provider itself looks at. */
export async function examineCloud<R extends CloudRoute>(
  table: RouteTable<R>,
  { external, signal }: Pick<OpenContext, "external" | "signal">,
): Promise<Finding[]> {
  try {
    const { hop, tables } = await table.identify(external, signal);
    const found = [...table.examine?.() ?? []];
    // Reading the tables is what shows how full they are, and that it is allowed.
    await table.list(signal);
    found.push(...(await table.limits(signal)).flatMap((use) => judgeUse(table, use)));
    if (found.length > 0) return found;
    return [{ severity: "ok", text: `routes lead to ${hop}, in ${tables.join(", ")}` }];
  } catch (error) {
    const { kind, message } = asCloudError(error);
    return [{
      severity: PASSING.has(kind) ? "warning" : "fault",
      text: message,
      evidence: [`${table.cloud}: ${kind}`],
    }];
  }
}

function judgeUse<R extends CloudRoute>(table: RouteTable<R>, use: TableUse): Finding[] {
  const { used, limit } = use;
  if (limit === undefined || used < limit * NEARLY_FULL) return [];
  const isFull = used >= limit;
  return [{
    severity: isFull ? "fault" : "warning",
    text: isFull
      ? table.full(use, "").message
      : `${use.table} has ${used} of ${limit} routes: hosts that join later may get none`,
    evidence: [`${use.table}: ${used} of ${limit}`],
  }];
}
