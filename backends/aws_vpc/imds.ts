/**
 * EC2's instance metadata service: version 2 with its session tokens, version 1 where that is allowed.
 *
 * @module
 */
import type { Env } from "../cloud/backend.ts";
import { CloudError, hasCode } from "../cloud/errors.ts";
import { askMetadata, type MetadataAnswer } from "../cloud/metadata.ts";

/** Life of a session token: the longest that the service gives, in seconds. */
const TOKEN_TTL = 21_600;
/** A token is renewed this long before its end, in milliseconds. */
const TOKEN_MARGIN_MS = 60_000;
/** How long version 1 is used without another try for version 2, in milliseconds. */
const V1_FOR_MS = 600_000;

/** Where and how to ask, by the SDKs' own variables. */
interface ImdsSettings {
  readonly base: string;
  readonly allowV1: boolean;
}

function settingsFrom(env: Env): ImdsSettings {
  const isTrue = (name: string) => env(name)?.toLowerCase() === "true";
  if (isTrue("AWS_EC2_METADATA_DISABLED")) {
    throw new CloudError(
      "config",
      "aws-vpc learns from the instance metadata service which instance it runs on, and " +
        "AWS_EC2_METADATA_DISABLED is true: unset it",
    );
  }
  const ipv6 = env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")?.toLowerCase() === "ipv6";
  const usual = ipv6 ? "http://[fd00:ec2::254]" : "http://169.254.169.254";
  const base = env("AWS_EC2_METADATA_SERVICE_ENDPOINT") || usual;
  if (!URL.canParse(base) || new URL(base).protocol !== "http:") {
    throw new CloudError(
      "config",
      `AWS_EC2_METADATA_SERVICE_ENDPOINT is ${JSON.stringify(base)}: it must be like http://169.254.169.254`,
    );
  }
  return { base, allowV1: !isTrue("AWS_EC2_METADATA_V1_DISABLED") };
}

/** A client of the metadata service. */
export class Imds {
  readonly #env: Env;
  readonly #now: () => number;
  /** How to ask until when; without text: by version 1. */
  #token: { readonly text?: string; readonly until: number } | undefined;

  /** @param now Milliseconds of a clock that never jumps back. */
  constructor(env: Env, now: () => number) {
    this.#env = env;
    this.#now = now;
  }

  /**
   * Reads one value, like `instance-id`.
   *
   * @param name Path below `/latest/meta-data/`.
   * @throws {CloudError} Of kind `unavailable` without an answer, `config` where the service is switched off.
   */
  async read(name: string, signal: AbortSignal): Promise<string> {
    const { base, allowV1 } = settingsFrom(this.#env);
    const get = async () => {
      const token = await this.#session(base, allowV1, signal);
      const headers = token === undefined ? {} : { "x-aws-ec2-metadata-token": token };
      return askMetadata({ base, path: `/latest/meta-data/${name}`, headers, signal });
    };
    let answer = await get();
    if (answer.status === 401) {
      // The token ended early, or version 1 was switched off: the instance's metadata options changed.
      this.#token = undefined;
      answer = await get();
    }
    if (answer.status === 200 && answer.body.trim() !== "") return answer.body.trim();
    throw refusal(base, name, answer);
  }

  /**
   * A token, or undefined where version 1 has to do. That is remembered: each try for a token that never comes
   * takes the whole time limit.
   */
  async #session(base: string, allowV1: boolean, signal: AbortSignal): Promise<string | undefined> {
    const remembered = this.#token && this.#now() < this.#token.until ? this.#token : undefined;
    if (remembered && (remembered.text !== undefined || allowV1)) return remembered.text;
    const asked = this.#now();
    const useV1 = () => {
      this.#token = { until: asked + V1_FOR_MS };
      return undefined;
    };
    const headers = { "x-aws-ec2-metadata-token-ttl-seconds": String(TOKEN_TTL) };
    let answer: MetadataAnswer;
    try {
      answer = await askMetadata({ base, path: "/latest/api/token", method: "PUT", headers, signal });
    } catch (error) {
      // In a container one hop too far the token's answer never comes, while version 1's does.
      if (hasCode(error, "ETIMEDOUT") && allowV1) return useV1();
      throw error;
    }
    const text = answer.body.trim();
    if (answer.status === 200 && text !== "") {
      this.#token = { text, until: asked + TOKEN_TTL * 1000 - TOKEN_MARGIN_MS };
      return text;
    }
    if (allowV1 && [400, 403, 404, 405].includes(answer.status)) return useV1();
    throw refusal(base, "api/token", answer);
  }
}

function refusal(base: string, name: string, { status }: MetadataAnswer): CloudError {
  const host = new URL(base).host;
  if (status === 401) {
    return new CloudError(
      "unavailable",
      `The metadata service at ${host} wants a session token and gives none: in a container, the instance's ` +
        `hop limit must be 2 (aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2)`,
    );
  }
  if (status === 403) {
    return new CloudError(
      "unavailable",
      `The metadata service at ${host} is switched off (403 for ${name}): ` +
        `aws ec2 modify-instance-metadata-options --http-endpoint enabled`,
    );
  }
  return new CloudError("unavailable", `The metadata service at ${host} answered ${status} for ${name}`, {
    code: String(status),
  });
}
