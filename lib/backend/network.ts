/**
 * A network config with its backend: everything that can be said about a config without looking at a host.
 *
 * @module
 */
import { completeConfig, parseNetworkConfig, unknownKeyWarnings } from "../config/network_config.ts";
import { ConfigError, type JsonObject, type NetworkConfig } from "../config/types.ts";
import type { BackendRegistry } from "./registry.ts";
import type { BackendType } from "./types.ts";

/** A config that can be used, and the backend that it names. */
export interface ResolvedNetwork {
  readonly config: NetworkConfig;
  readonly backend: BackendType;
  /** The backend's own options, for its `open`. */
  readonly options: unknown;
  /** The config with every default filled in; secrets are masked. */
  readonly complete: JsonObject;
  /** What its author should know: unknown keys, keys without effect. */
  readonly warnings: readonly string[];
}

/**
 * Parses and checks a config together with its backend's options.
 *
 * @throws {ConfigError} With all that is wrong: the backend's options are checked also where the rest is at fault.
 */
export async function resolveNetwork(text: string, backends: BackendRegistry): Promise<ResolvedNetwork> {
  const config = parseNetworkConfig(text);
  const { type, options } = config.backend;
  // An empty type is a fault that is named already.
  const backend = type === "" ? undefined : await backends.load(type);
  if (backend === undefined) throw new ConfigError(config.faults);
  if (typeof backend === "string") {
    throw new ConfigError([...config.faults, { key: "Backend.Type", message: backend }]);
  }
  const read = backend.parse(options, config.enabled);
  const faults = [...config.faults, ...read.faults];
  if (faults.length > 0) throw new ConfigError(faults);
  return {
    config,
    backend,
    options: read.options,
    complete: completeConfig(config, read.complete),
    warnings: [
      ...config.warnings,
      ...unknownKeyWarnings(read.unknownKeys, Object.keys(read.complete), "Backend."),
    ],
  };
}
