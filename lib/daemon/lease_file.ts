/**
 * The own lease as it last stood in the store, in a file beside the subnet file: at the next start it proves that
 * the lease is this host's, also when its address has changed since.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { writeWholeFile } from "../config/whole_file.ts";
import { decodeLeaseValue } from "../leases/codec.ts";
import type { HostEvidence } from "../leases/identity.ts";
import type { LeaseAttributes } from "../leases/types.ts";
import type { Link } from "../netlink/types.ts";
import type { Log } from "../observe/types.ts";
import type { Options } from "../options/table.ts";

/** A lease's key and value, and its former values. */
export type KeptLease = NonNullable<HostEvidence["lease"]>;

/** `/run/flannel/subnet.lease` beside `/run/flannel/subnet.env`. */
export function leaseFilePath(options: Pick<Options, "subnetFile">): string {
  return options.subnetFile.replace(/(\.[^./]*)?$/, ".lease");
}

/** Reads what an earlier run wrote; undefined if there is nothing that can be used. */
export async function readLeaseFile(path: string, log: Log): Promise<KeptLease | undefined> {
  try {
    const kept = parseKeptLease(await Deno.readTextFile(path));
    if (kept) return kept;
    log.warn(`Lease file ${path} skipped: it has no key and value`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      log.warn(`Lease file ${path} skipped: ${messageOf(error)}`);
    }
  }
  return undefined;
}

/** The file's text; undefined if there is no key and value in it. @throws {SyntaxError} If it isn't JSON. */
export function parseKeptLease(text: string): KeptLease | undefined {
  const { key, value, former } = Object(JSON.parse(text));
  if (typeof key !== "string" || typeof value !== "string") return undefined;
  if (!Array.isArray(former)) return { key, value };
  return { key, value, former: former.filter((one) => typeof one === "string") };
}

/** What a kept lease says; undefined where it says nothing that can be used. */
export function attributesOf(lease: KeptLease | undefined): LeaseAttributes | undefined {
  const attributes = lease && decodeLeaseValue(lease.value);
  return typeof attributes === "object" ? attributes : undefined;
}

/** What is on this host of an earlier run, beside the subnet file. @param links All devices that are here. */
export function evidenceOf(
  lease: KeptLease | undefined,
  links: readonly Link[],
): Omit<HostEvidence, "subnets"> {
  const macs = links.flatMap(({ kind, mac }) => kind === "vxlan" && mac ? [mac] : []);
  return { ...lease ? { lease } : {}, macs };
}

/** Writes the lease. @throws {Error} If the file can't be written. */
export async function writeLeaseFile(path: string, { key, value, former }: KeptLease): Promise<void> {
  await writeWholeFile(path, `${JSON.stringify({ key, value, former })}\n`);
}
