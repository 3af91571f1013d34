/**
 * What this host presents to etcd: user, password, and certificates, which are read again when their
 * files change.
 *
 * @module
 */
import { messageOf } from "../../errors.ts";
import { StoreError } from "../types.ts";

/** What is needed to speak with a server. */
export interface Credentials {
  /** PEM texts; used for https endpoints only. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly username?: string;
  readonly password?: string;
}

/** The options that name files and a user; empty text means not given. */
export interface CredentialOptions {
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** A file of an option, and what it must hold. */
interface PemFile {
  readonly part: "ca" | "cert" | "key";
  readonly option: string;
  readonly path: string;
  readonly label: string;
}

/** Credentials that follow their files. */
export class CredentialSource {
  readonly #files: readonly PemFile[];
  readonly #user: Pick<Credentials, "username" | "password">;
  readonly #onProblem: (problem: string | undefined) => void;
  #state: string;
  #current: Credentials;
  #problem: string | undefined;

  /**
   * Reads the files.
   *
   * @param onProblem Called with what keeps changed files from being used, and with undefined once they are in use.
   * @throws {StoreError} If a file can't be used.
   */
  constructor(options: CredentialOptions, onProblem: (problem: string | undefined) => void = () => {}) {
    const { caFile, certFile, keyFile, username, password } = options;
    if (!certFile !== !keyFile) {
      throw new StoreError("A client certificate needs both -etcd-certfile and -etcd-keyfile");
    }
    this.#files = [
      ...caFile ? [pemFile("ca", "-etcd-cafile", caFile, "CERTIFICATE")] : [],
      ...certFile ? [pemFile("cert", "-etcd-certfile", certFile, "CERTIFICATE")] : [],
      ...keyFile ? [pemFile("key", "-etcd-keyfile", keyFile, "PRIVATE KEY")] : [],
    ];
    this.#user = username ? { username, password: password ?? "" } : {};
    this.#onProblem = onProblem;
    this.#state = stateOf(this.#files);
    this.#current = this.#read();
  }

  get current(): Credentials {
    return this.#current;
  }

  /**
   * Reads the files again if they have changed: a stat a file, cheap enough for every call. While they can't be
   * used, as in the middle of a rotation, what was read before stays in use.
   *
   * @returns Whether there is something new.
   */
  async refresh(): Promise<boolean> {
    const state = stateOf(this.#files);
    if (state === this.#state) {
      this.#report(undefined);
      return false;
    }
    try {
      const credentials = this.#read();
      if (credentials.cert && credentials.key && !await arePair(credentials.cert, credentials.key)) {
        const [cert, key] = ["cert", "key"].map((part) => this.#files.find((file) => file.part === part)!);
        throw new StoreError(
          `Cannot use -etcd-certfile ${cert!.path} with -etcd-keyfile ${
            key!.path
          }: they don't belong together`,
        );
      }
      this.#current = credentials;
    } catch (error) {
      this.#report(`${messageOf(error)}; the earlier one stays in use`);
      return false;
    }
    this.#state = state;
    this.#report(undefined);
    return true;
  }

  #report(problem: string | undefined): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#onProblem(problem);
  }

  #read(): Credentials {
    const texts: { ca?: string; cert?: string; key?: string } = {};
    for (const file of this.#files) texts[file.part] = readPem(file);
    return { ...texts, ...this.#user };
  }
}

function pemFile(part: PemFile["part"], option: string, path: string, label: string): PemFile {
  return { part, option, path, label };
}

/** What shows that a file was written or replaced; symbolic links are followed. */
function stateOf(files: readonly PemFile[]): string {
  return files.map(({ path }) => {
    try {
      const { dev, ino, size, mtime } = Deno.statSync(path);
      return [dev, ino, size, mtime?.getTime()].join(":");
    } catch {
      return "none";
    }
  }).join(" ");
}

/** node:tls takes any text for a certificate and fails later without a word of the file. */
function readPem({ option, path, label }: PemFile): string {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (cause) {
    throw new StoreError(`Cannot read ${option} ${path}: ${messageOf(cause)}`, { cause });
  }
  if (!new RegExp(`-----BEGIN [A-Z ]*${label}-----`).test(text)) {
    throw new StoreError(`Cannot use ${option} ${path}: it holds no PEM ${label}`);
  }
  return text;
}

/** Certificate and key are two files: a rotation is half done for a moment. */
async function arePair(cert: string, key: string): Promise<boolean> {
  // 20 ms to load, and only after a rotation.
  const { createPrivateKey, X509Certificate } = await import("node:crypto");
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    // What can't be read here, the TLS handshake may read: it has the last word.
    return true;
  }
}
