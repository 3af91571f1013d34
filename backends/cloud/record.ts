/**
 * What a host remembers of its route across a reboot.
 *
 * A route in a cloud's table outlives a reboot, the subnet file in /run doesn't. A host that has seen its route
 * stand needn't wait, when it starts again, for a cloud that doesn't answer.
 *
 * @module
 */
import { dirname, join } from "node:path";

/** A route that was seen to stand. */
export interface SeenRoute {
  readonly instance: string;
  readonly tables: readonly string[];
  readonly subnets: readonly string[];
  /** Addresses of the interface that it leads to. */
  readonly addresses: readonly string[];
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Which host's route in which network. */
export interface RecordOwner {
  readonly cloud: string;
  readonly networkId: string;
  /** The instance's id; may reject. */
  instance(): Promise<string>;
}

/** The note of one host's route in one network. */
export class RouteRecord {
  readonly #folder: string | undefined;
  readonly #owner: RecordOwner;
  #instance: string | undefined;
  #written: string | undefined;

  /** @param folder Where notes survive a reboot; undefined: nothing is noted. */
  constructor(folder: string | undefined, owner: RecordOwner) {
    this.#folder = folder;
    this.#owner = owner;
  }

  /** What an earlier run on this instance noted; undefined if nothing that can be used. */
  async read(): Promise<SeenRoute | undefined> {
    try {
      this.#instance ??= await this.#owner.instance();
      const seen = parse(await Deno.readTextFile(this.#path(this.#instance)));
      return seen?.instance === this.#instance ? seen : undefined;
    } catch {
      // No note, or none that can be read: the cloud says how things are.
      return undefined;
    }
  }

  /** Notes that the route stands, once for each place. @throws {Error} If the file can't be written. */
  async write(seen: SeenRoute): Promise<void> {
    const { at: _, ...place } = seen;
    const text = JSON.stringify(place);
    if (this.#folder === undefined || this.#written === text) return;
    const path = this.#path(seen.instance);
    await Deno.mkdir(dirname(path), { recursive: true });
    const temporary = `${path}.tmp`;
    await Deno.writeTextFile(temporary, `${JSON.stringify(seen)}\n`, { mode: 0o600 });
    await Deno.rename(temporary, path);
    this.#instance = seen.instance;
    this.#written = text;
  }

  /** Forgets it: the route is gone. @throws {Error} If the file can't be removed. */
  async remove(): Promise<void> {
    this.#written = undefined;
    this.#instance ??= await this.#owner.instance().catch(() => undefined);
    if (this.#folder === undefined || this.#instance === undefined) return;
    await Deno.remove(this.#path(this.#instance)).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }

  #path(instance: string): string {
    if (this.#folder === undefined) throw new Error("no folder outlives a reboot");
    const { cloud, networkId } = this.#owner;
    const name = [cloud, networkId, instance].join(" ").replace(/[^0-9A-Za-z-]+/g, "_");
    return join(this.#folder, `route-${name}.json`);
  }
}

function parse(text: string): SeenRoute | undefined {
  const seen = JSON.parse(text) as Partial<SeenRoute> | null;
  const areTexts = (value: unknown) => Array.isArray(value) && value.every((one) => typeof one === "string");
  const sound = typeof seen?.instance === "string" && typeof seen.at === "number" && areTexts(seen.tables) &&
    areTexts(seen.subnets) && areTexts(seen.addresses);
  return sound ? seen as SeenRoute : undefined;
}
