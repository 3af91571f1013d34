/**
 * Access from a kubeconfig file.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { dirname, isAbsolute, join } from "node:path";
import {
  AccessError,
  type ApiAccess,
  checkAuthorities,
  parseServer,
  readText,
  type TlsMaterial,
  TokenFile,
} from "./access.ts";
import { parseProxy } from "./proxy.ts";

/** The part of a kubeconfig that says where the server is. */
interface Cluster {
  readonly server?: string;
  readonly "certificate-authority"?: string;
  readonly "certificate-authority-data"?: string;
  readonly "insecure-skip-tls-verify"?: boolean;
  readonly "tls-server-name"?: string;
  readonly "proxy-url"?: string;
}

/** The part that says who we are. */
interface User {
  readonly token?: string;
  readonly tokenFile?: string;
  readonly "client-certificate"?: string;
  readonly "client-certificate-data"?: string;
  readonly "client-key"?: string;
  readonly "client-key-data"?: string;
  readonly username?: string;
  readonly password?: string;
  readonly exec?: unknown;
  readonly "auth-provider"?: unknown;
  readonly as?: string;
}

interface Kubeconfig {
  readonly "current-context"?: string;
  readonly contexts?: readonly { name?: string; context?: { cluster?: string; user?: string } }[];
  readonly clusters?: readonly { name?: string; cluster?: Cluster }[];
  readonly users?: readonly { name?: string; user?: User }[];
}

/**
 * Reads a kubeconfig: its current context's cluster and user. Relative paths in it are relative to its folder.
 *
 * @param path The file, in YAML or JSON.
 * @param serverOverride Replaces the cluster's server (-kube-api-url); empty: doesn't.
 * @throws {AccessError} That names what is missing or not supported, and the way out.
 */
export async function kubeconfigAccess(path: string, serverOverride = ""): Promise<ApiAccess> {
  return await accessFrom(await readText(path), path, serverOverride);
}

/** As {@link kubeconfigAccess}, with the file's text. */
export async function accessFrom(text: string, path: string, serverOverride = ""): Promise<ApiAccess> {
  const config = await parseText(text, path);
  // With a server from elsewhere a file need not choose one; as client-go has it, it then says nothing of users either.
  const isBare = serverOverride !== "" && textOf(config["current-context"]) === "";
  const { cluster, user, context } = isBare ? NO_CONTEXT : currentContext(config, path);
  const source = `kubeconfig ${path}${context === "" ? "" : `, context ${JSON.stringify(context)}`}`;
  refuseUnsupported(user, source);
  refuseContradiction(cluster, source);
  const server = serverOverride !== "" ? serverOverride : cluster.server;
  if (!server) throw new AccessError(`${source}: its cluster has no server; add one, or set -kube-api-url`);
  const token = user.tokenFile ? new TokenFile(resolve(path, user.tokenFile)) : undefined;
  const { "tls-server-name": serverName, "proxy-url": proxy } = cluster;
  return {
    server: parseServer(server, source, speaksTls(cluster, user) ? "https" : "http"),
    source,
    ...(serverName ? { serverName } : {}),
    ...(proxy ? { proxy: parseProxy(proxy, `${source}: proxy-url of its cluster`) } : {}),
    insecure: cluster["insecure-skip-tls-verify"] === true,
    tls: () => tlsMaterial(cluster, user, { path, source }),
    authorization: async (refused) => {
      if (token) {
        return `Bearer ${await token.read(refused).catch((error) => user.token || Promise.reject(error))}`;
      }
      if (user.token) return `Bearer ${user.token}`;
      // RFC 7617, 2.1: UTF-8.
      const login = Buffer.from(`${user.username}:${user.password ?? ""}`);
      return user.username ? `Basic ${login.toString("base64")}` : undefined;
    },
  };
}

/** What one context says. */
interface CurrentContext {
  readonly cluster: Cluster;
  readonly user: User;
  /** Its name; empty: none is chosen. */
  readonly context: string;
}

const NO_CONTEXT: CurrentContext = { cluster: {}, user: {}, context: "" };

/** A server without a scheme is one with TLS if anything of TLS is given, as client-go has it. */
function speaksTls(cluster: Cluster, user: User): boolean {
  return cluster["insecure-skip-tls-verify"] === true ||
    [
      cluster["certificate-authority"],
      cluster["certificate-authority-data"],
      user["client-certificate"],
      user["client-certificate-data"],
    ].some(Boolean);
}

/**
 * As client-go reads YAML: of a key that stands twice the last counts. Its warnings would go straight to stderr and quote
 * the file, which holds secrets.
 */
const YAML_OPTIONS = { logLevel: "error", uniqueKeys: false } as const;

/** The first of a file's documents, which is the one that counts. */
async function parseYaml(text: string): Promise<unknown> {
  const { parseAllDocuments } = await import("yaml");
  const [first] = [parseAllDocuments(text, YAML_OPTIONS)].flat();
  const [error] = first?.errors ?? [];
  if (error) throw error;
  return first?.toJS();
}

