/**
 * API keys of a cloud: from the config, the environment, or the role that the instance has.
 *
 * @module
 */
import type { OptionReader } from "../../lib/backend/option_reader.ts";
import type { Env } from "./backend.ts";
import { CloudError } from "./errors.ts";

/** Keys, and until when they are good. */
export interface CloudKeys {
  readonly id: string;
  readonly secret: string;
  /** Of temporary keys. */
  readonly token?: string;
  /** Milliseconds since the epoch; absent: without an end. */
  readonly until?: number;
}

/** Keys that the config holds. */
export type ConfigKeys = Pick<CloudKeys, "id" | "secret">;

/** Where a cloud's keys are found. */
export interface KeySource {
  /** For messages: `Alibaba Cloud`. */
  readonly cloud: string;
  /** What the cloud calls an instance's role: `RAM`. */
  readonly roleKind: string;
  /** Path of the metadata server that names the role, and below it gives its keys. */
  readonly rolePath: string;
  /** The cloud's own variables; those that its tools share with others come before them. */
  readonly variables: KeyVariables;
  /** Reads the metadata server's answer, parsed from JSON; undefined where it lacks a part. */
  parse(answer: { readonly [name: string]: unknown }): CloudKeys | undefined;
}

/** The variables of one set of keys. */
interface KeyVariables {
  readonly id: string;
  readonly secret: string;
  readonly token?: string;
}

/** The original's variables. */
const SHARED: KeyVariables = { id: "ACCESS_KEY_ID", secret: "ACCESS_KEY_SECRET" };

/** The part of a metadata server that keys need. */
interface Metadata {
  read(path: string, signal: AbortSignal): Promise<string | undefined>;
}

/** Reads `AccessKeyID` and `AccessKeySecret` of the config's Backend object: both or neither. */
export function readConfigKeys(reader: OptionReader): ConfigKeys | undefined {
  const id = reader.string("AccessKeyID", {
    help: "Key for the cloud's API; better none here: the instance's role",
    defaultText: "the environment's, else the role's",
  });
  const secret = reader.string("AccessKeySecret", { secret: true, help: "Secret of that key" });
  if (id !== undefined && secret !== undefined) return { id, secret };
  if (reader.faults.length > 0) return undefined;
  if (id !== undefined) reader.fault("AccessKeySecret", "must be set where AccessKeyID is", true);
  if (secret !== undefined) reader.fault("AccessKeyID", "must be set where AccessKeySecret is");
  return undefined;
}

/**
 * Finds keys.
 *
 * @param known The config's.
 * @throws {CloudError} Of kind `credentials` if there are none.
 */
export async function findKeys(
  source: KeySource,
  known: ConfigKeys | undefined,
  env: Env,
  metadata: Metadata,
  signal: AbortSignal,
): Promise<CloudKeys> {
  if (known) return known;
  for (const names of [SHARED, source.variables]) {
    const [id, secret] = [env(names.id), env(names.secret)];
    const token = names.token && env(names.token);
    if (id && secret) return token ? { id, secret, token } : { id, secret };
  }
  return await roleKeys(source, metadata, signal);
}

async function roleKeys(source: KeySource, metadata: Metadata, signal: AbortSignal): Promise<CloudKeys> {
  const { cloud, roleKind, rolePath } = source;
  const role = (await metadata.read(rolePath, signal))?.split("\n")[0]?.trim();
  if (!role) {
    throw new CloudError(
      "credentials",
      `There are no keys for ${cloud}: give the instance a ${roleKind} role, or set AccessKeyID and ` +
        "AccessKeySecret in the config's Backend, or ACCESS_KEY_ID and ACCESS_KEY_SECRET",
    );
  }
  const keys = parseKeys(source, await metadata.read(rolePath + role, signal));
  // Nothing of the answer may stand in the error: it is a secret.
  if (!keys) {
    throw new CloudError("credentials", `The metadata server gives no keys for the ${roleKind} role ${role}`);
  }
  return keys;
}

function parseKeys(source: KeySource, text: string | undefined): CloudKeys | undefined {
  try {
    const answer = JSON.parse(text ?? "");
    if (answer.Code !== undefined && answer.Code !== "Success") return undefined;
    return source.parse(answer);
  } catch {
    return undefined;
  }
}

/**
 * Temporary keys of a metadata server's answer; undefined where a part is missing.
 *
 * @param until Milliseconds since the epoch; NaN: unknown.
 */
export function temporaryKeys(
  id: unknown,
  secret: unknown,
  token: unknown,
  until: number,
): CloudKeys | undefined {
  const isText = (part: unknown): part is string => typeof part === "string" && part !== "";
  if (!isText(id) || !isText(secret) || !isText(token)) return undefined;
  return Number.isNaN(until) ? { id, secret, token } : { id, secret, token, until };
}
