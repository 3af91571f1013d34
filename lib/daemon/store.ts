/**
 * The lease store that the options name.
 *
 * @module
 */
import type { Options } from "../options/table.ts";
import { systemClock } from "../time/clock.ts";
import type { SubnetManager } from "../leases/contract.ts";
import { measuredStore } from "../leases/measured_store.ts";
import { RecordManager } from "../leases/record_manager.ts";
import type { LeaseStore } from "../leases/types.ts";
import type { PartLog } from "../observe/log.ts";
import type { Metrics, ProblemReporter } from "../observe/types.ts";

/** The options that say where config and leases live. */
export type StoreChoiceOptions = Pick<
  Options,
  | "kubeSubnetMgr"
  | "kubeApiUrl"
  | "kubeconfigFile"
  | "kubeAnnotationPrefix"
  | "netConfigPath"
  | "setNodeNetworkUnavailable"
  | "store"
  | "etcdEndpoints"
  | "etcdPrefix"
  | "etcdCafile"
  | "etcdCertfile"
  | "etcdKeyfile"
  | "etcdUsername"
  | "etcdPassword"
>;

/** Opens the store of records; nothing is connected before its first call. @throws {StoreError} If an option can't be used. */
export async function openStore(
  options: StoreChoiceOptions,
  problems?: ProblemReporter,
): Promise<LeaseStore> {
  if (options.store.kind === "sqlite") {
    return (await import("../leases/sqlite_store.ts")).openSqliteStore(options.store.path);
  }
  return (await import("../leases/etcd_store.ts")).openEtcdStore({
    endpoints: options.etcdEndpoints,
    prefix: options.etcdPrefix,
    caFile: options.etcdCafile,
    certFile: options.etcdCertfile,
    keyFile: options.etcdKeyfile,
    username: options.etcdUsername,
    password: options.etcdPassword,
  }, problems);
}

/**
 * As {@link openStore}, with all that a daemon does in it.
 *
 * @throws {StoreError} If an option can't be used.
 */
export async function openSubnetManager(
  options: StoreChoiceOptions & Pick<Options, "subnetLeaseTtl" | "subnetLeaseRenewMargin">,
  { log, metrics, problems }: { log: PartLog; metrics: Metrics; problems: ProblemReporter },
): Promise<SubnetManager> {
  if (options.kubeSubnetMgr) {
    return await (await import("../leases/kube_store.ts")).openKubeStore({
      apiUrl: options.kubeApiUrl,
      kubeconfigFile: options.kubeconfigFile,
      annotationPrefix: options.kubeAnnotationPrefix,
      netConfigPath: options.netConfigPath,
      setCondition: options.setNodeNetworkUnavailable,
      env: (name) => Deno.env.get(name),
      log: log.child("kubernetes"),
      metrics,
      problems,
    });
  }
  return new RecordManager(measuredStore(await openStore(options, problems), metrics), {
    ttl: options.subnetLeaseTtl,
    margin: options.subnetLeaseRenewMargin * 60,
    clock: systemClock,
    log: log.child("lease"),
    metrics,
    problems,
  });
}

/**
 * What identifies this network among others on the same host: devices and firewall rules carry it. It is -etcd-prefix
 * with every store.
 */
export function networkIdOf(options: Pick<Options, "etcdPrefix">): string {
  return options.etcdPrefix;
}

/** How a network config gets into this store, for people. */
export function describeWrite(
  options: Pick<Options, "kubeSubnetMgr" | "netConfigPath" | "store" | "etcdPrefix" | "etcdEndpoints">,
): string {
  if (options.kubeSubnetMgr) {
    return `Write it to ${options.netConfigPath}: in a cluster that is net-conf.json of the ConfigMap kube-flannel-cfg`;
  }
  if (options.store.kind === "sqlite") {
    return `Write one with: flanneld -store sqlite:${options.store.path} config set FILE`;
  }
  return `Write one with: flanneld config set FILE, or: etcdctl put ${options.etcdPrefix}/config ` +
    `'{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}'`;
}
