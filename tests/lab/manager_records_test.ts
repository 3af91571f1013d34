/** The contract for leases on the stores of records: etcd and SQLite. */
import { systemClock } from "../../lib/time/clock.ts";
import { openEtcdStore } from "../../lib/leases/etcd_store.ts";
import { RecordManager } from "../../lib/leases/record_manager.ts";
import { openSqliteStore } from "../../lib/leases/sqlite_store.ts";
import type { LeaseStore } from "../../lib/leases/types.ts";
import { noMetrics, noProblems, silentLog } from "../../lib/observe/types.ts";
import { Etcd, hasEtcd } from "../../scripts/lab/etcd.ts";
import { type ManagerFixture, testManager } from "./manager_conformance.ts";

/** Managers over stores that `open` gives; all are closed at the end, then `end` is called. */
function fixture(open: () => Promise<LeaseStore>, end: () => Promise<void>): ManagerFixture {
  const managers: RecordManager[] = [];
  const openManager = async () => {
    const services = { clock: systemClock, log: silentLog, metrics: noMetrics, problems: noProblems };
    const manager = new RecordManager(await open(), { ttl: 600, margin: 60, ...services });
    managers.push(manager);
    return manager;
  };
  return {
    open: openManager,
    async writeConfig(text) {
      await using store = await open();
      await store.writeConfig(text);
    },
    async [Symbol.asyncDispose]() {
      for (const manager of managers) await manager[Symbol.asyncDispose]();
      await end();
    },
  };
}

testManager({ name: "subnets on sqlite", assigns: false }, async () => {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-manager-" });
  return fixture(() => openSqliteStore(`${folder}/store.db`), () => Deno.remove(folder, { recursive: true }));
});

testManager({ name: "subnets on etcd", assigns: false, ignore: !hasEtcd() }, async () => {
  const etcd = await Etcd.start();
  const open = () =>
    Promise.resolve(openEtcdStore({ endpoints: etcd.endpoint, prefix: "/coreos.com/network" }));
  return fixture(open, () => etcd[Symbol.asyncDispose]());
});
