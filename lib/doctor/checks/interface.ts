/**
 * The choice of the interface to the other hosts.
 *
 * @module
 */
import { describeFailure } from "../../errors.ts";
import { type InterfaceCandidate, InterfaceError } from "../../external/types.ts";
import { type Check, ok } from "../types.ts";

/** What was chosen, or why nothing was. */
interface ChosenInterface {
  readonly chosen?: { readonly name: string; readonly mtu: number };
  readonly failure?: string;
  readonly candidates: readonly InterfaceCandidate[];
  /** The one that a running daemon uses. */
  readonly inUse?: string;
}

/** Chooses as the daemon does, and says why each interface was taken or not. */
export const interfaceCheck: Check<ChosenInterface> = {
  name: "interface",
  group: "underlay",
  explains: true,
  looksAt: "which interface leads to the other hosts, and why",
  async read(scene) {
    const name = (await scene.daemon()).status?.interface?.name;
    const shared = name === undefined ? {} : { inUse: name };
    try {
      const { external, candidates } = await scene.choice();
      return { chosen: external, candidates, ...shared };
    } catch (error) {
      const candidates = error instanceof InterfaceError ? error.candidates : [];
      return { failure: describeFailure(error), candidates, ...shared };
    }
  },
  judge({ chosen, failure, candidates, inUse }) {
    const evidence = candidates.map(({ name, addresses, taken, reason }) =>
      `${name} (${addresses.join(", ")}): ${taken ? "taken" : "not taken"}, ${reason}`
    );
    if (!chosen) {
      const remedy = ["ip -brief address   # then: flanneld doctor -iface=NAME"];
      return [{ severity: "fault", text: failure ?? "none fits", evidence, remedy }];
    }
    if (inUse !== undefined && inUse !== chosen.name) {
      const text = `${chosen.name}, but the running daemon uses ${inUse}: ` +
        "its options differ from those of this command";
      return [{ severity: "note", text, evidence, remedy: [`flanneld doctor -iface=${inUse}`] }];
    }
    return [ok(`${chosen.name}, MTU ${chosen.mtu}`, ...evidence)];
  },
};
