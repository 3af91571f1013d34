/**
 * The demo's options.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { StoreKind } from "../lab/store.ts";

/** Backends that carry packets between hosts of one machine. */
export const DEMO_BACKENDS = ["vxlan", "host-gw", "udp"] as const;

/** One of {@link DEMO_BACKENDS}. */
export type DemoBackend = typeof DEMO_BACKENDS[number];

/** What was asked for. */
export interface DemoOptions {
  readonly hosts: number;
  readonly backend: DemoBackend;
  readonly store: StoreKind;
}

export const MIN_HOSTS = 2;
export const MAX_HOSTS = 16;

export const DEMO_USAGE = `deno task demo [options]

  --hosts N         how many hosts, ${MIN_HOSTS} to ${MAX_HOSTS} (3)
  --backend TYPE    ${DEMO_BACKENDS.join(", ")} (vxlan)
  --etcd            leases in a real etcd instead of an SQLite file
  --help            this text`;

/** An option that can't be used; the message says what would be right. */
export class DemoUsageError extends Error {
  override readonly name = "DemoUsageError";
}

/**
 * Reads the command line; undefined: help was asked for.
 *
 * @throws {DemoUsageError} If an option isn't known or its value can't be used.
 */
export function parseDemoOptions(args: readonly string[]): DemoOptions | undefined {
  const values = readArgs(args);
  if (values.help) return undefined;
  const backend = DEMO_BACKENDS.find((known) => known === values.backend.toLowerCase());
  if (backend === undefined) {
    throw new DemoUsageError(
      `--backend is ${JSON.stringify(values.backend)}; it takes one of ${DEMO_BACKENDS.join(", ")}`,
    );
  }
  const hosts = /^\d{1,3}$/.test(values.hosts) ? Number(values.hosts) : NaN;
  if (!(hosts >= MIN_HOSTS && hosts <= MAX_HOSTS)) {
    throw new DemoUsageError(
      `--hosts is ${JSON.stringify(values.hosts)}; it takes a number from ${MIN_HOSTS} to ${MAX_HOSTS}`,
    );
  }
  return { hosts, backend, store: values.etcd ? "etcd" : "sqlite" };
}

function readArgs(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        hosts: { type: "string", default: "3" },
        backend: { type: "string", default: "vxlan" },
        etcd: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    throw new DemoUsageError(error instanceof Error ? error.message : String(error));
  }
}
