/**
 * The metadata server of an ECS instance: with session tokens, and without them where it has none.
 *
 * @module
 */
import { CloudError, hasCode } from "../cloud/errors.ts";
import { askMetadata } from "../cloud/metadata.ts";

/** Where every instance finds it. */
export const ALI_METADATA = "http://100.100.100.200";
/** Life of a session token, in seconds (the longest is 6 hours), and its margin, in milliseconds. */
const TOKEN_TTL = 21_600;
const TOKEN_MARGIN_MS = 60_000;

/** A client of the metadata server. */
export class AliMetadata {
  readonly #base: string;
  readonly #now: () => number;
  #token: { text: string | undefined; until: number } | undefined;

  /** @param now Milliseconds of a clock that never jumps back. */
  constructor(base: string, now: () => number) {
    this.#base = base;
    this.#now = now;
  }

  /**
   * Reads one value, like `instance-id`.
   *
   * @param name Path below `/latest/meta-data/`.
   * @returns undefined if there is no such value.
   * @throws {CloudError} Of kind `unavailable` without an answer.
   */
  async read(name: string, signal: AbortSignal): Promise<string | undefined> {
    for (let tries = 1;; tries++) {
      const token = await this.#session(signal);
      const headers = token === undefined ? {} : { "X-aliyun-ecs-metadata-token": token };
      const path = `/latest/meta-data/${name}`;
      const { status, body } = await askMetadata({ base: this.#base, path, headers, signal });
      if (status === 404) return undefined;
      if (status === 200) return body.trim() || undefined;
      // A token that ended early, or a server that has begun to ask for one.
      this.#token = undefined;
      const refused = status === 401 || status === 403;
      if (refused && tries === 1) continue;
      throw new CloudError(
        "unavailable",
        `The metadata server at ${this.#host} answered ${status} for ${name}`,
      );
    }
  }

  /** As {@link read}, for what every instance in a VPC has. @throws {CloudError} Of kind `config` if not. */
  async require(name: string, signal: AbortSignal): Promise<string> {
    const text = await this.read(name, signal);
    if (text !== undefined) return text;
    throw new CloudError(
      "config",
      `The metadata server at ${this.#host} has no ${name}: ali-vpc needs an ECS instance in a VPC`,
    );
  }

  async #session(signal: AbortSignal): Promise<string | undefined> {
    if (this.#token && this.#now() < this.#token.until) return this.#token.text;
    const until = this.#now() + TOKEN_TTL * 1000 - TOKEN_MARGIN_MS;
    const headers = { "X-aliyun-ecs-metadata-token-ttl-seconds": String(TOKEN_TTL) };
    const ask = { base: this.#base, path: "/latest/api/token", method: "PUT" as const, headers, signal };
    const answer = await askMetadata(ask).catch((error) => {
      if (!hasCode(error, "ETIMEDOUT")) throw error;
      return undefined;
    });
    const text = answer?.status === 200 ? answer.body.trim() || undefined : undefined;
    this.#token = { text, until };
    return text;
  }

  get #host(): string {
    return new URL(this.#base).host;
  }
}