async function parseText(text: string, path: string): Promise<Kubeconfig> {
  let value: unknown;
  try {
    // JSON is YAML; its parser is built in, the other takes a while to load.
    value = text.trimStart().startsWith("{") ? JSON.parse(text) : await parseYaml(text);
  } catch (error) {
    // The parsers' messages quote the file, and it holds secrets: of them only the place is given.
    const place = /\bat (line \d+, column \d+|position \d+)/.exec((error as Error).message)?.[0] ?? "";
    throw new AccessError(`${path} is neither YAML nor JSON${place && `: error ${place}`}`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Kubeconfig;
  throw new AccessError(`${path} isn't a kubeconfig: it has no clusters, users and contexts`);
}

function currentContext(config: Kubeconfig, path: string): CurrentContext {
  const context = textOf(config["current-context"]);
  const found = named(config.contexts, context)?.context;
  if (!found) {
    const names = Array.isArray(config.contexts)
      ? config.contexts.map((one) => textOf(one?.name)).join(", ")
      : "";
    const current = context === ""
      ? "it has no current-context"
      : `its current-context ${context} isn't in it`;
    throw new AccessError(`kubeconfig ${path}: ${current}; contexts: ${names || "none"}`);
  }
  const cluster = named(config.clusters, found.cluster)?.cluster;
  if (!cluster) {
    throw new AccessError(
      `kubeconfig ${path}: context ${context} names the cluster ${found.cluster}, which isn't in it`,
    );
  }
  const user = named(config.users, found.user)?.user;
  if (!user && found.user) {
    throw new AccessError(
      `kubeconfig ${path}: context ${context} names the user ${found.user}, who isn't in it`,
    );
  }
  if (!["boolean", "undefined"].includes(typeof (cluster["insecure-skip-tls-verify"] ?? undefined))) {
    const rule = "insecure-skip-tls-verify must be true or false, without quotes";
    throw new AccessError(`kubeconfig ${path}: in cluster ${found.cluster}: ${rule}`);
  }
  checkTypes(cluster, CLUSTER_TEXTS, `kubeconfig ${path}: in cluster ${found.cluster}`);
  checkTypes(user ?? {}, USER_TEXTS, `kubeconfig ${path}: in user ${found.user}`);
  return { cluster, user: user ?? {}, context };
}

const CLUSTER_TEXTS = [
  ...["server", "certificate-authority", "certificate-authority-data", "tls-server-name", "proxy-url"],
];
const USER_TEXTS = [
  ...["token", "tokenFile", "client-certificate", "client-certificate-data", "client-key", "client-key-data"],
  ...["username", "password", "as"],
];

/** A token of digits alone is a number to YAML. @throws {AccessError} That names the key, not its value. */
function checkTypes(part: object, texts: readonly string[], where: string): void {
  for (const [key, value] of Object.entries(part)) {
    const isWrong = value !== null && texts.includes(key) && typeof value !== "string";
    if (isWrong) throw new AccessError(`${where}: ${key} must be text, put it in quotes`);
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function named<T extends { name?: string }>(
  list: readonly T[] | undefined,
  name: string | undefined,
): T | undefined {
  return Array.isArray(list) ? list.find((one: T) => one?.name === name) : undefined;
}

/** What would need programs or protocols that a daemon on every host should not run. */
function refuseUnsupported(user: User, source: string): void {
  const instead = "use a token file or a client certificate, or a service account in the cluster";
  if (user.exec) {
    throw new AccessError(
      `${source}: its user has an exec plugin; flanneld runs no other programs: ${instead}`,
    );
  }
  if (user["auth-provider"]) {
    throw new AccessError(
      `${source}: its user has an auth-provider, which Kubernetes no longer has: ${instead}`,
    );
  }
  if (user.as) {
    throw new AccessError(
      `${source}: its user impersonates another (as), which flanneld doesn't: ${instead}`,
    );
  }
}

/** @throws {AccessError} As client-go: one who names a CA wants the server checked. */
function refuseContradiction(cluster: Cluster, source: string): void {
  const hasCa = cluster["certificate-authority"] || cluster["certificate-authority-data"];
  if (!cluster["insecure-skip-tls-verify"] || !hasCa) return;
  throw new AccessError(
    `${source}: its cluster has a certificate-authority and insecure-skip-tls-verify: remove one of them`,
  );
}

async function tlsMaterial(
  cluster: Cluster,
  user: User,
  { path, source }: { path: string; source: string },
): Promise<TlsMaterial> {
  const pem = async (data: string | undefined, file: string | undefined, what: string) => {
    if (data) return decodeBase64(data, `${source}: ${what}-data`);
    return file ? await readText(resolve(path, file)) : undefined;
  };
  const ca = await pem(
    cluster["certificate-authority-data"],
    cluster["certificate-authority"],
    "certificate-authority",
  );
  if (ca !== undefined) checkAuthorities(ca, `${source}: certificate-authority`);
  const cert = await pem(user["client-certificate-data"], user["client-certificate"], "client-certificate");
  const key = await pem(user["client-key-data"], user["client-key"], "client-key");
  if ((cert === undefined) !== (key === undefined)) {
    throw new AccessError(`${source}: its user needs both client-certificate and client-key`);
  }
  return { ...(ca === undefined ? {} : { ca }), ...(cert && key ? { cert, key } : {}) };
}

function decodeBase64(text: string, what: string): string {
  try {
    return new TextDecoder().decode(
      Uint8Array.from(atob(text.replaceAll(/\s/g, "")), (c) => c.charCodeAt(0)),
    );
  } catch (cause) {
    throw new AccessError(`${what} isn't base64`, { cause });
  }
}

function resolve(kubeconfig: string, file: string): string {
  return isAbsolute(file) ? file : join(dirname(kubeconfig), file);
}
