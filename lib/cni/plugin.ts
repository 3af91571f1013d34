/**
 * The CNI plugin `flannel`: gives containers addresses of the host's subnet by way of other plugins.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { ConfCache, runDelegate } from "./delegate.ts";
import { delegateConf, readSubnetEnv } from "./delegate_conf.ts";
import { CNI_ERROR, CniError } from "./error.ts";
import {
  type CniEnvironment,
  type JsonMap,
  type NetConf,
  readEnvironment,
  readNetConf,
  SUPPORTED_VERSIONS,
  versionOf,
} from "./request.ts";

/** What a call takes from outside. */
export interface CniEdges {
  env(name: string): string | undefined;
  /** All of stdin. */
  stdin(): Promise<string>;
  /** Writes to stdout. */
  print(text: string): void;
}

/** Carries out one call of a container runtime. @returns The exit status. */
export async function runPlugin(edges: CniEdges): Promise<number> {
  let text = "";
  try {
    const environment = readEnvironment(edges.env);
    text = await edges.stdin();
    const result = await carryOut(environment, text);
    if (result !== "") edges.print(result);
    return 0;
  } catch (error) {
    const known = error instanceof CniError ? error : new CniError(CNI_ERROR.io, messageOf(error));
    edges.print(known.json(versionOf(text)));
    return 1;
  }
}

async function carryOut(environment: CniEnvironment, text: string): Promise<string> {
  if (environment.command === "VERSION") {
    return JSON.stringify({ cniVersion: versionOf(text), supportedVersions: SUPPORTED_VERSIONS });
  }
  const conf = readNetConf(text);
  const cache = new ConfCache(conf.dataDir);
  switch (environment.command) {
    case "ADD":
      return await add(conf, environment, cache);
    case "DEL":
      return await remove(environment, cache);
    case "CHECK":
      return await check(conf, environment, cache);
    case "STATUS":
      return await status(conf, environment);
    case "GC":
      return await collect(conf, environment, cache);
  }
}

async function add(conf: NetConf, environment: CniEnvironment, cache: ConfCache): Promise<string> {
  const delegated = delegateConf(conf, await readSubnetEnv(conf.subnetFile));
  // First of all: DEL must find it, whatever becomes of the rest.
  await cache.save(environment.containerId, delegated);
  return await runDelegate(delegated, environment);
}

async function remove(environment: CniEnvironment, cache: ConfCache): Promise<string> {
  const { containerId } = environment;
  const delegated = await cache.load(containerId);
  if (!delegated) return "";
  await runDelegate(delegated, environment);
  await cache.forget(containerId);
  return "";
}

/** The container has what ADD gave it, and the host still has the subnet that it is from. */
async function check(conf: NetConf, environment: CniEnvironment, cache: ConfCache): Promise<string> {
  const { containerId } = environment;
  const delegated = await cache.load(containerId);
  if (!delegated) {
    throw new CniError(
      CNI_ERROR.unknownContainer,
      `Unknown container ${containerId}: it was not added here`,
    );
  }
  const now = delegateConf(conf, await readSubnetEnv(conf.subnetFile));
  const [then, today] = [delegated, now].map((one) =>
    JSON.stringify((one["ipam"] as JsonMap | undefined)?.["ranges"])
  );
  if (then !== today) {
    throw new CniError(
      CNI_ERROR.delegate + 1,
      `Container ${containerId} was added with the ranges ${then}; the host's are now ${today}`,
      "the host's subnet changed: recreate the container",
    );
  }
  const prevResult = conf.prevResult && withGateways(conf.prevResult);
  return await runDelegate({ ...delegated, ...(prevResult ? { prevResult } : {}) }, environment);
}

/**
 * A result whose routes name their gateway. bridge makes a route without one by way of the address's gateway, leaves it
 * out of its result all the same, and then misses in CHECK a route that has none (containernetworking-plugins 1.1).
 */
function withGateways(result: JsonMap): JsonMap {
  const { ips, routes } = result as {
    ips?: { gateway?: string }[];
    routes?: { dst?: string; gw?: string }[];
  };
  if (!Array.isArray(ips) || !Array.isArray(routes)) return result;
  const isIpv6 = (text: string | undefined) => text?.includes(":") === true;
  const gatewayOf = (dst: string | undefined) =>
    ips.find(({ gateway }) => gateway !== undefined && isIpv6(gateway) === isIpv6(dst))?.gateway;
  const complete = routes.map((route) => {
    const gw = route.gw ?? gatewayOf(route.dst);
    return gw === undefined ? route : { ...route, gw };
  });
  return { ...result, routes: complete };
}

/** Whether ADD can work: the subnet file is there, and the delegate says nothing against it. */
async function status(conf: NetConf, environment: CniEnvironment): Promise<string> {
  try {
    await runIfKnown(delegateConf(conf, await readSubnetEnv(conf.subnetFile)), environment);
    return "";
  } catch (error) {
    if (!(error instanceof CniError) || error.code !== CNI_ERROR.tryAgainLater) throw error;
    throw new CniError(CNI_ERROR.notAvailable, error.message, error.details);
  }
}

/** Undoes what containers had that are no longer in use, then has the delegate do the same. */
async function collect(conf: NetConf, environment: CniEnvironment, cache: ConfCache): Promise<string> {
  const valid = new Set((conf.validAttachments ?? []).map(({ containerID }) => containerID));
  if (conf.validAttachments === undefined) {
    throw new CniError(CNI_ERROR.invalidConfig, "cni.dev/valid-attachments is not set: GC needs it");
  }
  const failures: string[] = [];
  for (const containerId of await cache.containers()) {
    if (valid.has(containerId)) continue;
    try {
      const delegated = await cache.load(containerId);
      // The namespace may be gone; a delegate's DEL copes with that (specification, section "DEL").
      const variables = {
        CNI_COMMAND: "DEL",
        CNI_CONTAINERID: containerId,
        CNI_IFNAME: "eth0",
        CNI_NETNS: "",
      };
      if (delegated) await runDelegate(delegated, environment, variables);
      await cache.forget(containerId);
    } catch (error) {
      failures.push(`${containerId}: ${messageOf(error)}`);
    }
  }
  await collectInDelegate(conf, environment);
  if (failures.length === 0) return "";
  throw new CniError(
    CNI_ERROR.delegate + 2,
    `Cannot undo ${failures.length} attachments`,
    failures.join("; "),
  );
}

async function collectInDelegate(conf: NetConf, environment: CniEnvironment): Promise<void> {
  const env = await readSubnetEnv(conf.subnetFile).catch(() => undefined);
  if (!env) return;
  await runIfKnown(
    { ...delegateConf(conf, env), "cni.dev/valid-attachments": conf.validAttachments },
    environment,
  );
}

/** Runs the delegate; one of an older version, which knows neither STATUS nor GC, has nothing to say. */
async function runIfKnown(conf: JsonMap, environment: CniEnvironment): Promise<void> {
  try {
    await runDelegate(conf, environment);
  } catch (error) {
    if (!(error instanceof CniError) || error.code !== CNI_ERROR.invalidEnvironment) throw error;
  }
}
