/**
 * The files that the daemon keeps on its host: the subnet file, and the lease file beside it. One that somebody
 * deletes is written again.
 *
 * @module
 */
import { type SubnetFile, writeSubnetFile } from "../config/subnet_file.ts";
import { messageOf } from "../errors.ts";
import type { Log, ProblemReporter } from "../observe/types.ts";
import type { Options } from "../options/table.ts";
import { pause } from "../time/pause.ts";
import { Turns } from "../time/turns.ts";
import { type KeptLease, leaseFilePath, writeLeaseFile } from "./lease_file.ts";

/** How often the files are looked at, in milliseconds. */
const LOOK_MS = 1_000;

/** What the files are kept with. */
export interface HostFilesParts {
  readonly options: Pick<Options, "subnetFile">;
  readonly log: Log;
  readonly problems: ProblemReporter;
}

/** Writes them, one write after the other, and keeps them. */
export class HostFiles {
  readonly #parts: HostFilesParts;
  #subnet: SubnetFile | undefined;
  #lease: KeptLease | undefined;
  readonly #turns = new Turns();

  constructor(parts: HostFilesParts) {
    this.#parts = parts;
  }

  /** Writes the subnet file: the sign that the host is ready. @throws {SubnetFileError} If it can't be written. */
  async writeSubnet(file: SubnetFile): Promise<void> {
    this.#subnet = file;
    await this.#turns.take(() => writeSubnetFile(this.#parts.options.subnetFile, file));
  }

  /** The subnet file says something else from now on. A failure is a problem, and tried again. */
  async updateSubnet(change: Partial<SubnetFile>): Promise<void> {
    if (!this.#subnet) return;
    this.#subnet = { ...this.#subnet, ...change };
    await this.#trySubnet();
  }

  /** Writes what proves at the next start that the lease is this host's. Never rejects. */
  async keepLease(lease: KeptLease): Promise<void> {
    this.#lease = lease;
    const { options, problems } = this.#parts;
    const path = leaseFilePath(options);
    try {
      await this.#turns.take(() => writeLeaseFile(path, lease));
      problems.clear("lease file", "written");
    } catch (error) {
      const cost = "if this host's address changes before the next start, it may get another subnet";
      problems.set("lease file", `cannot write ${path}, retrying; ${cost}: ${messageOf(error)}`);
    }
  }

  /** Writes what is gone again, until the signal fires. */
  async keep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look();
      await pause(LOOK_MS, signal);
    }
  }

  /** One look. */
  async look(): Promise<void> {
    const { options, log } = this.#parts;
    await this.#turns.idle();
    if (this.#subnet && isGone(options.subnetFile)) {
      log.warn(`Subnet file ${options.subnetFile} is gone, writing it again`);
      await this.#trySubnet();
    }
    if (this.#lease && isGone(leaseFilePath(options))) await this.keepLease(this.#lease);
  }

  async #trySubnet(): Promise<void> {
    const { problems } = this.#parts;
    try {
      await this.writeSubnet(this.#subnet!);
      problems.clear("subnet file", "written");
    } catch (error) {
      problems.set("subnet file", `${messageOf(error)}; retrying`, { notReady: true });
    }
  }
}

/** A folder that can't be searched is another problem, which the next write names. */
function isGone(path: string): boolean {
  try {
    Deno.statSync(path);
    return false;
  } catch {
    return true;
  }
}
