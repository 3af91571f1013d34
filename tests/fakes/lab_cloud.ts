/**
 * The fake clouds as a lab sees them: hosts by their address, routes by prefix and address.
 *
 * @module
 */
import { FakeAli } from "./ali.ts";
import { FakeAliMetadata } from "./ali_metadata.ts";
import { FakeAws } from "./aws.ts";
import { FakeImds } from "./aws_imds.ts";
import { FakeGce } from "./gce.ts";
import { FakeGceMetadata } from "./gce_metadata.ts";
import type { FakeServer, Faults } from "./http.ts";
import { FakeTencent } from "./tencent.ts";
import { FakeTencentMetadata } from "./tencent_metadata.ts";

export type CloudName = "aws-vpc" | "gce" | "ali-vpc" | "tencent-vpc";

/** What a lab does with a cloud. */
export interface LabCloud {
  readonly faults: Faults;
  /** How many routes there may be. */
  limit: number;
  /** How many count against the limit. */
  readonly used: number;
  readonly api: FakeServer;
  readonly calls: string[];
  readonly changes: readonly string[];
  onChange: () => void;
  addInstance(id: string, address: string): void;
  terminate(id: string): void;
  /** Adds a route as somebody else would; `id` may be of an instance that is gone. */
  addRoute(cidr: string, id: string): void;
  /** All routes but the cloud's own, as `PREFIX INSTANCE`. */
  routes(): string[];
  hops(): Map<string, string>;
  expireCredentials(): void;
}

/** Where a cloud listens. */
interface Listen {
  readonly metadata: string;
  readonly api: string;
  readonly port: number;
}

/** Where each cloud's instances find their metadata server. */
export const METADATA: Readonly<Record<CloudName, string>> = {
  "aws-vpc": "169.254.169.254",
  "gce": "169.254.169.254",
  "ali-vpc": "100.100.100.200",
  "tencent-vpc": "169.254.0.23",
};

/** Makes a cloud that listens at `api` and, for all its instances, at the metadata server's own address. */
export function makeLabCloud(name: CloudName, api: string, port: number): LabCloud {
  const listen = { metadata: METADATA[name], api, port };
  switch (name) {
    case "aws-vpc":
      return labAws(listen);
    case "gce":
      return labGce(listen);
    case "ali-vpc":
      return labAli(listen);
    case "tencent-vpc":
      return labTencent(listen);
  }
}

function labAws({ metadata, api, port }: Listen): LabCloud {
  const aws = new FakeAws(api, port);
  new FakeImds(aws, undefined, metadata, 80);
  const table = aws.tables.get("rtb-0aaa")!;
  return {
    faults: aws.faults,
    get limit() {
      return aws.limit;
    },
    set limit(limit) {
      aws.limit = limit;
    },
    get used() {
      return table.routes.now.length + 1;
    },
    api: aws.server,
    calls: aws.calls,
    get changes() {
      return aws.changes;
    },
    set onChange(onChange: () => void) {
      aws.onChange = onChange;
    },
    addInstance: (id, address) => void aws.addInstance(id, address),
    terminate: (id) => aws.terminate(id),
    addRoute: (cidr, id) => {
      const state = aws.instances.has(id) ? "active" : "blackhole";
      const others = table.routes.now.filter((route) => route.cidr !== cidr);
      table.routes.now = [...others, { cidr, eni: `eni-${id.slice(2)}`, state }];
      aws.onChange();
    },
    routes: () => table.routes.now.flatMap(({ cidr, eni }) => eni ? [`${cidr} i-${eni.slice(4)}`] : []),
    hops: () => aws.hops(),
    expireCredentials: () => void (aws.faults.credentialsSince = Date.now()),
  };
}

