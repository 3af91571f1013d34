/**
 * A fake of the part of Compute Engine that flanneld uses: REST with bearer tokens, operations whose effect shows
 * when they are done, quotas and permissions, and networks of another project (Shared VPC).
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
  readonly nextHopIp?: string;
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

/** How an operation fails. */
interface OperationError {
  readonly code: string;
  readonly message: string;
  readonly status: number;
}

/** An operation that is or will be done. */
interface Operation {
  readonly name: string;
  readonly operationType: "insert" | "delete";
  /** Name of the route that it makes or removes. */
  readonly route: string;
  readonly doneAt: number;
  readonly error?: OperationError;
  /** Its effect, which shows when it is done; undefined once it was had. */
  apply: (() => void) | undefined;
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
  /** The project that holds the network, if it is a Shared VPC's: the instances are in {@link project}. */
  hostProject: string | undefined;
  /** Quota of routes in the project. */
  limit = 100;
  /** So many of the next insertions end in an operation that failed. */
  failingInserts = 0;
  /** So many of the next insertions are begun, and their answers lost. */
  lostInserts = 0;
  /** Called with each call that comes. */
  onCall: (call: string) => void = () => {};
  /** Operations that wait() doesn't know any more. */
  forgetsOperations = false;
  /** The ids that insertions came with. */
  readonly requestIds: string[] = [];
  readonly instances = new Map<string, GceInstance>();
  readonly routes: Lagging<readonly GceRoute[]>;
  /** Every call that came, as its permission-like name. */
  readonly calls: string[] = [];
  readonly server: FakeServer;
  /** Tokens that are valid and when they were given out. */
  readonly tokens = new Map<string, number>();
  onChange: (() => void) | undefined;
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
    return `https://www.googleapis.com/compute/v1/projects/${this.routesProject}/global/networks/${name}`;
  }

  /** Where the network's routes are. */
  get routesProject(): string {
    return this.hostProject ?? this.project;
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
    this.onChange?.();
  }

  get changes(): string[] {
    return this.calls.filter((call) => MUTATING.test(call));
  }

  /** Where the network sends packets: destination and the hop's address. */
  hops(): Map<string, string> {
    this.#settle();
    return new Map(
      this.routes.now.flatMap(({ destRange, nextHopInstance, nextHopIp }) => {
        const address = nextHopIp ?? this.instances.get(nextHopInstance?.split("/").at(-1) ?? "")?.address;
        return address ? [[destRange, address] as const] : [];
      }),
    );
  }

  #answer(request: FakeRequest): Response {
    try {
      this.#settle();
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
    this.onCall(call);
    if (this.faults.take("throttle")) throw new Refusal(403, "rateLimitExceeded", "Rate Limit Exceeded");
    if (!this.faults.denied.has(call)) return;
    throw new Refusal(403, "forbidden", `Required '${call}' permission for 'projects/${this.project}'`);
  }

  #perform({ method, url, body }: FakeRequest): unknown {
    const [, project, path = ""] = /^\/compute\/v1\/projects\/([^/]+)(?:\/(.*))?$/.exec(url.pathname) ?? [];
    if (path === "" && project === this.routesProject) return this.#showProject();
    const [kind, ...rest] = path.split("/");
    if (project === this.project && kind === "zones" && rest[0] === this.zone && rest[1] === "instances") {
      return this.#showInstance(rest[2]!);
    }
    if (project !== this.routesProject || kind !== "global") {
      throw new Refusal(404, "notFound", `The resource '${url.pathname}' was not found`);
    }
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
    const addresses = [...this.instances.values()].map(({ address }) => address);
    const dead = (hop !== undefined && !this.instances.has(hop)) ||
      (route.nextHopIp !== undefined && !addresses.includes(route.nextHopIp));
    const warnings = dead
      ? { warnings: [{ code: "NEXT_HOP_INSTANCE_NOT_FOUND", message: "not found" }] }
      : {};
    const rest = this.faults.sparse ? {} : { priority: 1000, tags: [], kind: "compute#route", id: "7" };
    return { ...rest, ...route, ...warnings };
  }

  #insert(route: GceRoute, requestId: string | null): unknown {
    this.#permit("compute.routes.insert");
    this.requestIds.push(requestId ?? "");
    const known = requestId && this.#requests.get(requestId);
    const lost = this.lostInserts > 0 && this.lostInserts--;
    if (known && !lost) return this.#showOperation(known);
    if (known) throw new Refusal(503, "backendError", "Backend Error");
    this.#checkInsertion(route);
    const error = this.#insertionError();
    const name = this.#operate("insert", route.name, error, () => {
      this.routes.now = [...this.routes.now, route];
    });
    if (requestId) this.#requests.set(requestId, name);
    if (lost) throw new Refusal(503, "backendError", "Backend Error");
    return this.#showOperation(name);
  }

  #checkInsertion(route: GceRoute): void {
    if (!/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/.test(route.name)) {
      throw new Refusal(400, "invalid", "Invalid name");
    }
    const instanceProject = /projects\/([^/]+)\//.exec(route.nextHopInstance ?? "")?.[1];
    if (instanceProject !== undefined && instanceProject !== this.routesProject) {
      throw new Refusal(
        400,
        "invalid",
        "Invalid value for field 'resource.nextHopInstance': another project",
      );
    }
    this.#refuseWhileChanging(route.name);
    if (this.routes.now.some((one) => one.name === route.name)) {
      throw new Refusal(409, "alreadyExists", `The resource 'routes/${route.name}' already exists`);
    }
  }

  #insertionError(): OperationError | undefined {
    if (this.failingInserts > 0) {
      this.failingInserts--;
      return { code: "INTERNAL_ERROR", message: "Internal error. Please try again.", status: 500 };
    }
    if (this.routes.now.length < this.limit) return undefined;
    const message = `Quota 'ROUTES' exceeded.  Limit: ${this.limit}.0 globally.`;
    return { code: "QUOTA_EXCEEDED", message, status: 403 };
  }

  #delete(name: string): unknown {
    this.#permit("compute.routes.delete");
    this.#refuseWhileChanging(name);
    const route = this.routes.now.find((one) => one.name === name);
    if (!route) throw this.#notFound(name);
    return this.#showOperation(this.#operate("delete", name, undefined, () => {
      this.routes.now = this.routes.now.filter((one) => one !== route);
    }));
  }

  /** Names of the routes whose removal is under way. */
  get deleting(): string[] {
    return [...this.#operations.values()].flatMap(({ operationType, apply, route }) =>
      operationType === "delete" && apply ? [route] : []
    );
  }

  /** One name takes one change at a time. */
  #refuseWhileChanging(route: string): void {
    const change = [...this.#operations.values()].find((one) => one.route === route && one.apply);
    if (change?.operationType === "insert") {
      throw new Refusal(409, "alreadyExists", `The resource 'routes/${route}' already exists`);
    }
    if (change) throw new Refusal(400, "resourceNotReady", `The resource 'routes/${route}' is not ready`);
  }

  /** Begins a change that shows when it is done, as the real ones do. */
  #operate(
    operationType: Operation["operationType"],
    route: string,
    error: OperationError | undefined,
    apply: () => void,
  ): string {
    const name = `operation-${++this.#serial}`;
    const doneAt = this.faults.now() + this.faults.operation;
    const effect = error ? { error, apply: undefined } : { apply };
    this.#operations.set(name, { name, operationType, route, doneAt, ...effect });
    this.#settle();
    // A router that follows the table has nobody who asks when it is time.
    if (this.onChange && this.faults.operation > 0) setTimeout(() => this.#settle(), this.faults.operation);
    return name;
  }

  /** Has the changes that are due. */
  #settle(): void {
    for (const operation of this.#operations.values()) {
      if (!operation.apply || operation.doneAt > this.faults.now()) continue;
      operation.apply();
      operation.apply = undefined;
      this.onChange?.();
    }
  }

  #wait(name: string): unknown {
    this.#permit("compute.globalOperations.get");
    if (this.forgetsOperations) throw new Refusal(404, "notFound", `The resource '${name}' was not found`);
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
