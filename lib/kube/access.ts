/**
 * How the API server is reached, and who we are to it.
 *
 * @module
 */

/** TLS material as PEM texts. */
export interface TlsMaterial {
  /** CA certificates; absent: the system's. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/**
 * Where the API server is and what proves who we are. Files are read again for each new connection, tokens for each
 * request: both change while we run.
 */
export interface ApiAccess {
  readonly server: URL;
  /** Where this comes from, for messages: `kubeconfig /etc/kube/config, context "a"`. */
  readonly source: string;
  /** The name in the server's certificate, where it isn't the URL's host. */
  readonly serverName?: string;
  /** Takes any certificate. */
  readonly insecure: boolean;
  /** The proxy on the way to it; absent: none. */
  readonly proxy?: URL;
  /** @throws {AccessError} If a file can't be read. */
  tls(): Promise<TlsMaterial>;
  /**
   * The Authorization header, undefined where there is none.
   *
   * @param refused The server refused the last one (401): what is cached is read anew.
   * @throws {AccessError} If a file can't be read.
   */
  authorization(refused?: boolean): Promise<string | undefined>;
}

/** The API server can't be reached with what we were given. The message names the option or file, and the way out. */
export class AccessError extends Error {
  override readonly name = "AccessError";
}

/** How long a token from a file is used before the file is read again, in milliseconds: client-go's minute. */
const TOKEN_TTL_MS = 60_000;

/** A bearer token in a file that others replace. */
export class TokenFile {
  readonly #path: string;
  #token = "";
  #readAt = -Infinity;

  constructor(path: string) {
    this.#path = path;
  }

  /** The token; from the file if what is known is older than a minute, or `refused`. @throws {AccessError} */
  async read(refused = false): Promise<string> {
    const isFresh = performance.now() - this.#readAt < TOKEN_TTL_MS;
    if (this.#token !== "" && isFresh && !refused) return this.#token;
    try {
      const token = (await readText(this.#path)).trim();
      if (token === "") throw new AccessError(`The token file ${this.#path} is empty`);
      this.#token = token;
      this.#readAt = performance.now();
    } catch (error) {
      // A file that is being replaced is absent for a moment; the old token may still be good.
      if (this.#token === "") throw error;
    }
    return this.#token;
  }
}

/** A file's text. @throws {AccessError} That names the file and the cause. */
export async function readText(path: string): Promise<string> {
  try {
    // A byte order mark, which editors elsewhere put there, hides the first line from who reads it.
    return (await Deno.readTextFile(path)).replace(/^\uFEFF/, "");
  } catch (cause) {
    throw new AccessError(`Cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}

/** @param where For the message. @throws {AccessError} If a text holds no certificate: all servers would be refused. */
export function checkAuthorities(pem: string, where: string): void {
  if (/-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----/.test(pem)) return;
  throw new AccessError(`${where} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)`);
}

/**
 * A server's URL.
 *
 * @param scheme Of one that names none. @throws {AccessError} If it is none.
 */
export function parseServer(text: string, source: string, scheme: "http" | "https" = "http"): URL {
  const withScheme = /^[a-z]+:\/\//i.test(text) ? text : `${scheme}://${text}`;
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined;
  if (!url || !["http:", "https:"].includes(url.protocol) || url.username || url.password) {
    const rule = "must be a URL like https://192.0.2.10:6443, without user and password";
    throw new AccessError(
      `${source}: the server ${JSON.stringify(text.replace(/\/\/.*@/, "//***@"))} ${rule}`,
    );
  }
  return url;
}
