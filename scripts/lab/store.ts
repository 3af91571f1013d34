/**
 * The lab's store: one etcd on the switch, or one SQLite file that all hosts share.
 *
 * @module
 */
import { Etcd } from "./etcd.ts";
import { flanneldCommand } from "./daemon.ts";
import type { Namespace } from "./namespace.ts";
import { run } from "./process.ts";

export type StoreKind = "etcd" | "sqlite";

/** What hosts of a lab share. */
export interface LabStore extends AsyncDisposable {
  readonly kind: StoreKind;
  /** Options for flanneld. */
  readonly args: readonly string[];
  /** The etcd; absent for SQLite. */
  readonly etcd?: Etcd;
  /** Writes the network config. */
  writeConfig(text: string): Promise<void>;
}

/** Where the contract keeps everything. */
export const PREFIX = "/coreos.com/network";

async function startEtcd(place: Namespace, address: string): Promise<LabStore> {
  const etcd = await Etcd.start({ host: address, enter: place.enter });
  return {
    kind: "etcd",
    args: [`-etcd-endpoints=${etcd.endpoint}`],
    etcd,
    writeConfig: async (text) => void await etcd.ctl("put", `${PREFIX}/config`, text),
    [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose](),
  };
}

function sqliteStore(folder: string): LabStore {
  const args = [`-store=sqlite:${folder}/store.db`];
  return {
    kind: "sqlite",
    args,
    writeConfig: async (text) =>
      void await run([...flanneldCommand(), "config", "set", "-", ...args], { input: text }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Where a lab's store has its place. */
export interface StorePlace {
  /** The namespace that is the switch; every host reaches `address` there. */
  readonly middle: Namespace;
  readonly address: string;
  /** What names of the lab's namespaces begin with. */
  readonly prefix: string;
  /** The lab's folder for files. */
  readonly folder: string;
}

/** Makes a store that this file doesn't know. */
export type StoreFactory = (place: StorePlace) => Promise<LabStore>;

/** Opens the lab's store. */
export function openStore(kind: StoreKind | StoreFactory, place: StorePlace): Promise<LabStore> {
  if (typeof kind === "function") return kind(place);
  return kind === "etcd"
    ? startEtcd(place.middle, place.address)
    : Promise.resolve(sqliteStore(place.folder));
}
