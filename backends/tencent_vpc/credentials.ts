/**
 * Keys for Tencent's API: from the config, the environment, or the role that the instance has.
 *
 * @module
 */
import type { Env } from "../cloud/backend.ts";
import { CloudError } from "../cloud/errors.ts";
import type { TencentMetadata } from "./metadata.ts";
import type { TencentVpcOptions } from "./options.ts";

/** Keys, and until when they are good. */
export interface TencentKeys {
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
  { id: "TENCENTCLOUD_SECRET_ID", secret: "TENCENTCLOUD_SECRET_KEY", token: "TENCENTCLOUD_TOKEN" },
] as const;

/** Finds keys. @throws {CloudError} Of kind `credentials` if there are none. */
export async function findTencentKeys(
  options: TencentVpcOptions,
  env: Env,
  metadata: TencentMetadata,
  signal: AbortSignal,
): Promise<TencentKeys> {
  if (options.keys) return options.keys;
  for (const names of VARIABLES) {
    const [id, secret] = [env(names.id), env(names.secret)];
    const token = names.token && env(names.token);
    if (id && secret) return token ? { id, secret, token } : { id, secret };
  }
  return await roleKeys(metadata, signal);
}

const ROLES = "cam/security-credentials/";

async function roleKeys(metadata: TencentMetadata, signal: AbortSignal): Promise<TencentKeys> {
  const role = (await metadata.read(ROLES, signal))?.split("\n")[0]?.trim();
  if (!role) {
    throw new CloudError(
      "credentials",
      "There are no keys for Tencent Cloud: give the instance a CAM role, or set AccessKeyID and " +
        "AccessKeySecret in the config's Backend, or ACCESS_KEY_ID and ACCESS_KEY_SECRET",
    );
  }
  const keys = parseKeys(await metadata.read(ROLES + role, signal));
  // Nothing of the answer may stand in the error: it is a secret.
  if (!keys) {
    throw new CloudError("credentials", `The metadata server gives no keys for the CAM role ${role}`);
  }
  return keys;
}

function parseKeys(text: string | undefined): TencentKeys | undefined {
  try {
    const { Code, TmpSecretId, TmpSecretKey, Token, ExpiredTime } = JSON.parse(text ?? "");
    if (Code !== undefined && Code !== "Success") return undefined;
    if (![TmpSecretId, TmpSecretKey, Token].every((one) => one && typeof one === "string")) return undefined;
    const keys = { id: TmpSecretId, secret: TmpSecretKey, token: Token };
    return typeof ExpiredTime === "number" ? { ...keys, until: ExpiredTime * 1000 } : keys;
  } catch {
    return undefined;
  }
}
