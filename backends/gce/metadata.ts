/**
 * Compute Engine's metadata server.
 *
 * @module
 */
import type { Env } from "../cloud/backend.ts";
import { CloudError } from "../cloud/errors.ts";
import { askMetadata } from "../cloud/metadata.ts";

/** What an access token must allow. */
export const COMPUTE_SCOPE = "https://www.googleapis.com/auth/compute";

/** An access token of the instance's service account. */
export interface AccessToken {
  readonly text: string;
  /** When it ends; milliseconds since the epoch. */
  readonly until: number;
}

/** A client of the metadata server. */
export class GceMetadata {
  readonly #env: Env;

  constructor(env: Env) {
    this.#env = env;
  }

  /**
   * Reads one value, like `instance/name`.
   *
   * @param name Path below `/computeMetadata/v1/`.
   * @throws {CloudError} Of kind `unavailable` without an answer, or with one from something else.
   */
  async read(name: string, signal: AbortSignal): Promise<string> {
    const base = this.#base();
    const answer = await askMetadata({
      base,
      path: `/computeMetadata/v1/${name}`,
      headers: { "Metadata-Flavor": "Google" },
      signal,
    });
    const where = `The metadata server at ${new URL(base).host}`;
    if (answer.headers["metadata-flavor"] !== "Google") {
      // Captive portals and other clouds answer as well.
      throw new CloudError(
        "unavailable",
        `${where} isn't Google's (no Metadata-Flavor): is this an instance?`,
      );
    }
    if (answer.status === 200 && answer.body.trim() !== "") return answer.body.trim();
    throw new CloudError("unavailable", `${where} answered ${answer.status} for ${name}`, {
      code: String(answer.status),
    });
  }

  /** An access token for Compute. @throws {CloudError} Of kind `credentials` if there is none. */
  async token(signal: AbortSignal, now: () => number): Promise<AccessToken> {
    const asked = now();
    const path = `instance/service-accounts/default/token?scopes=${encodeURIComponent(COMPUTE_SCOPE)}`;
    const text = await this.read(path, signal).catch((error) => {
      if (!(error instanceof CloudError) || error.code !== "404") throw error;
      throw new CloudError(
        "credentials",
        "The instance has no service account: give it one, with compute-rw",
      );
    });
    // Nothing of the answer may stand in an error: it is a secret.
    const token = parseToken(text);
    if (token) return { text: token.access_token, until: asked + token.expires_in * 1000 };
    throw new CloudError("credentials", "The metadata server's answer holds no access token");
  }

  #base(): string {
    const host = this.#env("GCE_METADATA_HOST") || this.#env("GCE_METADATA_IP") || "169.254.169.254";
    const base = /^https?:\/\//.test(host) ? host : `http://${host}`;
    if (URL.canParse(base) && new URL(base).protocol === "http:") return base;
    throw new CloudError(
      "config",
      `GCE_METADATA_HOST is ${JSON.stringify(host)}: it must be HOST or HOST:PORT`,
    );
  }
}

function parseToken(text: string): { access_token: string; expires_in: number } | undefined {
  try {
    const { access_token, expires_in } = JSON.parse(text);
    if (typeof access_token !== "string" || typeof expires_in !== "number") return undefined;
    return { access_token, expires_in };
  } catch {
    return undefined;
  }
}