function labGce({ metadata, api, port }: Listen): LabCloud {
  const gce = new FakeGce(api, port);
  new FakeGceMetadata(gce, undefined, metadata, 80);
  return {
    faults: gce.faults,
    get limit() {
      return gce.limit;
    },
    set limit(limit) {
      gce.limit = limit;
    },
    get used() {
      return gce.routes.now.length;
    },
    api: gce.server,
    calls: gce.calls,
    get changes() {
      return gce.changes;
    },
    set onChange(onChange: () => void) {
      gce.onChange = onChange;
    },
    addInstance: (id, address) => void gce.addInstance(id, address),
    terminate: (id) => {
      gce.instances.delete(id);
      gce.onChange?.();
    },
    addRoute: (cidr, id) => {
      const name = `flannel-${cidr.replace(/[./]/g, "-")}`;
      gce.routes.now = gce.routes.now.filter((route) => route.name !== name);
      gce.addRoute(name, cidr, id);
    },
    routes: () =>
      gce.routes.now.flatMap(({ destRange, nextHopInstance }) =>
        nextHopInstance ? [`${destRange} ${nextHopInstance.split("/").at(-1)}`] : []
      ),
    hops: () => gce.hops(),
    expireCredentials: () => gce.tokens.clear(),
  };
}

function labAli({ metadata, api, port }: Listen): LabCloud {
  const ali = new FakeAli(api, port);
  new FakeAliMetadata(ali, undefined, metadata, 80);
  const table = ali.tables.get("vtb-system")!;
  return {
    faults: ali.faults,
    get limit() {
      return ali.limit;
    },
    set limit(limit) {
      ali.limit = limit;
    },
    get used() {
      return ali.entries().length;
    },
    api: ali.server,
    calls: ali.calls,
    get changes() {
      return ali.changes;
    },
    set onChange(onChange: () => void) {
      ali.onChange = onChange;
    },
    addInstance: (id, address) => void ali.addInstance(id, address),
    terminate: (id) => {
      ali.instances.delete(id);
      ali.onChange();
    },
    addRoute: (cidr, id) => {
      table.now = table.now.filter((entry) => entry.cidr !== cidr);
      ali.addEntry(cidr, id);
    },
    routes: () => ali.entries().flatMap(({ cidr, hop }) => hop.startsWith("i-") ? [`${cidr} ${hop}`] : []),
    hops: () => ali.hops(),
    expireCredentials: () => void (ali.faults.credentialsSince = Date.now()),
  };
}

function labTencent({ metadata, api, port }: Listen): LabCloud {
  const tencent = new FakeTencent(api, port);
  new FakeTencentMetadata(tencent, undefined, metadata, 80);
  const table = tencent.tables.get("rtb-main")!;
  // Instances that are gone: the table doesn't say so.
  const addresses = new Map<string, string>();
  const idOf = (address: string) => [...addresses].findLast(([, one]) => one === address)?.[0];
  return {
    faults: tencent.faults,
    get limit() {
      return tencent.limit;
    },
    set limit(limit) {
      tencent.limit = limit;
    },
    get used() {
      return table.routes.now.length;
    },
    api: tencent.server,
    calls: tencent.calls,
    get changes() {
      return tencent.changes;
    },
    set onChange(onChange: () => void) {
      tencent.onChange = onChange;
    },
    addInstance: (id, address) => {
      addresses.set(id, address);
      tencent.addInstance(id, address);
    },
    terminate: (id) => {
      tencent.instances.delete(id);
      tencent.onChange();
    },
    addRoute: (cidr, id) => {
      table.routes.now = table.routes.now.filter((route) => route.cidr !== cidr);
      if (!addresses.has(id)) addresses.set(id, "192.0.2.1");
      tencent.addRoute(cidr, addresses.get(id)!);
    },
    routes: () =>
      table.routes.now.flatMap(({ cidr, gateway }) => idOf(gateway) ? [`${cidr} ${idOf(gateway)}`] : []),
    hops: () => tencent.hops(),
    expireCredentials: () => void (tencent.faults.credentialsSince = Date.now()),
  };
}
