/**
 * Containers: namespaces on a bridge that carries the host's subnet, as a container runtime would make them
 * from the subnet file.
 *
 * @module
 */
import { FAMILIES, type FamilyName, type PerFamily } from "../../lib/net/family.ts";
import { formatIp, parseIp } from "../../lib/net/ip.ts";
import { Namespace } from "./namespace.ts";
import { ipBatch } from "./process.ts";

/** A subnet file's values, as they stand there. */
export interface SubnetFile {
  /** `10.5.72.1/24` and its IPv6 counterpart. */
  readonly subnets: PerFamily<string>;
  readonly mtu: number;
  readonly text: string;
}

const SUBNET_KEYS: Readonly<Record<FamilyName, string>> = {
  ipv4: "FLANNEL_SUBNET",
  ipv6: "FLANNEL_IPV6_SUBNET",
};

/** Reads a subnet file. @throws {Error} If it isn't there or lacks a value. */
export async function readSubnetFile(path: string): Promise<SubnetFile> {
  const text = await Deno.readTextFile(path);
  const values = new Map(text.split("\n").map((line) => line.split("=", 2) as [string, string]));
  const subnets: Partial<Record<FamilyName, string>> = {};
  for (const { name } of FAMILIES) {
    const value = values.get(SUBNET_KEYS[name]);
    if (value !== undefined) subnets[name] = value;
  }
  const mtu = Number(values.get("FLANNEL_MTU"));
  if (!(mtu > 0) || Object.keys(subnets).length === 0) throw new Error(`${path} is incomplete:\n${text}`);
  return { subnets, mtu, text };
}

/** A container: its namespace, and its addresses by family. */
export class Container extends Namespace {
  constructor(
    name: string,
    readonly host: Namespace,
    readonly addresses: PerFamily<string>,
  ) {
    super(name, host.children);
  }
}

/** The bridge that containers hang on. */
export const BRIDGE = "cni0";

function gatewaysOf(file: SubnetFile): { family: FamilyName; gateway: string; length: string }[] {
  return FAMILIES.flatMap(({ name: family }) => {
    const subnet = file.subnets[family];
    if (subnet === undefined) return [];
    const [gateway, length] = subnet.split("/", 2) as [string, string];
    return [{ family, gateway, length }];
  });
}

/** Makes the bridge with the subnet's first address, or brings the one of an earlier run to this subnet. */
export async function makeBridge(host: Namespace, file: SubnetFile): Promise<void> {
  const links = await host.ipJson("link", "show");
  if (!links.some((link) => link.ifname === BRIDGE)) await host.ip(`link add ${BRIDGE} type bridge`);
  await host.ip(
    `link set ${BRIDGE} mtu ${file.mtu} up`,
    `address flush dev ${BRIDGE} scope global`,
    ...gatewaysOf(file).map(({ gateway, length, family }) =>
      `address add ${gateway}/${length} dev ${BRIDGE}${family === "ipv6" ? " nodad" : ""}`
    ),
  );
}

/**
 * Makes the host's container number `number`, counted from 1.
 *
 * @param name Name of its namespace.
 */
export async function makeContainer(
  name: string,
  host: Namespace,
  file: SubnetFile,
  number: number,
): Promise<Container> {
  await makeBridge(host, file);
  const gateways = gatewaysOf(file);
  const addresses: Partial<Record<FamilyName, string>> = {};
  for (const { family, gateway } of gateways) {
    const first = parseIp(gateway);
    addresses[family] = formatIp({ family: first.family, value: first.value + BigInt(number) });
  }
  const container = new Container(name, host, addresses);
  await ipBatch(undefined, [`netns add ${name}`]);
  await host.ip(
    `link add veth${number} mtu ${file.mtu} type veth peer name eth0 mtu ${file.mtu} netns ${name}`,
    `link set veth${number} master ${BRIDGE} up`,
  );
  await container.ip(
    "link set lo up",
    "link set eth0 up",
    ...gateways.flatMap(({ family, gateway, length }) => [
      `address add ${addresses[family]}/${length} dev eth0${family === "ipv6" ? " nodad" : ""}`,
      `route add default via ${gateway}`,
    ]),
  );
  return container;
}
