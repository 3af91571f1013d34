/**
 * Who may see on the health port what this host knows of its network.
 *
 * @module
 */
import { refusalOf } from "../observe/access.ts";
import type { HealthOptions } from "../observe/http.ts";
import type { Options } from "../options/table.ts";

/** The host itself, and what -web-allow says. */
export function accessOf({ webAllow }: Pick<Options, "webAllow">): Required<Pick<HealthOptions, "refusal">> {
  const policy = {
    allowed: webAllow,
    ownAddresses: () => Deno.networkInterfaces().map(({ address }) => address),
    ownName: () => Deno.hostname(),
  };
  return { refusal: (request, client) => refusalOf(request, client, policy) };
}
