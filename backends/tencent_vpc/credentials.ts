/**
 * Where keys for Tencent's API are found.
 *
 * @module
 */
import { type KeySource, temporaryKeys } from "../cloud/keys.ts";

/** Variables, role and metadata of Tencent Cloud. */
export const TENCENT_KEYS: KeySource = {
  cloud: "Tencent Cloud",
  roleKind: "CAM",
  rolePath: "cam/security-credentials/",
  variables: {
    id: "TENCENTCLOUD_SECRET_ID",
    secret: "TENCENTCLOUD_SECRET_KEY",
    token: "TENCENTCLOUD_TOKEN",
  },
  // In seconds since the epoch.
  parse: ({ TmpSecretId, TmpSecretKey, Token, ExpiredTime }) =>
    temporaryKeys(
      TmpSecretId,
      TmpSecretKey,
      Token,
      typeof ExpiredTime === "number" ? ExpiredTime * 1000 : NaN,
    ),
};
