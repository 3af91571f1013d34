/**
 * Nodes by the thousand, as large as real ones, and kubelets that write their status all the time.
 *
 * @module
 */
import { peerKey, peerValue } from "../../bench/peers.ts";
import { FLANNEL_PREFIX, type KubeObject, type ObjectStore } from "./objects.ts";

/** Bytes of a Node with the images and managedFields that a real one has. */
const NODE_BYTES = 20_000;

/** Peer number `index` as a Node of some 20 KB. */
export function largeNode(index: number): KubeObject {
  const { PublicIP, BackendType, BackendData } = JSON.parse(peerValue(index));
  const cidr = peerKey(index).replace("-", "/");
  const annotations = {
    "node.alpha.kubernetes.io/ttl": "300",
    "volumes.kubernetes.io/controller-managed-attach-detach": "true",
    [`${FLANNEL_PREFIX}kube-subnet-manager`]: "true",
    [`${FLANNEL_PREFIX}backend-type`]: BackendType,
    [`${FLANNEL_PREFIX}backend-data`]: JSON.stringify(BackendData),
    [`${FLANNEL_PREFIX}public-ip`]: PublicIP,
  };
  const conditions = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map((type) => ({
    type,
    status: type === "Ready" ? "True" : "False",
    lastHeartbeatTime: "2026-01-01T00:00:00Z",
    lastTransitionTime: "2026-01-01T00:00:00Z",
    reason: `KubeletHas${type}`,
    message: "kubelet has what it needs",
  }));
  const node = {
    metadata: { name: peerName(index), labels: { "kubernetes.io/os": "linux" }, annotations },
    spec: { podCIDR: cidr, podCIDRs: [cidr] },
    status: { conditions, addresses: [{ type: "InternalIP", address: PublicIP }], images: [] as object[] },
  };
  for (let size = JSON.stringify(node).length; size < NODE_BYTES;) {
    const digest = `${index}-${size}`.padEnd(64, "a1b2c3d4e5f60718");
    const image = {
      names: [
        `registry.example.com/team/service-${size}@sha256:${digest}`,
        `team/service-${size}:v1.${index}`,
      ],
      sizeBytes: size * 1000,
    };
    node.status.images.push(image);
    size += JSON.stringify(image).length + 1;
  }
  return node;
}

/** The name of peer number `index`; names sort as numbers do. */
export function peerName(index: number): string {
  return `peer-${String(index).padStart(6, "0")}`;
}

/** Makes peers FIRST to FIRST + COUNT - 1. */
export function fill(store: ObjectStore, first: number, count: number): void {
  for (let index = first; index < first + count; index++) store.create("nodes", largeNode(index));
}

/** Kubelets write heartbeats, one peer after the other, so many each second for so many seconds. @returns How many. */
export async function churn(store: ObjectStore, perSecond: number, seconds: number): Promise<number> {
  const names = store.list("nodes").map(({ metadata }) => metadata.name).filter((name) =>
    name.startsWith("peer-")
  );
  const began = performance.now();
  let written = 0;
  while (performance.now() - began < seconds * 1000) {
    const due = Math.floor((performance.now() - began) / 1000 * perSecond);
    for (; written < due; written++) beat(store, names[written % names.length]!);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return written;
}

function beat(store: ObjectStore, name: string): void {
  const node = store.get("nodes", name);
  const { conditions, ...status } = node["status"] as { conditions: object[] };
  const lastHeartbeatTime = new Date().toISOString();
  store.put("nodes", {
    ...node,
    status: { ...status, conditions: conditions.map((condition) => ({ ...condition, lastHeartbeatTime })) },
  });
}
