/**
 * One daemon for one network on a host: devices, routes and firewall rules carry the network's id, and two daemons with
 * one id would each remove and make again what the other one has.
 *
 * @module
 */
import { NameClaim } from "../ffi/name_claim.ts";
import type { Log } from "../observe/types.ts";
import type { Options } from "../options/table.ts";
import { sha256Hex } from "../sha256.ts";
import { pause } from "../time/pause.ts";
import { LOCK_PATIENCE_MS, LOCK_RETRY_MS, LockedError } from "./lock.ts";
import { networkIdOf } from "./store.ts";

/**
 * Takes the network on this host for as long as the process lives. Whoever isn't root can't keep root from it: then it
 * goes without, and a warning says so.
 *
 * @throws {LockedError} If another process has it and goes on.
 */
export async function claimNetwork(
  options: Pick<Options, "etcdPrefix">,
  log: Log,
  signal: AbortSignal,
): Promise<Disposable | undefined> {
  const id = networkIdOf(options).replace(/\/+$/, "");
  // Hashed, because a prefix may be longer than a name.
  const name = `flanneld ${sha256Hex(id).slice(0, 32)}`;
  const deadline = performance.now() + LOCK_PATIENCE_MS;
  for (;;) {
    const claim = NameClaim.take(name);
    if (claim !== "taken") return claim;
    if (performance.now() > deadline) break;
    await pause(LOCK_RETRY_MS, signal);
    signal.throwIfAborted();
  }
  const { pid = 0, uid = 0 } = NameClaim.holder(name) ?? {};
  if (uid !== 0 && uid !== Deno.uid()) {
    log.warn(
      `Process ${pid} of user ${uid} holds the name of network ${id}: a second flanneld would not be noticed`,
    );
    return undefined;
  }
  const who = `flanneld (${pid === 0 ? "in another container" : `process ${pid}`})`;
  throw new LockedError(
    who,
    `${who} runs network ${id} on this host already, with another subnet file: stop it, or give this one its own ` +
      "-etcd-prefix",
  );
}
