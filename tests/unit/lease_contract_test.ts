/** The contract for leases fits a store that assigns subnets as well as those where hosts choose them. */
import { testManager } from "../lab/manager_conformance.ts";
import { AssignedSubnets, Cluster } from "./assigned_subnets.ts";

testManager({ name: "assigned subnets", assigns: true }, () => {
  const cluster = new Cluster();
  return Promise.resolve({
    open: (host: number) => Promise.resolve(new AssignedSubnets(cluster, `node-${host}`)),
    writeConfig: (text: string) => Promise.resolve(cluster.writeConfig(text)),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
});
