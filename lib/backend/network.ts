/**
 * A network config with its backend: everything that can be said about a config without looking at a host.
 *
 * @module
 */
import { completeConfig, parseNetworkConfig, unknownKeyWarnings } from "../config/network_config.ts";
import { ConfigError, type ConfigFault, type JsonObject, type NetworkConfig } from "../config/types.ts";
import type { BackendRegistry } from "./registry.ts";
import type { BackendType, ParsedOptions } from "./types.ts";

/** A config that can be used, and the backend that it names. */
export interface ResolvedNetwork {
  readonly config: NetworkConfig;
  readonly backend: BackendType;
  /** The backend's own options, for its `open`. */
  readonly options: unknown;
  /** The config with every default filled in; secrets are masked. */
  readonly complete: JsonObject;
  /** What its author should hear: unknown keys, keys without effect. */
  readonly warnings: readonly string[];
}

/** Parses and checks a config together with its backend's options. @throws {ConfigError} With all that is wrong. */
export async function resolveNetwork(text: string, backends: BackendRegistry): Promise<ResolvedNetwork> {
  const faults: ConfigFault[] = [];
  const parsed = collect(faults, () => parseNetworkConfig(text));
  // The backend's options are checked even where the rest is at fault, so that all faults are told at once.
  const checked = parsed ?? collect([], () => parseNetworkConfig(withSoundNetwork(text)));
  const outcome = checked && await resolveBackend(checked, backends, faults);
  if (!parsed || !outcome || faults.length > 0) throw new ConfigError(faults);
  const { backend, read } = outcome;
  return {
    config: parsed,
    backend,
    options: read.options,
    complete: completeConfig(parsed, read.complete),
    warnings: [
      ...parsed.warnings,
      ...unknownKeyWarnings(read.unknownKeys, Object.keys(read.complete), "Backend."),
    ],
  };
}

async function resolveBackend(
  config: NetworkConfig,
  backends: BackendRegistry,
  faults: ConfigFault[],
): Promise<{ backend: BackendType; read: ParsedOptions<unknown> } | undefined> {
  const backend = await backends.load(config.backend.type);
  if (typeof backend === "string") {
    faults.push({ key: "Backend.Type", message: backend });
    return undefined;
  }
  const read = backend.parse(config.backend.options, config);
  faults.push(...read.faults);
  return { backend, read };
}

/** The same Backend in a config whose other keys are right. */
function withSoundNetwork(text: string): string {
  const entries = Object.entries(JSON.parse(text) as JsonObject);
  const backend = entries.filter(([key]) => key.toLowerCase() === "backend");
  return JSON.stringify({ Network: "10.0.0.0/8", ...Object.fromEntries(backend) });
}

function collect<T>(faults: ConfigFault[], parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof ConfigError) faults.push(...error.faults);
    else if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
    return undefined;
  }
}
