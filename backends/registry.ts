/**
 * The backends by the config's Type.
 *
 * A backend's module is loaded when it is chosen: the clouds' SDKs are large, and most hosts need none.
 *
 * @module
 */
import { didYouMean } from "../lib/config/suggest.ts";
import type { BackendType } from "./types.ts";

/** Loads a backend. */
type Loader = () => Promise<BackendType<unknown>>;

const LOADERS: ReadonlyMap<string, Loader> = new Map<string, Loader>([
  ["vxlan", async () => erase((await import("./vxlan.ts")).vxlan)],
  ["host-gw", async () => erase((await import("./host_gw.ts")).hostGw)],
  ["udp", async () => erase((await import("./udp/backend.ts")).udp)],
  ["alloc", async () => erase((await import("./alloc.ts")).alloc)],
  ["aws-vpc", async () => erase((await import("./aws_vpc/backend.ts")).awsVpc)],
  ["gce", async () => erase((await import("./gce/backend.ts")).gce)],
  ["ali-vpc", async () => erase((await import("./ali_vpc/backend.ts")).aliVpc)],
]);

/** The types that there are. */
export const BACKEND_TYPES: readonly string[] = [...LOADERS.keys()];

/**
 * Loads the backend of a type (lower case).
 *
 * @returns The backend, or a sentence that names the types there are.
 */
export async function loadBackend(type: string): Promise<BackendType<unknown> | string> {
  const load = LOADERS.get(type);
  if (load) return await load();
  return `Backend.Type ${JSON.stringify(type)}: must be one of ${BACKEND_TYPES.join(", ")}` +
    didYouMean(type, BACKEND_TYPES);
}

/** A backend's options go from its own `parse` to its own `open`: nobody between needs their type. */
function erase<T>(backend: BackendType<T>): BackendType<unknown> {
  return backend as BackendType<unknown>;
}
