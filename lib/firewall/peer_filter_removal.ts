/**
 * Taking a peer filter away.
 *
 * @module
 */
import { CommandError, type CommandRunner, systemRunner } from "./command.ts";
import { blindProbe, type HostProbe, systemProbe } from "./host_probe.ts";
import { firewallNames } from "./names.ts";
import { listTable } from "./nftables.ts";
import { filterRemoval } from "./peer_filter_text.ts";
import { detectNft } from "./tools.ts";

/** Options of {@link removePeerFilter}. */
export interface RemovalOptions {
  /** @default programs of this system, in this process's network namespace */
  readonly run?: CommandRunner;
  /** @default this process's network namespace; with a `run` of your own: none */
  readonly probe?: HostProbe;
}

/**
 * Removes a network's filter, whoever put it there. Runs no program where the kernel says that there is none.
 *
 * @returns Whether there was one.
 * @throws {CommandError} If nft fails.
 */
export async function removePeerFilter(networkId: string, options: RemovalOptions = {}): Promise<boolean> {
  const { peerTable } = firewallNames(networkId);
  const run = options.run ?? systemRunner();
  using probe = options.probe ?? (options.run ? blindProbe : systemProbe());
  const isThere = probe.hasTable("inet", peerTable);
  if (isThere === false) return false;
  if (isThere === undefined) {
    if (!await detectNft(run, []) || await listTable(run, "inet", peerTable, ["-t"]) === undefined) {
      return false;
    }
  }
  const args = ["-f", "-"];
  const result = await run("nft", args, `${filterRemoval(peerTable)}\n`);
  if (result.code !== 0) throw new CommandError("nft", args, result);
  return true;
}
