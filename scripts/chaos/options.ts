/**
 * The fault run's command line.
 *
 * @module
 */

/** Backends that a fault run knows. */
const BACKENDS = ["vxlan", "host-gw", "udp", "wireguard"] as const;

/** A backend under test. */
export type ChaosBackend = typeof BACKENDS[number];

/** What a fault run is to be. */
export interface ChaosOptions {
  /** How long new faults begin. */
  readonly seconds: number;
  /** 0 to 2^32 - 1; the same seed gives the same faults. */
  readonly seed: number;
  readonly backend: ChaosBackend;
  /** IPv4 and IPv6, underlay and overlay. */
  readonly dualStack: boolean;
}

export const CHAOS_USAGE = `deno task chaos [SECONDS] [SEED] [BACKEND] [-ipv6]

Four hosts on one switch, random faults, and checks after each of them.

  SECONDS   how long, 300 without it
  SEED      a whole number: the same seed gives the same faults; without it a random one, which is printed
  BACKEND   ${BACKENDS.join(", ")}; vxlan without it
  -ipv6     IPv4 and IPv6

Status 0 if every fault healed and nothing was lost.`;

/** A command line that can't be understood. */
export class ChaosUsageError extends Error {}

function wholeNumber(name: string, text: string, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > most) {
    throw new ChaosUsageError(`${name} must be a whole number from 0 to ${most}, not "${text}"`);
  }
  return value;
}

/**
 * Reads the command line.
 *
 * @param randomSeed Gives a seed where the command line has none.
 * @returns undefined where help is asked for.
 * @throws {ChaosUsageError}
 */
export function parseChaosOptions(
  args: readonly string[],
  randomSeed: () => number,
): ChaosOptions | undefined {
  if (args.some((arg) => arg === "-h" || arg === "-help" || arg === "--help")) return undefined;
  const dualStack = args.some((arg) => arg === "-ipv6" || arg === "--ipv6");
  const words = args.filter((arg) => arg !== "-ipv6" && arg !== "--ipv6");
  const unknown = words.find((word) => word.startsWith("-"));
  if (unknown !== undefined) throw new ChaosUsageError(`There is no option ${unknown}`);
  const [numbers, names] = [
    words.filter((word) => /^\d/.test(word)),
    words.filter((word) => /^\D/.test(word)),
  ];
  if (numbers.length > 2 || names.length > 1) throw new ChaosUsageError(`Too many words: ${words.join(" ")}`);
  const [seconds = "300", seed] = numbers;
  const backend = BACKENDS.find((known) => known === (names[0] ?? "vxlan"));
  if (backend === undefined) {
    throw new ChaosUsageError(`BACKEND must be ${BACKENDS.join(", ")}, not "${names[0]}"`);
  }
  return {
    seconds: wholeNumber("SECONDS", seconds, 7 * 24 * 3600),
    seed: seed === undefined ? randomSeed() : wholeNumber("SEED", seed, 2 ** 32 - 1),
    backend,
    dualStack,
  };
}
