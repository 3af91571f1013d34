/**
 * Names of routes and of what they lead to.
 *
 * @module
 */
import { formatPrefix, type Prefix } from "../../lib/net/prefix.ts";

/** Longest name of a resource (RFC 1035, as the API enforces it). */
const MAX_NAME = 63;

/**
 * The names for a subnet's route, best first: that of the original flanneld (`flannel-10-20-7-0-24`), so that
 * its routes are taken over, then one with the network's name, for projects where the first is another
 * network's: a route's name is unique in its project, not in its network.
 */
export function routeNames(destination: Prefix, network: string): readonly [string, string] {
  const plain = fit(`flannel-${formatPrefix(destination).replace(/[^0-9a-f]/g, "-")}`);
  return [plain, fit(`${plain}-${network}`)];
}

function fit(name: string): string {
  return name.slice(0, MAX_NAME).replace(/-+$/, "");
}

/** The project in a resource's path or URL: `P` of `projects/P/global/networks/N`; by id or by number. */
export function projectOf(path: string): string | undefined {
  return /(?:^|\/)projects\/([^/]+)\//.exec(path)?.[1];
}

/** The last part of a resource's path or URL: `default` of `…/global/networks/default`. */
export function lastSegment(path: string | null | undefined): string {
  return path?.split("/").at(-1) ?? "";
}

/**
 * Whether two paths or URLs name the same instance. Host, version and project may be written in several ways
 * (the project as id or number), so zone and name decide.
 */
export function sameInstance(a: string | null | undefined, b: string): boolean {
  const tail = (path: string) => path.split("/").slice(-4).join("/");
  return a !== null && a !== undefined && tail(a) === tail(b);
}
