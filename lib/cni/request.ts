/**
 * What a container runtime asks for: the environment's variables and the network configuration on stdin.
 *
 * @module
 */
import { CNI_ERROR, CniError } from "./error.ts";

/** Versions of the specification that this plugin speaks; results are the delegate's. */
export const SUPPORTED_VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

/** The version of answers to runtimes that name none. */
const OLDEST = SUPPORTED_VERSIONS[0];

/** JSON objects as they come. */
export type JsonMap = { [key: string]: unknown };

/** The operations of the specification. */
const COMMANDS = ["ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"] as const;
/** One of them. */
export type CniCommand = (typeof COMMANDS)[number];

/** The environment of a call. */
export interface CniEnvironment {
  readonly command: CniCommand;
  readonly containerId: string;
  /** Folders of plugins. */
  readonly path: readonly string[];
}

/** The flannel plugin's network configuration. */
export interface NetConf {
  /** Undefined where the runtime names none. */
  readonly cniVersion: string | undefined;
  readonly name: string;
  readonly subnetFile: string;
  readonly dataDir: string;
  readonly delegate: JsonMap;
  readonly ipam: JsonMap;
  readonly runtimeConfig: JsonMap | undefined;
  readonly prevResult: JsonMap | undefined;
  /** GC: the attachments that are still in use. */
  readonly validAttachments: readonly { readonly containerID: string; readonly ifname: string }[] | undefined;
}

/** What each operation needs from the environment beside CNI_COMMAND. */
const NEEDED: Readonly<Record<CniCommand, readonly string[]>> = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  STATUS: ["CNI_PATH"],
  GC: ["CNI_PATH"],
  VERSION: [],
};

/** Names of networks and containers: they become names of files. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** Reads and checks the environment. @throws {CniError} That names what is missing or wrong. */
export function readEnvironment(env: (name: string) => string | undefined): CniEnvironment {
  const command = env("CNI_COMMAND") ?? "";
  if (!isCommand(command)) {
    const found = command === "" ? "is not set" : JSON.stringify(command);
    throw new CniError(
      CNI_ERROR.invalidEnvironment,
      `CNI_COMMAND ${found}: must be one of ${COMMANDS.join(", ")}`,
      "container runtimes call this plugin; by hand: flanneld cni install puts it in their folder",
    );
  }
  const missing = NEEDED[command].filter((name) => !env(name));
  if (missing.length > 0) {
    throw new CniError(CNI_ERROR.invalidEnvironment, `${command} needs ${missing.join(", ")}`);
  }
  const containerId = env("CNI_CONTAINERID") ?? "";
  if (containerId !== "" && !NAME.test(containerId)) {
    throw new CniError(
      CNI_ERROR.invalidEnvironment,
      `CNI_CONTAINERID ${JSON.stringify(containerId)}: must be letters, digits, dots, dashes and underscores`,
    );
  }
  return { command, containerId, path: (env("CNI_PATH") ?? "").split(":").filter(Boolean) };
}

function isCommand(word: string): word is CniCommand {
  return COMMANDS.some((command) => command === word);
}

/** The cniVersion of a configuration, as well as it can be read: errors carry it, too. */
export function versionOf(text: string): string {
  try {
    const { cniVersion } = JSON.parse(text) as { cniVersion?: unknown };
    return typeof cniVersion === "string" && cniVersion !== "" ? cniVersion : OLDEST;
  } catch {
    return OLDEST;
  }
}

/** Reads and checks the network configuration. @throws {CniError} That names the key. */
export function readNetConf(text: string): NetConf {
  const conf = parse(text);
  const cniVersion = versionOf(text);
  if (!SUPPORTED_VERSIONS.some((version) => version === cniVersion)) {
    throw new CniError(
      CNI_ERROR.incompatibleVersion,
      `cniVersion ${JSON.stringify(cniVersion)}: this plugin speaks ${SUPPORTED_VERSIONS.join(", ")}`,
    );
  }
  const name = conf["name"];
  if (typeof name !== "string" || !NAME.test(name)) {
    throw invalid("name", name, "must be letters, digits, dots, dashes and underscores");
  }
  const delegate = map(conf, "delegate") ?? {};
  for (const key of ["name", "ipam"]) {
    if (Object.hasOwn(delegate, key)) {
      const instead = key === "ipam" ? "; put it beside delegate" : "";
      throw new CniError(
        CNI_ERROR.invalidConfig,
        `delegate must not have ${key}: the plugin sets it${instead}`,
      );
    }
  }
  if (delegate["type"] !== undefined && typeof delegate["type"] !== "string") {
    throw invalid("delegate.type", delegate["type"], "must be the name of a plugin");
  }
  return {
    cniVersion: conf["cniVersion"] ? cniVersion : undefined,
    name,
    delegate,
    subnetFile: path(conf, "subnetFile", "/run/flannel/subnet.env"),
    dataDir: path(conf, "dataDir", "/var/lib/cni/flannel"),
    ipam: map(conf, "ipam") ?? {},
    runtimeConfig: map(conf, "runtimeConfig"),
    prevResult: map(conf, "prevResult"),
    validAttachments: attachments(conf["cni.dev/valid-attachments"]),
  };
}

function parse(text: string): JsonMap {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CniError(
      CNI_ERROR.decoding,
      `The network configuration isn't JSON: ${(error as Error).message}`,
    );
  }
  if (isMap(value)) return value;
  throw new CniError(CNI_ERROR.decoding, "The network configuration isn't a JSON object");
}

function isMap(value: unknown): value is JsonMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function map(conf: JsonMap, key: string): JsonMap | undefined {
  const value = conf[key];
  if (value === undefined || value === null) return undefined;
  if (isMap(value)) return value;
  throw invalid(key, value, "must be an object");
}

function path(conf: JsonMap, key: string, fallback: string): string {
  const value = conf[key] ?? "";
  if (value === "") return fallback;
  if (typeof value === "string" && value.startsWith("/")) return value;
  throw invalid(key, value, "must be an absolute path");
}

function attachments(value: unknown): NetConf["validAttachments"] {
  if (value === undefined || value === null) return undefined;
  const isOne = (one: unknown) =>
    isMap(one) && typeof one["containerID"] === "string" && typeof one["ifname"] === "string";
  if (Array.isArray(value) && value.every(isOne)) return value as NetConf["validAttachments"];
  throw invalid("cni.dev/valid-attachments", value, "must be a list of objects with containerID and ifname");
}

function invalid(key: string, value: unknown, rule: string): CniError {
  const shown = value === undefined ? "is not set" : JSON.stringify(value).slice(0, 80);
  return new CniError(CNI_ERROR.invalidConfig, `${key} ${shown}: ${rule}`);
}
