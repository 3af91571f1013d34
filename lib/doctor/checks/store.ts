/**
 * The store, and the network config in it.
 *
 * @module
 */
import { ConfigError } from "../../config/types.ts";
import { describeFailure } from "../../errors.ts";
import { describeWrite } from "../../daemon/store.ts";
import { type Check, type Finding, ok } from "../types.ts";

/** What the store said, or what is wrong. */
interface StoreState {
  /** Absent where the store can't be asked. */
  readonly description?: string;
  /** The backend's type; absent without a config. */
  readonly backend?: string;
  readonly warnings?: readonly string[];
  /** What is wrong with the config. */
  readonly faults?: readonly string[];
  /** Why the store can't be asked. */
  readonly failure?: string;
  /** How a config gets into this store, in a sentence. */
  readonly howToWrite: string;
}

/** Asks the store for the config and checks it. */
export const store: Check<StoreState> = {
  name: "config",
  group: "store",
  looksAt: "the store and the network config in it",
  async read(scene) {
    const howToWrite = describeWrite(scene.options);
    try {
      const { description, network } = await scene.store();
      if (!network) return { description, howToWrite };
      const { config, warnings } = network;
      return { description, backend: config.backend.type, warnings, howToWrite };
    } catch (error) {
      if (error instanceof ConfigError) {
        return { faults: error.faults.map(({ message }) => message), howToWrite };
      }
      return { failure: describeFailure(error), howToWrite };
    }
  },
  judge({ description, backend, warnings = [], faults, failure, howToWrite }): Finding[] {
    if (failure !== undefined) return [{ severity: "fault", text: failure }];
    if (faults) {
      return faults.map((text) => ({ severity: "fault", text, remedy: ["flanneld config set FILE"] }));
    }
    if (backend === undefined) {
      return [{ severity: "fault", text: `there is none in ${description}. ${howToWrite}` }];
    }
    return [
      ok(`${backend} network in ${description}`),
      ...warnings.map((text): Finding => ({ severity: "warning", text })),
    ];
  },
};
