/**
 * A fake of the part of Alibaba's VPC API that flanneld uses: RPC calls with their ACS3 signature checked, route
 * entries that pass through their states, one change at a time, quotas and permissions.
 *
 * @module
 */
import {
  type FakeRequest,
  FakeServer,
  Faults,
  hex,
  hmac,
  json,
  Lagging,
  rfc3986,
  sha256Hex,
} from "./http.ts";

/** Keys that the fake knows. */
export interface AliKey {
  readonly secret: string;
  readonly token?: string;
  /** When they were given out; milliseconds since the epoch. */
  readonly since: number;
}

/** An entry of the route table. */
export interface AliEntry {
  readonly id: string;
  readonly cidr: string;
  readonly hop: string;
  /** When its creation or deletion is done, by the fake's clock. */
  readonly settledAt: number;
  readonly deleting: boolean;
}

/** A network interface of an instance. */
export interface AliInterface {
  readonly id: string;
  readonly mac: string;
  readonly address: string;
  readonly vswitch: string;
}

/** An ECS instance with its primary interface, and perhaps more. */
export interface AliInstance {
  readonly id: string;
  readonly address: string;
  readonly interfaces: AliInterface[];
}

const MUTATING = /^(Create|Delete)/;

/** A refused call. */
class Refusal extends Error {
  constructor(readonly code: string, message: string, readonly status = 400) {
    super(message);
  }
}

/** One region with one VPC: a system table, and optionally one of the switch. */
export class FakeAli implements AsyncDisposable {
  readonly region = "cn-test";
  readonly vpc = "vpc-1";
  readonly vswitch = "vsw-1";
  readonly faults = new Faults();
  /** Custom entries that a table may have. */
  limit = 50;
  /** The table that the switch is bound to; the system's own has the id `vtb-system`. */
  switchTable: string | undefined;
  readonly keys = new Map<string, AliKey>([["LTAITEST", { secret: "ali-secret+key", since: Infinity }]]);
  readonly instances = new Map<string, AliInstance>();
  readonly tables = new Map<string, Lagging<readonly AliEntry[]>>();
  readonly calls: string[] = [];
  readonly server: FakeServer;
  onChange: () => void = () => {};
  readonly #clientTokens = new Set<string>();
  #serial = 0;

  constructor(hostname?: string, port?: number) {
    this.server = new FakeServer((request) => this.#answer(request), hostname, port);
    this.tables.set("vtb-system", new Lagging<readonly AliEntry[]>(this.faults, []));
    this.addEntry("0.0.0.0/0", "ngw-1");
  }

  addInstance(id: string, address: string): AliInstance {
    const instance: AliInstance = { id, address, interfaces: [] };
    this.instances.set(id, instance);
    this.addInterface(instance, `eni-${id}`, address);
    return instance;
  }

  /** Attaches an interface; the first one is the primary. */
  addInterface(instance: AliInstance, id: string, address: string, vswitch = this.vswitch): void {
    const number = instance.interfaces.length.toString(16).padStart(2, "0");
    instance.interfaces.push({ id, mac: `00:16:3e:00:00:${number}`, address, vswitch });
  }

  /** Gives the VPC another table, bound to none of its switches. */
  addTable(id: string): void {
    this.tables.set(id, new Lagging<readonly AliEntry[]>(this.faults, []));
  }

  /** The address behind a next hop, if it is there. */
  #addressOf(hop: string): string | undefined {
    const cards = [...this.instances.values()].flatMap(({ interfaces }) => interfaces);
    return this.instances.get(hop)?.address ?? cards.find(({ id }) => id === hop)?.address;
  }

  /** Gives the switch a table of its own. */
  addSwitchTable(id: string): void {
    this.switchTable = id;
    this.tables.set(id, new Lagging<readonly AliEntry[]>(this.faults, []));
  }

