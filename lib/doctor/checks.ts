/**
 * All checks, in the order in which they are shown.
 *
 * @module
 */
import { backendCheck } from "./checks/backend.ts";
import { firewallTools } from "./checks/firewall_tools.ts";
import { forwarding } from "./checks/forwarding.ts";
import { interfaceCheck } from "./checks/interface.ts";
import { store } from "./checks/store.ts";
import { user } from "./checks/user.ts";
import type { Check } from "./types.ts";

/** Every check that `doctor` carries out. */
export const CHECKS: readonly Check[] = [
  user,
  store,
  interfaceCheck,
  backendCheck,
  firewallTools,
  forwarding,
] as readonly Check[];
