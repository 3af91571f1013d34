/**
 * Where keys for Alibaba's API are found.
 *
 * @module
 */
import { type KeySource, temporaryKeys } from "../cloud/keys.ts";

/** Variables, role and metadata of Alibaba Cloud. */
export const ALI_KEYS: KeySource = {
  cloud: "Alibaba Cloud",
  roleKind: "RAM",
  rolePath: "ram/security-credentials/",
  variables: {
    id: "ALIBABA_CLOUD_ACCESS_KEY_ID",
    secret: "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    token: "ALIBABA_CLOUD_SECURITY_TOKEN",
  },
  parse: ({ AccessKeyId, AccessKeySecret, SecurityToken, Expiration }) =>
    temporaryKeys(AccessKeyId, AccessKeySecret, SecurityToken, Date.parse(String(Expiration))),
};
