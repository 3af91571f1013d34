/**
 * A fake of the metadata server of ECS instances.
 *
 * @module
 */
import type { FakeAli } from "./ali.ts";
import { type FakeRequest, FakeServer } from "./http.ts";

/** The metadata server of one instance, or of all of them, by the caller's address. */
export class FakeAliMetadata implements AsyncDisposable {
  /** Session tokens are asked for; without them, there are none. */
  hardened = true;
  /** The instance has a RAM role. */
  role = true;
  readonly server: FakeServer;
  readonly #ali: FakeAli;
  readonly #instance: string | undefined;
  readonly #tokens = new Set<string>();

  /** @param instance The instance it belongs to; undefined: that with the caller's address. */
  constructor(ali: FakeAli, instance?: string, hostname?: string, port?: number) {
    this.#ali = ali;
    this.#instance = instance;
    this.server = new FakeServer((request) => this.#answer(request), hostname, port);
  }

  #answer({ method, url, headers, from }: FakeRequest): Response {
    if (method === "PUT" && url.pathname === "/latest/api/token") {
      if (!this.hardened) return new Response("", { status: 405 });
      const ttl = Number(headers.get("x-aliyun-ecs-metadata-token-ttl-seconds"));
      if (!(ttl >= 1 && ttl <= 21_600)) return new Response("", { status: 400 });
      const token = crypto.randomUUID();
      this.#tokens.add(token);
      return new Response(token);
    }
    const token = headers.get("x-aliyun-ecs-metadata-token");
    if (this.hardened && !this.#tokens.has(token ?? "")) return new Response("", { status: 403 });
    const text = this.#value(url.pathname.replace("/latest/meta-data/", ""), from);
    return text === undefined ? new Response("", { status: 404 }) : new Response(text);
  }

  #value(path: string, from: string): string | undefined {
    const ali = this.#ali;
    const instance = this.#instance
      ? ali.instances.get(this.#instance)
      : [...ali.instances.values()].find(({ interfaces }) => interfaces.some((one) => one.address === from));
    if (!instance) return undefined;
    const [, mac, field] = /^network\/interfaces\/macs\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
    const card = instance.interfaces.find((one) => one.mac === mac);
    if (card && field) {
      const fields: Record<string, string> = {
        "network-interface-id": card.id,
        "primary-ip-address": card.address,
        "private-ipv4s": `["${card.address}"]`,
        "vswitch-id": card.vswitch,
        "vpc-id": ali.vpc,
      };
      return fields[field];
    }
    const values: Record<string, () => string | undefined> = {
      "mac": () => instance.interfaces[0]!.mac,
      "network/interfaces/macs/": () => instance.interfaces.map((one) => `${one.mac}/`).join("\n"),
      "region-id": () => ali.region,
      "instance-id": () => instance.id,
      "vpc-id": () => ali.vpc,
      "vswitch-id": () => ali.vswitch,
      "ram/security-credentials/": () => this.role ? "flannel-role" : undefined,
      "ram/security-credentials/flannel-role": () => this.role ? this.#credentials() : undefined,
    };
    return values[path]?.();
  }

  /** New keys with each question; the fake API knows them. */
  #credentials(): string {
    const since = Date.now();
    const AccessKeyId = `STS.${crypto.randomUUID().slice(0, 8)}`;
    const AccessKeySecret = `role-secret-${crypto.randomUUID()}`;
    const SecurityToken = `sts-token-${crypto.randomUUID()}`;
    this.#ali.keys.set(AccessKeyId, { secret: AccessKeySecret, token: SecurityToken, since });
    const Expiration = new Date(since + 6 * 3600_000).toISOString();
    const LastUpdated = new Date(since).toISOString();
    return JSON.stringify({
      Code: "Success",
      AccessKeyId,
      AccessKeySecret,
      SecurityToken,
      Expiration,
      LastUpdated,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}
