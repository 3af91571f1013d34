/**
 * The calls of the Compute API that the backend makes, over Google's SDK, which is loaded by the first of them.
 *
 * @module
 */
import type { compute_v1 } from "@googleapis/compute";
import type { Env } from "../cloud/backend.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { CloudError, hasCode } from "../cloud/errors.ts";
import { PageCount } from "../cloud/pages.ts";
import { classifyCall, classifyOperation } from "./errors.ts";
import { COMPUTE_SCOPE, type GceMetadata } from "./metadata.ts";

/** A route as the API shows it; any field may be missing. */
export type GceRoute = compute_v1.Schema$Route;
/** An instance as the API shows it. */
export type GceInstance = compute_v1.Schema$Instance;

/** Milliseconds that a call may take; waiting for an operation takes up to two minutes by itself. */
const CALL_TIMEOUT_MS = 15_000;
const WAIT_TIMEOUT_MS = 135_000;
/** Pause between two questions about an operation, in milliseconds. */
const OPERATION_PAUSE_MS = 500;

/** A change under way, and what its errors are to name. */
export interface Operation {
  readonly state: compute_v1.Schema$Operation;
  readonly permission: string;
  readonly subject: string;
}

/** How each call is made. */
type Options = { signal: AbortSignal; retry: false; timeout: number };

/** Compute Engine in one project. */
export class Compute {
  readonly #project: string;
  readonly #metadata: GceMetadata;
  readonly #env: Env;
  readonly #clock: Clock;
  #client: compute_v1.Compute | undefined;

  constructor(project: string, metadata: GceMetadata, env: Env, clock: Clock) {
    this.#project = project;
    this.#metadata = metadata;
    this.#env = env;
    this.#clock = clock;
  }