  /** Adds an entry as somebody else would, settled. */
  addEntry(cidr: string, hop: string, table = "vtb-system"): void {
    const entries = this.tables.get(table)!;
    entries.now = [...entries.now, { id: this.#newId(), cidr, hop, settledAt: -Infinity, deleting: false }];
    this.onChange();
  }

  /** The entries of a table that are in force. */
  entries(table = "vtb-system"): readonly AliEntry[] {
    return this.tables.get(table)!.now.filter((entry) => !this.#isGone(entry));
  }

  get changes(): string[] {
    return this.calls.filter((call) => MUTATING.test(call));
  }

  /** Where the table sends packets: destination and the hop's address. */
  hops(table = "vtb-system"): Map<string, string> {
    return new Map(
      this.entries(table).flatMap(({ cidr, hop }) => {
        const address = this.#addressOf(hop);
        return address ? [[cidr, address] as const] : [];
      }),
    );
  }

  async #answer(request: FakeRequest): Promise<Response> {
    const action = request.headers.get("x-acs-action") ?? "";
    try {
      if (this.faults.take("broken")) throw new Refusal("ServiceUnavailable", "The request has failed.", 503);
      await this.#authenticate(request);
      if (request.headers.get("x-acs-version") !== "2016-04-28") {
        throw new Refusal("InvalidVersion", "Version");
      }
      this.calls.push(action);
      if (this.faults.take("throttle")) {
        throw new Refusal("Throttling.User", "Request was denied due to throttling.");
      }
      if (this.faults.denied.has(action)) {
        throw new Refusal("Forbidden.RAM", "User not authorized to operate.", 403);
      }
      return json({ RequestId: "R", ...this.#perform(action, request.url.searchParams) });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { code: Code, message: Message, status } = error;
      return json({ RequestId: "R", HostId: "vpc.aliyuncs.com", Code, Message, Recommend: "-" }, status);
    }
  }

  async #authenticate({ method, url, headers, body }: FakeRequest): Promise<void> {
    const match = /^ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([0-9a-f]{64})$/
      .exec(headers.get("authorization") ?? "");
    const [, id, signed, signature] = match ?? [];
    const key = id === undefined ? undefined : this.keys.get(id);
    if (!key || !signed) {
      throw new Refusal("InvalidAccessKeyId.NotFound", "Specified access key is not found.", 404);
    }
    if (key.token !== undefined && headers.get("x-acs-security-token") !== key.token) {
      throw new Refusal("InvalidSecurityToken.Malformed", "The specified SecurityToken is malformed.");
    }
    if (key.since < this.faults.credentialsSince) {
      throw new Refusal("InvalidSecurityToken.Expired", "The specified SecurityToken has expired.");
    }
    const query = [...url.searchParams].map(([k, v]) => `${rfc3986(k)}=${rfc3986(v)}`).sort().join("&");
    const lines = signed.split(";").map((name) => `${name}:${headers.get(name)?.trim()}\n`).join("");
    const canonical = [method, url.pathname, query, lines, signed, await sha256Hex(body)].join("\n");
    const text = `ACS3-HMAC-SHA256\n${await sha256Hex(canonical)}`;
    if (hex(await hmac(key.secret, text)) === signature) return;
    throw new Refusal(
      "SignatureDoesNotMatch",
      `Specified signature is not matched. server string to sign is: ${text}`,
    );
  }

  #perform(action: string, query: URLSearchParams): Record<string, unknown> {
    switch (action) {
      case "DescribeRouteTableList":
        return this.#listTables();
      case "DescribeRouteEntryList":
        return this.#listEntries(query);
      case "CreateRouteEntry":
        return this.#create(query);
      case "DeleteRouteEntry":
        return this.#delete(query);
      default:
        throw new Refusal("InvalidAction.NotFound", "Specified api is not found.", 404);
    }
  }

  #listTables(): Record<string, unknown> {
    const show = (id: string, type: string, switches: string[]) => ({
      RouteTableId: id,
      RouteTableType: type,
      ...(this.faults.sparse ? {} : { RouterType: "VRouter", VpcId: this.vpc, Status: "Available" }),
      ...(switches.length > 0 || !this.faults.sparse ? { VSwitchIds: { VSwitchId: switches } } : {}),
    });
    const custom = this.switchTable ? [show(this.switchTable, "Custom", [this.vswitch])] : [];
    const others = [...this.tables.keys()].filter((id) => id !== "vtb-system" && id !== this.switchTable)
      .map((id) => show(id, "Custom", []));
    const list = [
      show("vtb-system", "System", custom.length > 0 ? [] : [this.vswitch]),
      ...custom,
      ...others,
    ];
    return {
      TotalCount: list.length,
      PageSize: 50,
      PageNumber: 1,
      RouterTableList: { RouterTableListType: list },
    };
  }

  #listEntries(query: URLSearchParams): Record<string, unknown> {
    const table = this.#table(query);
    const all = table.shown.filter((entry) => !this.#isGone(entry));
    const from = Number(query.get("NextToken") || 0);
    // Pages far smaller than asked for, which the API allows.
    const page = all.slice(from, from + 3);
    const NextToken = from + 3 < all.length ? String(from + 3) : "";
    if (page.length === 0 && this.faults.sparse) return {};
    return { NextToken, RouteEntrys: { RouteEntry: page.map((entry) => this.#show(entry)) } };
  }

  #show({ id, cidr, hop, settledAt, deleting }: AliEntry): Record<string, unknown> {
    const settled = settledAt <= this.faults.now();
    const Status = settled ? "Available" : deleting ? "Deleting" : "Pending";
    const alive = !/^(i|eni)-/.test(hop) || this.#addressOf(hop) !== undefined;
    const type = hop.startsWith("eni-") ? "NetworkInterface" : "Instance";
    const next = this.faults.sparse && alive ? {} : { Enabled: alive ? 1 : 0, Weight: 100 };
    return {
      DestinationCidrBlock: cidr,
      ...(this.faults.sparse && settled ? {} : { Status }),
      ...(this.faults.sparse ? {} : { RouteEntryId: id, Type: "Custom", IpVersion: "ipv4" }),
      NextHops: { NextHop: [{ NextHopType: type, NextHopId: hop, ...next }] },
    };
  }

  #create(query: URLSearchParams): Record<string, unknown> {
    const token = query.get("ClientToken") ?? "";
    const table = this.#table(query);
    if (this.#clientTokens.has(token)) return { RouteEntryId: "rte-again" };
    this.#refuseWhileBusy(table);
    const cidr = query.get("DestinationCidrBlock") ?? "";
    const hop = query.get("NextHopId") ?? "";
    const type = this.instances.has(hop) ? "Instance" : "NetworkInterface";
    if (query.get("NextHopType") !== type || this.#addressOf(hop) === undefined) {
      throw new Refusal("InvalidNextHop.NotFound", "The NextHop does not exist.", 404);
    }
    const there = table.now.filter((entry) => !this.#isGone(entry));
    if (there.some((entry) => entry.cidr === cidr)) {
      throw new Refusal("RouterEntryConflict.Duplicated", "The route entry already exists.");
    }
    if (there.length >= this.limit) throw new Refusal("QuotaExceeded", "route entry quota exceeded.");
    const settledAt = this.faults.now() + this.faults.operation;
    const id = this.#newId();
    table.now = [...there, { id, cidr, hop, settledAt, deleting: false }];
    if (token) this.#clientTokens.add(token);
    this.onChange();
    return { RouteEntryId: id };
  }

  #delete(query: URLSearchParams): Record<string, unknown> {
    const table = this.#table(query);
    this.#refuseWhileBusy(table);
    const [cidr, hop] = [query.get("DestinationCidrBlock"), query.get("NextHopId")];
    const entry = table.now.find((one) => !this.#isGone(one) && one.cidr === cidr && one.hop === hop);
    if (!entry) throw new Refusal("InvalidRouteEntry.NotFound", "The entry does not exist.", 404);
    const settledAt = this.faults.now() + this.faults.operation;
    table.now = table.now.map((one) => one === entry ? { ...one, settledAt, deleting: true } : one);
    this.onChange();
    return {};
  }

  #table(query: URLSearchParams): Lagging<readonly AliEntry[]> {
    const table = this.tables.get(query.get("RouteTableId") ?? "");
    if (!table) throw new Refusal("InvalidRouteTableId.NotFound", "The route table does not exist.", 404);
    return table;
  }

  /** Changes don't run side by side. */
  #refuseWhileBusy(table: Lagging<readonly AliEntry[]>): void {
    const busy = table.now.some((entry) => entry.settledAt > this.faults.now());
    if (busy || this.faults.take("conflicts")) {
      throw new Refusal("TaskConflict", "The operation is too frequent.");
    }
  }

  #isGone(entry: AliEntry): boolean {
    return entry.deleting && entry.settledAt <= this.faults.now();
  }

  #newId(): string {
    return `rte-${++this.#serial}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}
