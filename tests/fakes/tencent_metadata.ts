/**
 * A fake of the metadata server of Tencent's instances.
 *
 * @module
 */
import { type FakeRequest, FakeServer } from "./http.ts";
import type { FakeTencent, TencentInstance } from "./tencent.ts";

/** The metadata server of one instance, or of all of them, by the caller's address. */
export class FakeTencentMetadata implements AsyncDisposable {
  /** The instance has a CAM role. */
  role = true;
  readonly server: FakeServer;
  readonly #tencent: FakeTencent;
  readonly #instance: string | undefined;

  /** @param instance The instance it belongs to; undefined: that with the caller's address. */
  constructor(tencent: FakeTencent, instance?: string, hostname?: string, port?: number) {
    this.#tencent = tencent;
    this.#instance = instance;
    this.server = new FakeServer((request) => this.#answer(request), hostname, port);
  }

  #answer({ url, headers, from }: FakeRequest): Response {
    if (headers.get("host") !== "metadata.tencentyun.com") return new Response("", { status: 400 });
    const instance = this.#instanceFor(from);
    const text = instance && this.#value(url.pathname.replace("/latest/meta-data/", ""), instance);
    return text === undefined ? new Response("404 - Not Found", { status: 404 }) : new Response(text);
  }

  #instanceFor(from: string): TencentInstance | undefined {
    if (this.#instance) return this.#tencent.instances.get(this.#instance);
    return [...this.#tencent.instances.values()].find(({ interfaces }) =>
      interfaces.some(({ address }) => address === from)
    );
  }

  #value(path: string, instance: TencentInstance): string | undefined {
    const [, mac, field] = /^network\/interfaces\/macs\/([^/]+)\/([^/]+)\/?$/.exec(path) ?? [];
    const card = instance.interfaces.find((one) => one.mac === mac);
    if (card && field) {
      const fields: Record<string, string> = {
        "primary-local-ipv4": card.address,
        "local-ipv4s": `${card.address}/`,
        "vpc-id": this.#tencent.vpc,
        "subnet-id": card.subnet,
      };
      return fields[field];
    }
    const values: Record<string, () => string | undefined> = {
      "placement/region": () => this.#tencent.region,
      "instance-id": () => instance.id,
      "mac": () => instance.interfaces[0]!.mac,
      "network/interfaces/macs/": () => instance.interfaces.map((one) => `${one.mac}/`).join("\n"),
      "cam/security-credentials/": () => this.role ? "flannel-role" : undefined,
      "cam/security-credentials/flannel-role": () => this.role ? this.#credentials() : undefined,
    };
    return values[path]?.();
  }

  /** New keys with each question; the fake API knows them. */
  #credentials(): string {
    const since = Date.now();
    const TmpSecretId = `AKID${crypto.randomUUID().slice(0, 8)}`;
    const TmpSecretKey = `role-secret-${crypto.randomUUID()}`;
    const Token = `sts-token-${crypto.randomUUID()}`;
    this.#tencent.keys.set(TmpSecretId, { secret: TmpSecretKey, token: Token, since });
    const end = since + 6 * 3600_000;
    const Expiration = new Date(end).toISOString();
    const ExpiredTime = Math.floor(end / 1000);
    return JSON.stringify({ TmpSecretId, TmpSecretKey, ExpiredTime, Expiration, Token, Code: "Success" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}
