/**
 * Keys for Alibaba's API: from the config, the environment, or the role that the instance has.
 *
 * @module
 */
import type { Env } from "../cloud/backend.ts";
import { CloudError } from "../cloud/errors.ts";
import type { AliMetadata } from "./metadata.ts";
import type { AliVpcOptions } from "./options.ts";

/** Keys, and until when they are good. */
export interface AliKeys {
  readonly id: string;
  readonly secret: string;
  /** Of temporary keys. */
  readonly token?: string;
  /** Milliseconds since the epoch; absent: without an end. */
  readonly until?: number;
}

/** The variables that name keys, in the order they are looked at. */
const VARIABLES = [
  { id: "ACCESS_KEY_ID", secret: "ACCESS_KEY_SECRET", token: undefined },
  {
    id: "ALIBABA_CLOUD_ACCESS_KEY_ID",
    secret: "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    token: "ALIBABA_CLOUD_SECURITY_TOKEN",
  },
] as const;

/** Finds keys. @throws {CloudError} Of kind `credentials` if there are none. */
export async function findAliKeys(
  options: AliVpcOptions,
  env: Env,
  metadata: AliMetadata,
  signal: AbortSignal,
): Promise<AliKeys> {
  if (options.keys) return options.keys;
  for (const names of VARIABLES) {
    const [id, secret] = [env(names.id), env(names.secret)];
    const token = names.token && env(names.token);
    if (id && secret) return token ? { id, secret, token } : { id, secret };
  }
  return await roleKeys(metadata, signal);
}

const ROLES = "ram/security-credentials/";

async function roleKeys(metadata: AliMetadata, signal: AbortSignal): Promise<AliKeys> {
  const role = (await metadata.read(ROLES, signal))?.split("\n")[0]?.trim();
  if (!role) {
    throw new CloudError(
      "credentials",
      "There are no keys for Alibaba Cloud: give the instance a RAM role, or set AccessKeyID and " +
        "AccessKeySecret in the config's Backend, or ACCESS_KEY_ID and ACCESS_KEY_SECRET",
    );
  }
  const keys = parseKeys(await metadata.read(ROLES + role, signal));
  // Nothing of the answer may stand in the error: it is a secret.
  if (!keys) {
    throw new CloudError("credentials", `The metadata server gives no keys for the RAM role ${role}`);
  }
  return keys;
}

function parseKeys(text: string | undefined): AliKeys | undefined {
  try {
    const { Code, AccessKeyId, AccessKeySecret, SecurityToken, Expiration } = JSON.parse(text ?? "");
    if (Code !== undefined && Code !== "Success") return undefined;
    if (![AccessKeyId, AccessKeySecret, SecurityToken].every((one) => one && typeof one === "string")) {
      return undefined;
    }
    const until = Date.parse(Expiration);
    const keys = { id: AccessKeyId, secret: AccessKeySecret, token: SecurityToken };
    return Number.isNaN(until) ? keys : { ...keys, until };
  } catch {
    return undefined;
  }
}
