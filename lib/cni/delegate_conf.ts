/**
 * The configuration of the plugin that does the work (bridge, by default), made of the subnet file and our own
 * configuration, exactly as flannel's own CNI plugin makes it.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { formatPrefix, parseCidr, type Prefix } from "../net/prefix.ts";
import { CNI_ERROR, CniError } from "./error.ts";
import type { JsonMap, NetConf } from "./request.ts";

/** What the plugin needs of a subnet file. */
export interface SubnetEnv {
  /** All networks, IPv4 first: a line may name several, separated by commas. */
  readonly networks: readonly Prefix[];
  /** The host's subnets, IPv4 first. */
  readonly subnets: readonly Prefix[];
  readonly mtu: number;
  readonly ipMasq: boolean;
}

/** Reads the subnet file. @throws {CniError} Try again later where it isn't there yet; invalid config where it is wrong. */
export async function readSubnetEnv(path: string): Promise<SubnetEnv> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      throw new CniError(CNI_ERROR.io, `Cannot read the subnet file ${path}: ${messageOf(error)}`);
    }
    throw new CniError(
      CNI_ERROR.tryAgainLater,
      `There is no subnet file ${path}: flanneld is not ready on this host`,
      "flanneld writes it when it has its subnet; see its log, or flanneld status",
    );
  }
  return parseSubnetEnv(text, path);
}

/** The subnet file's text. @throws {CniError} That names the variable. */
export function parseSubnetEnv(text: string, path: string): SubnetEnv {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) values.set(line.slice(0, at).trim(), line.slice(at + 1).trim());
  }
  const wrong = (rule: string) => new CniError(CNI_ERROR.invalidConfig, `The subnet file ${path} ${rule}`);
  const prefixes = (name: string): Prefix[] => {
    const value = values.get(name) ?? "";
    try {
      return value.split(",").filter(Boolean).map((cidr) => parseCidr(cidr).prefix);
    } catch {
      throw wrong(`has ${name}=${value}, which isn't a CIDR`);
    }
  };
  const networks = ["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"].flatMap(prefixes);
  const subnets = ["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"].flatMap(prefixes);
  const missing = [
    ...networks.length === 0 ? ["FLANNEL_NETWORK or FLANNEL_IPV6_NETWORK"] : [],
    ...subnets.length === 0 ? ["FLANNEL_SUBNET or FLANNEL_IPV6_SUBNET"] : [],
    ...["FLANNEL_MTU", "FLANNEL_IPMASQ"].filter((name) => !values.get(name)),
  ];
  if (missing.length > 0) throw wrong(`has no ${missing.join(", no ")}`);
  const mtu = Number(values.get("FLANNEL_MTU"));
  if (!Number.isInteger(mtu) || mtu <= 0) {
    throw wrong(`has FLANNEL_MTU=${values.get("FLANNEL_MTU")}, which isn't an MTU`);
  }
  return { networks, subnets, mtu, ipMasq: values.get("FLANNEL_IPMASQ") === "true" };
}

/** The delegate's configuration. */
export function delegateConf(conf: NetConf, env: SubnetEnv): JsonMap {
  const type = conf.delegate["type"] ?? "bridge";
  return {
    ...type === "bridge" ? { isGateway: true } : {},
    // One of the two masquerades, not both.
    ipMasq: !env.ipMasq,
    mtu: env.mtu,
    ...conf.delegate,
    type,
    name: conf.name,
    ...conf.cniVersion === undefined ? {} : { cniVersion: conf.cniVersion },
    ...conf.runtimeConfig ? { runtimeConfig: conf.runtimeConfig } : {},
    ipam: ipamConf(conf.ipam, env),
  };
}

function ipamConf(ipam: JsonMap, { networks, subnets }: SubnetEnv): JsonMap {
  const routes = Array.isArray(ipam["routes"]) ? ipam["routes"] : [];
  return {
    type: "host-local",
    ...ipam,
    ranges: subnets.map((subnet) => [{ subnet: formatPrefix(subnet) }]),
    routes: [...routes, ...networks.map((network) => ({ dst: formatPrefix(network) }))],
  };
}
