import { openEtcdStore } from "../../lib/leases/etcd_store.ts";
import type { LeaseStore } from "../../lib/leases/types.ts";
import { Etcd, hasEtcd } from "../../scripts/lab/etcd.ts";
import { type StoreFixture, testStore } from "./store_conformance.ts";

const PREFIX = "/coreos.com/network";

testStore("etcd", !hasEtcd(), async (): Promise<StoreFixture> => {
  const etcd = await Etcd.start();
  const stores: LeaseStore[] = [];
  return {
    open() {
      const store = openEtcdStore({ endpoints: etcd.endpoint, prefix: PREFIX });
      stores.push(store);
      return Promise.resolve(store);
    },
    async compact(store) {
      const { revision } = await store.listLeases();
      await etcd.ctl("compaction", String(revision));
    },
    async putMany(leases) {
      // What etcdctl's txn reads: no compares, then the puts, then nothing for the other branch.
      const puts = leases.map(({ key, value }) => `put ${PREFIX}/subnets/${key} ${JSON.stringify(value)}`);
      await etcd.ctlWithInput(`\n${puts.join("\n")}\n\n\n`, "txn");
    },
    async [Symbol.asyncDispose]() {
      for (const store of stores) await store[Symbol.asyncDispose]();
      await etcd[Symbol.asyncDispose]();
    },
  };
});
