/**
 * A fake of EC2's instance metadata service.
 *
 * @module
 */
import type { AwsInstance, FakeAws } from "./aws.ts";
import { type FakeRequest, FakeServer } from "./http.ts";

/** The metadata service of one instance, or of all of them, by the caller's address. */
export class FakeImds implements AsyncDisposable {
  /** Version 1 (no token) is allowed. */
  v1 = false;
  /** Version 2 is there; without it, tokens are refused. */
  v2 = true;
  readonly server: FakeServer;
  /** Requests that came, as `GET /path`. */
  readonly calls: string[] = [];
  readonly #aws: FakeAws;
  readonly #instance: string | undefined;
  readonly #tokens = new Set<string>();

  /** @param instance The instance it belongs to; undefined: that with the caller's address. */
  constructor(aws: FakeAws, instance?: string, hostname?: string, port?: number) {
    this.#aws = aws;
    this.#instance = instance;
    this.server = new FakeServer((request) => this.#answer(request), hostname, port);
  }

  /** Makes all session tokens worthless. */
  dropTokens(): void {
    this.#tokens.clear();
  }

  #answer({ method, url, headers, from }: FakeRequest): Response {
    // Several slashes count as one, as with the real service.
    const path = url.pathname.replace(/\/+/g, "/");
    this.calls.push(`${method} ${path}`);
    if (method === "PUT" && path === "/latest/api/token") {
      if (!this.v2) return new Response("", { status: 403 });
      const ttl = Number(headers.get("x-aws-ec2-metadata-token-ttl-seconds"));
      if (!(ttl >= 1 && ttl <= 21_600)) return new Response("", { status: 400 });
      const token = crypto.randomUUID();
      this.#tokens.add(token);
      return new Response(token, { headers: { "x-aws-ec2-metadata-token-ttl-seconds": String(ttl) } });
    }
    const token = headers.get("x-aws-ec2-metadata-token");
    if (token === null ? !this.v1 : !this.#tokens.has(token)) return new Response("", { status: 401 });
    const instance = this.#instanceFor(from);
    const text = instance && this.#value(path, instance);
    return text === undefined ? new Response("", { status: 404 }) : new Response(text);
  }

  #instanceFor(from: string): AwsInstance | undefined {
    if (this.#instance) return this.#aws.instances.get(this.#instance);
    return [...this.#aws.instances.values()].find((one) => one.address === from);
  }

  #value(path: string, { id, eni, address }: AwsInstance): string | undefined {
    const mac = "02:00:00:00:00:01";
    const role = "flannel-role";
    const values: Record<string, () => string> = {
      "placement/region": () => this.#aws.region,
      "instance-id": () => id,
      "network/interfaces/macs/": () => `${mac}/`,
      [`network/interfaces/macs/${mac}/interface-id`]: () => eni,
      [`network/interfaces/macs/${mac}/subnet-id`]: () => this.#aws.subnet,
      [`network/interfaces/macs/${mac}/vpc-id`]: () => this.#aws.vpc,
      [`network/interfaces/macs/${mac}/local-ipv4s`]: () => address,
      "iam/security-credentials/": () => role,
      [`iam/security-credentials/${role}`]: () => this.#credentials(id),
    };
    return values[path.replace(/^\/latest\/meta-data\//, "")]?.();
  }

  /** New keys with each question; the fake EC2 knows them. */
  #credentials(id: string): string {
    const since = Date.now();
    const AccessKeyId = `ASIA${crypto.randomUUID().slice(0, 8)}`;
    const SecretAccessKey = `role-secret-${crypto.randomUUID()}`;
    const Token = `token-of-${id}-${crypto.randomUUID()}`;
    this.#aws.keys.set(AccessKeyId, { secret: SecretAccessKey, token: Token, since });
    return JSON.stringify({
      Code: "Success",
      LastUpdated: new Date(since).toISOString(),
      Type: "AWS-HMAC",
      AccessKeyId,
      SecretAccessKey,
      Token,
      Expiration: new Date(since + 6 * 3600_000).toISOString(),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}
