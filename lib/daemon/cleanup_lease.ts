/**
 * What this host published, for finding its lease when it leaves.
 *
 * @module
 */
import type { ResolvedNetwork } from "../backend/network.ts";
import type { OpenContext } from "../backend/types.ts";
import { messageOf } from "../errors.ts";
import type { ExternalInterface } from "../external/types.ts";
import type { LeaseAttributes } from "../leases/types.ts";
import type { Log } from "../observe/types.ts";

/** What a daemon on this host would publish; without the backend's part where the backend can't be opened. */
export async function publishedBy(
  network: ResolvedNetwork,
  context: OpenContext,
  external: ExternalInterface,
  log: Log,
): Promise<LeaseAttributes> {
  const { publicIps } = external;
  // A backend that cleans up outside of this host would ask its cloud now, and publishes nothing.
  if (network.backend.cleanup) return { publicIps, backendData: {} };
  try {
    const { attributes } = await network.backend.open(network.options, context);
    return { ...attributes, publicIps };
  } catch (error) {
    log.warn(
      `Cannot find out what this host published, looking for its lease by address: ${messageOf(error)}`,
    );
    return { publicIps, backendData: {} };
  }
}
