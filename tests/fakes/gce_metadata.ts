/**
 * A fake of Compute Engine's metadata server.
 *
 * @module
 */
import type { FakeGce } from "./gce.ts";
import { type FakeRequest, FakeServer } from "./http.ts";

/** The metadata server of one instance, or of all of them, by the caller's address. */
export class FakeGceMetadata implements AsyncDisposable {
  readonly server: FakeServer;
  /** Answers without the header that only Google's sets. */
  foreign = false;
  readonly #gce: FakeGce;
  readonly #instance: string | undefined;

  /** @param instance The instance it belongs to; undefined: that with the caller's address. */
  constructor(gce: FakeGce, instance?: string, hostname?: string, port?: number) {
    this.#gce = gce;
    this.#instance = instance;
    this.server = new FakeServer((request) => this.#answer(request), hostname, port);
  }

  #answer({ url, headers, from }: FakeRequest): Response {
    if (headers.get("metadata-flavor") !== "Google") return new Response("", { status: 403 });
    const text = this.#value(url.pathname.replace("/computeMetadata/v1/", ""), from);
    const mark: Record<string, string> = this.foreign ? {} : { "metadata-flavor": "Google" };
    return new Response(text ?? "not found", { status: text === undefined ? 404 : 200, headers: mark });
  }

  #value(path: string, from: string): string | undefined {
    const gce = this.#gce;
    const instance = this.#instance
      ? gce.instances.get(this.#instance)
      : [...gce.instances.values()].find((one) => one.address === from);
    if (!instance) return undefined;
    switch (path) {
      case "project/project-id":
        return gce.project;
      case "project/numeric-project-id":
        return gce.projectNumber;
      case "instance/name":
        return instance.name;
      case "instance/zone":
        return `projects/${gce.projectNumber}/zones/${gce.zone}`;
      case "instance/network-interfaces/0/network":
        return `projects/${gce.projectNumber}/networks/${gce.network}`;
      case "instance/service-accounts/default/token": {
        const access_token = `ya29.secret-${crypto.randomUUID()}`;
        gce.tokens.set(access_token, Date.now());
        return JSON.stringify({ access_token, expires_in: 3599, token_type: "Bearer" });
      }
      default:
        return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}
