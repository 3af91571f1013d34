/**
 * A fake of the part of Compute Engine that flanneld uses: REST with bearer tokens, operations that take time,
 * quotas and permissions.
 *
 * @module
 */
import { type FakeRequest, FakeServer, Faults, json, Lagging } from "./http.ts";

/** A route; the optional fields as the API shows them. */
export interface GceRoute {
  readonly name: string;
  readonly destRange: string;
  readonly network: string;
  readonly nextHopInstance?: string;
  readonly nextHopGateway?: string;
  readonly priority?: number;
  readonly tags?: readonly string[];
}

/** An instance with one interface. */
export interface GceInstance {
  readonly name: string;
  readonly address: string;
  canIpForward: boolean;
}

/** An operation that is or will be done. */
interface Operation {
  readonly name: string;
  readonly operationType: string;
  readonly doneAt: number;
  readonly error?: { code: string; message: string; status: number };
}

const MUTATING = /^compute\.(routes\.(insert|delete))$/;

/** A refused call. */
class Refusal extends Error {
  constructor(readonly status: number, readonly reason: string, message: string) {
    super(message);
  }
}

/** One project with one network and one zone. */
export class FakeGce implements AsyncDisposable {
  readonly project = "test-project";
  readonly projectNumber = "123456";
  readonly zone = "europe-test1-b";
  readonly network = "flannel-net";
  readonly faults = new Faults();
  /** Quota of routes in the project. */
  limit = 100;
  readonly instances = new Map<string, GceInstance>();
  readonly routes: Lagging<readonly GceRoute[]>;
  /** Every call that came, as its permission-like name. */
  readonly calls: string[] = [];
  readonly server: FakeServer;
  /** Tokens that are valid and when they were given out. */
  readonly tokens = new Map<string, number>();
  onChange: () => void = () => {};
  readonly #operations = new Map<string, Operation>();
  readonly #requests = new Map<string, string>();
  #serial = 0;

  constructor(hostname?: string, port?: number) {
    this.server = new FakeServer((request) => this.#answer(request), hostname, port);
    this.routes = new Lagging<readonly GceRoute[]>(this.faults, [{
      name: "default-route-1",
      destRange: "0.0.0.0/0",
      network: this.networkUrl(),
      nextHopGateway: "default-internet-gateway",
    }]);
  }

  /** As the API itself writes it, with the project's id. */
  networkUrl(name = this.network): string {
    return `https://www.googleapis.com/compute/v1/projects/${this.project}/global/networks/${name}`;
  }

  instanceUrl(name: string): string {
    return `https://www.googleapis.com/compute/v1/projects/${this.project}/zones/${this.zone}/instances/${name}`;
  }

  addInstance(name: string, address: string): GceInstance {
    const instance = { name, address, canIpForward: true };
    this.instances.set(name, instance);
    return instance;
  }

  /** Adds a route as somebody else would. */
  addRoute(name: string, destRange: string, instance: string, more: Partial<GceRoute> = {}): void {
    const route = {
      name,
      destRange,
      network: this.networkUrl(),
      nextHopInstance: this.instanceUrl(instance),
    };
    this.routes.now = [...this.routes.now, { ...route, ...more }];
    this.onChange();
  }

  get changes(): string[] {
    return this.calls.filter((call) => MUTATING.test(call));
  }

  /** Where the network sends packets: destination and the hop's address. */
  hops(): Map<string, string> {
    return new Map(
      this.routes.now.flatMap(({ destRange, nextHopInstance }) => {
        const address = this.instances.get(nextHopInstance?.split("/").at(-1) ?? "")?.address;
        return address ? [[destRange, address] as const] : [];
      }),
    );
  }

  #answer(request: FakeRequest): Response {
    try {
      if (this.faults.take("broken")) throw new Refusal(503, "backendError", "Backend Error");
      const token = /^Bearer (.+)$/.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
      const since = this.tokens.get(token);
      if (since === undefined || since < this.faults.credentialsSince) {
        throw new Refusal(401, "authError", "Invalid Credentials");
      }
      return json(this.#perform(request));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { status: code, reason, message } = error;
      const errors = [{ message, domain: "global", reason }];
      return json({ error: { code, message, errors } }, code);
    }
  }

  #permit(call: string): void {
    this.calls.push(call);
    if (this.faults.take("throttle")) throw new Refusal(403, "rateLimitExceeded", "Rate Limit Exceeded");
    if (!this.faults.denied.has(call)) return;
    throw new Refusal(403, "forbidden", `Required '${call}' permission for 'projects/${this.project}'`);
  }

