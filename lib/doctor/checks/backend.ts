/**
 * Whether the network's backend can work here.
 *
 * @module
 */
import { describeFailure } from "../../errors.ts";
import { NotKnown } from "../not_known.ts";
import { type Check, ok } from "../types.ts";

/** Opens the backend as the daemon does; that changes nothing yet. */
export const backendCheck: Check<{ readonly type: string; readonly failure?: string }> = {
  name: "backend",
  group: "network",
  looksAt: "whether the network's backend can work here",
  async read(scene) {
    const { type } = (await scene.network()).config.backend;
    try {
      await scene.backend();
      return { type };
    } catch (error) {
      if (error instanceof NotKnown) throw error;
      return { type, failure: describeFailure(error) };
    }
  },
  judge({ type, failure }) {
    if (failure === undefined) return [ok(`${type} can work here`)];
    return [{ severity: "fault", text: `${type}: ${failure}` }];
  },
};
