/**
 * Whether packets between containers on one bridge pass iptables.
 *
 * @module
 */
import type { Scene } from "../scene.ts";
import { type Check, ok } from "../types.ts";

const SETTING = "net.bridge.bridge-nf-call-iptables";

interface BridgeNetfilter {
  /** Bridges of container runtimes. */
  readonly bridges: readonly string[];
  /** Undefined: the module br_netfilter isn't loaded. */
  readonly value: string | undefined;
  /** Services are carried by rules of iptables or IPVS, as kube-proxy makes them. */
  readonly usesServices: boolean;
}

/** Reads the setting where there is a bridge, or a cluster. */
export const bridgeNetfilter: Check<BridgeNetfilter> = {
  name: "br_netfilter",
  group: "kernel",
  looksAt: "whether packets between containers on one bridge pass iptables",
  async read(scene) {
    const { kernel, options } = scene;
    return {
      bridges: kernel.links.filter(({ kind }) => kind === "bridge").map(({ name }) => name),
      value: kernel.file("/proc/sys/net/bridge/bridge-nf-call-iptables"),
      usesServices: options.kubeSubnetMgr || await hasServices(scene),
    };
  },
  judge({ bridges, value, usesServices }) {
    if (bridges.length === 0 && !usesServices) return [];
    const read = value === undefined ? "br_netfilter isn't loaded" : `${SETTING} = ${value}`;
    if (value === "1") return [ok(`packets between containers on one bridge pass iptables`, read)];
    if (!usesServices) {
      return [
        ok(
          "packets between containers on one bridge pass by iptables; only Kubernetes Services need them",
          read,
        ),
      ];
    }
    return [{
      severity: "warning",
      text: "packets between containers on one bridge pass by iptables: " +
        "a container doesn't reach a Service that leads to its own node, and network policies don't hold there",
      evidence: [read],
      remedy: ["modprobe br_netfilter", `sysctl -w ${SETTING}=1`],
    }];
  },
};

/** Whether kube-proxy has made its chain here. */
async function hasServices(scene: Scene): Promise<boolean> {
  const saved = await scene.savedTables("nat");
  return [...saved.values()].some((text) => /^:KUBE-SERVICES /m.test(text));
}