  #perform({ method, url, body }: FakeRequest): unknown {
    const root = `/compute/v1/projects/${this.project}`;
    if (url.pathname === root) return this.#showProject();
    const [kind, ...rest] = url.pathname.replace(`${root}/`, "").split("/");
    if (kind === "zones" && rest[0] === this.zone && rest[1] === "instances") {
      return this.#showInstance(rest[2]!);
    }
    if (kind !== "global") throw new Refusal(404, "notFound", "Not Found");
    if (rest[0] === "operations" && rest[2] === "wait" && method === "POST") return this.#wait(rest[1]!);
    if (rest[0] !== "routes") throw new Refusal(404, "notFound", "Not Found");
    if (method === "POST") return this.#insert(JSON.parse(body), url.searchParams.get("requestId"));
    if (rest[1] === undefined) return this.#list(url.searchParams.get("pageToken"));
    if (method === "DELETE") return this.#delete(rest[1]);
    this.#permit("compute.routes.get");
    const route = this.routes.shown.find((one) => one.name === rest[1]);
    if (!route) throw this.#notFound(rest[1]);
    return this.#show(route);
  }

  #showProject(): unknown {
    this.#permit("compute.projects.get");
    const quotas = [{ metric: "NETWORKS", limit: 5, usage: 1 }, {
      metric: "ROUTES",
      limit: this.limit,
      usage: this.routes.now.length,
    }];
    return { kind: "compute#project", name: this.project, ...(this.faults.sparse ? {} : { quotas }) };
  }

  #showInstance(name: string): unknown {
    this.#permit("compute.instances.get");
    const instance = this.instances.get(name);
    if (!instance) throw new Refusal(404, "notFound", `The resource 'instances/${name}' was not found`);
    const { address, canIpForward } = instance;
    const card = this.faults.sparse ? {} : { networkIP: address, network: this.networkUrl(), name: "nic0" };
    return {
      kind: "compute#instance",
      name,
      ...(canIpForward ? { canIpForward } : {}),
      networkInterfaces: [card],
    };
  }

  #list(pageToken: string | null): unknown {
    this.#permit("compute.routes.list");
    const from = Number(pageToken ?? 0);
    const pageSize = 3;
    const items = this.routes.shown.slice(from, from + pageSize).map((route) => this.#show(route));
    const more = from + pageSize < this.routes.shown.length ? { nextPageToken: String(from + pageSize) } : {};
    return { kind: "compute#routeList", ...(items.length > 0 ? { items } : {}), ...more };
  }

  #show(route: GceRoute): unknown {
    const hop = route.nextHopInstance?.split("/").at(-1);
    const dead = hop !== undefined && !this.instances.has(hop);
    const warnings = dead
      ? { warnings: [{ code: "NEXT_HOP_INSTANCE_NOT_FOUND", message: "not found" }] }
      : {};
    const rest = this.faults.sparse ? {} : { priority: 1000, tags: [], kind: "compute#route", id: "7" };
    return { ...rest, ...route, ...warnings };
  }

  #insert(route: GceRoute, requestId: string | null): unknown {
    this.#permit("compute.routes.insert");
    const known = requestId && this.#requests.get(requestId);
    if (known) return this.#showOperation(known);
    if (!/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/.test(route.name)) {
      throw new Refusal(400, "invalid", "Invalid name");
    }
    if (this.routes.now.some((one) => one.name === route.name)) {
      throw new Refusal(409, "alreadyExists", `The resource 'routes/${route.name}' already exists`);
    }
    const full = this.routes.now.length >= this.limit;
    const error = full
      ? {
        error: {
          code: "QUOTA_EXCEEDED",
          message: `Quota 'ROUTES' exceeded.  Limit: ${this.limit}.0 globally.`,
          status: 403,
        },
      }
      : {};
    if (!full) {
      this.routes.now = [...this.routes.now, route];
      this.onChange();
    }
    const name = this.#operate("insert", error);
    if (requestId) this.#requests.set(requestId, name);
    return this.#showOperation(name);
  }

  #delete(name: string): unknown {
    this.#permit("compute.routes.delete");
    if (!this.routes.now.some((one) => one.name === name)) throw this.#notFound(name);
    this.routes.now = this.routes.now.filter((one) => one.name !== name);
    this.onChange();
    return this.#showOperation(this.#operate("delete", {}));
  }

  #operate(operationType: string, error: Pick<Operation, "error">): string {
    const name = `operation-${++this.#serial}`;
    const doneAt = this.faults.now() + this.faults.operation;
    this.#operations.set(name, { name, operationType, doneAt, ...error });
    return name;
  }

  #wait(name: string): unknown {
    this.#permit("compute.globalOperations.get");
    return this.#showOperation(name);
  }

  #showOperation(name: string): unknown {
    const operation = this.#operations.get(name);
    if (!operation) throw new Refusal(404, "notFound", `operation ${name} was not found`);
    const { operationType, doneAt, error } = operation;
    const base = { kind: "compute#operation", id: "9", name, operationType };
    if (doneAt > this.faults.now()) return { ...base, status: "RUNNING", progress: 0 };
    if (!error) return { ...base, status: "DONE", progress: 100 };
    const { code, message, status } = error;
    const failed = { error: { errors: [{ code, message }] }, httpErrorStatusCode: status };
    return { ...base, status: "DONE", progress: 100, ...failed, httpErrorMessage: "FORBIDDEN" };
  }

  #notFound(name: string): Refusal {
    return new Refusal(
      404,
      "notFound",
      `The resource 'projects/${this.project}/global/routes/${name}' was not found`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}