  /** An instance of the project. */
  instance(zone: string, name: string, signal: AbortSignal): Promise<GceInstance> {
    return this.#call(
      "compute.instances.get",
      `instance ${name}`,
      signal,
      async (api, options) =>
        (await api.instances.get({ project: this.#project, zone, instance: name }, options)).data,
    );
  }

  /** All routes of the project. */
  async routes(signal: AbortSignal): Promise<GceRoute[]> {
    const routes: GceRoute[] = [];
    let pageToken: string | undefined;
    const pages = new PageCount("Compute Engine's list of routes");
    do {
      pages.next();
      const page = await this.#call(
        "compute.routes.list",
        "the list of routes",
        signal,
        async (api, options) => {
          const query = { project: this.#project, maxResults: 500, ...(pageToken ? { pageToken } : {}) };
          return (await api.routes.list(query, options)).data;
        },
      );
      routes.push(...page.items ?? []);
      pageToken = page.nextPageToken || undefined;
    } while (pageToken);
    return routes;
  }

  /** One route, or undefined if there is none of that name. */
  async route(name: string, signal: AbortSignal): Promise<GceRoute | undefined> {
    try {
      return await this.#call(
        "compute.routes.get",
        `route ${name}`,
        signal,
        async (api, options) => (await api.routes.get({ project: this.#project, route: name }, options)).data,
      );
    } catch (error) {
      if (hasCode(error, "notFound")) return undefined;
      throw error;
    }
  }

  /**
   * Begins to insert a route.
   *
   * @param requestId The API inserts once for each id, and answers with the same operation ever after.
   * @returns The operation, for {@link finish}.
   */
  async insertRoute(route: GceRoute, requestId: string, signal: AbortSignal): Promise<Operation> {
    const permission = "compute.routes.create";
    const subject = `route ${route.name}`;
    const state = await this.#call(permission, subject, signal, async (api, options) => {
      const query = { project: this.#project, requestId, requestBody: route };
      return (await api.routes.insert(query, options)).data;
    });
    return { state, permission, subject };
  }

  /** Removes a route and waits until it is gone; one that is gone already is no error. */
  async deleteRoute(name: string, signal: AbortSignal): Promise<void> {
    const permission = "compute.routes.delete";
    const subject = `route ${name}`;
    try {
      const state = await this.#call(
        permission,
        subject,
        signal,
        async (api, options) =>
          (await api.routes.delete({ project: this.#project, route: name }, options)).data,
      );
      await this.finish({ state, permission, subject }, signal);
    } catch (error) {
      if (!hasCode(error, "notFound", "RESOURCE_NOT_FOUND")) throw error;
    }
  }

  /** The project's quota of routes, or undefined if the answer lacks it. */
  async routeQuota(signal: AbortSignal): Promise<{ used: number; limit: number } | undefined> {
    const project = await this.#call(
      "compute.projects.get",
      "the project",
      signal,
      async (api, options) => (await api.projects.get({ project: this.#project }, options)).data,
    );
    const quota = (project.quotas ?? []).find((one) => one.metric === "ROUTES");
    if (typeof quota?.usage !== "number" || typeof quota.limit !== "number") return undefined;
    return { used: quota.usage, limit: quota.limit };
  }

  /** Waits until an operation is done. @throws {CloudError} If it failed, or nobody knows how it ended. */
  async finish({ state, permission, subject }: Operation, signal: AbortSignal): Promise<void> {
    let now = state;
    while (now.status !== "DONE") {
      const name = now.name ?? state.name;
      if (!name) throw new CloudError("unavailable", `Compute Engine's operation on ${subject} has no name`);
      const asked = this.#clock.now();
      now = await this.#wait(name, subject, signal);
      // The call waits by itself; if it came back at once, it isn't to be asked in a circle.
      const early = this.#clock.now() - asked < OPERATION_PAUSE_MS;
      if (now.status !== "DONE" && early) await this.#clock.sleep(OPERATION_PAUSE_MS, signal);
      signal.throwIfAborted();
    }
    const error = classifyOperation(now as Parameters<typeof classifyOperation>[0], {
      permission,
      subject,
      project: this.#project,
    });
    if (error) throw error;
  }

  async #wait(name: string, subject: string, signal: AbortSignal): Promise<compute_v1.Schema$Operation> {
    try {
      return await this.#call(
        "compute.globalOperations.get",
        `operation ${name}`,
        signal,
        async (api, options) =>
          (await api.globalOperations.wait({ project: this.#project, operation: name }, options)).data,
        WAIT_TIMEOUT_MS,
      );
    } catch (error) {
      if (!hasCode(error, "notFound")) throw error;
      // That the operation is unknown doesn't say that its resource is.
      const text = `Compute Engine doesn't know operation ${name} on ${subject}: how it ended is unknown`;
      throw new CloudError("conflict", text, { code: "operationNotFound" });
    }
  }

  async #call<T>(
    permission: string,
    subject: string,
    signal: AbortSignal,
    run: (api: compute_v1.Compute, options: Options) => Promise<T>,
    timeout = CALL_TIMEOUT_MS,
  ): Promise<T> {
    signal.throwIfAborted();
    try {
      this.#client ??= await this.#connect();
      // The next pass retries.
      return await run(this.#client, { signal, retry: false, timeout });
    } catch (error) {
      signal.throwIfAborted();
      const known = classifyCall(error, { permission, subject, project: this.#project });
      // A new client fetches a new token.
      if (known.kind === "credentials") this.#client = undefined;
      throw known;
    }
  }

  async #connect(): Promise<compute_v1.Compute> {
    const { auth, compute } = await import("@googleapis/compute");
    const rootUrl = rootUrlFrom(this.#env);
    const base = rootUrl ? { version: "v1" as const, rootUrl } : { version: "v1" as const };
    if (await hasCredentialsFile(this.#env)) {
      return compute({ ...base, auth: new auth.GoogleAuth({ scopes: [COMPUTE_SCOPE] }) });
    }
    const client = new auth.OAuth2();
    client.refreshHandler = async () => {
      const token = await this.#metadata.token(AbortSignal.timeout(CALL_TIMEOUT_MS), this.#clock.now);
      return { access_token: token.text, expiry_date: token.until };
    };
    return compute({ ...base, auth: client });
  }
}

/** gcloud's own variable for another address of the API (a private endpoint): its value ends in the version. */
function rootUrlFrom(env: Env): string | undefined {
  const text = env("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE");
  if (!text) return undefined;
  if (!URL.canParse(text)) {
    throw new CloudError(
      "config",
      `CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE is ${JSON.stringify(text)}: ` +
        `it must be a URL like https://compute.googleapis.com/compute/v1/`,
    );
  }
  return `${text.replace(/\/(compute\/v1\/?)?$/, "")}/`;
}

/** Whether application default credentials come from a file; else they are the instance's own. */
async function hasCredentialsFile(env: Env): Promise<boolean> {
  if (env("GOOGLE_APPLICATION_CREDENTIALS")) return true;
  const folder = env("CLOUDSDK_CONFIG") ?? (env("HOME") && `${env("HOME")}/.config/gcloud`);
  if (!folder) return false;
  return await Deno.stat(`${folder}/application_default_credentials.json`).then(() => true, () => false);
}
