/**
 * The host's clock: whether it follows a time server, and how far it is from etcd's.
 *
 * @module
 */
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { messageOf } from "../../errors.ts";
import { type ClockState, clockState } from "../../ffi/clock_state.ts";
import type { Options } from "../../options/table.ts";
import { type Check, type Finding, ok } from "../types.ts";

/** How long an endpoint may take to answer, in milliseconds. */
const TIMEOUT_MS = 3_000;

/** From this skew on certificates and the comparison of logs suffer, in milliseconds. */
const NOTICEABLE_MS = 5_000;
const TROUBLE_MS = 60_000;

/** The clock of an endpoint against this host's. */
export interface Skew {
  readonly endpoint: string;
  /** How far this host's clock is ahead, in milliseconds. */
  readonly aheadMs: number;
  /** How far that may be wrong: the Date header has whole seconds. */
  readonly toleranceMs: number;
}

interface ClockFacts {
  readonly state: ClockState;
  readonly skews: readonly Skew[];
  /** Endpoints that can't be asked, and why. */
  readonly silent: readonly string[];
}

/**
 * Leases don't depend on it, since etcd counts their time itself; certificates do, and whoever compares the logs of
 * two hosts.
 */
export const clock: Check<ClockFacts> = {
  name: "clock",
  group: "host",
  looksAt: "whether the clock follows a time server, and how far it is from etcd's",
  async read({ options }) {
    const usesEtcd = options.store.kind === "etcd" && !options.kubeSubnetMgr;
    const answers = await Promise.all((usesEtcd ? options.etcdEndpoints : []).map(async (endpoint) => {
      try {
        return await measureSkew(endpoint, options);
      } catch (error) {
        return `${endpoint}: ${messageOf(error)}`;
      }
    }));
    return {
      state: clockState(),
      skews: answers.filter((answer) => typeof answer !== "string"),
      silent: answers.filter((answer) => typeof answer === "string"),
    };
  },
  judge({ state, skews, silent }) {
    const evidence = [
      `adjtimex: ${state.synchronized ? "synchronized" : "STA_UNSYNC"}`,
      ...skews.map(({ endpoint, aheadMs, toleranceMs }) =>
        `${endpoint}: ${seconds(aheadMs)} s ahead of it, ±${seconds(toleranceMs)} s (Date header of /version)`
      ),
      ...silent,
    ];
    const off = skews.filter(({ aheadMs, toleranceMs }) => Math.abs(aheadMs) - toleranceMs >= NOTICEABLE_MS);
    const worst = Math.max(0, ...off.map(({ aheadMs }) => Math.abs(aheadMs)));
    const remedy = ["timedatectl set-ntp true   # or: systemctl enable --now chrony"];
    if (off.length > 0) {
      const finding: Finding = {
        severity: worst >= TROUBLE_MS ? "warning" : "note",
        text: `the clock is ${seconds(worst)} s off etcd's: leases don't suffer, but certificates may seem ` +
          "expired or not valid yet, and logs of two hosts don't fit together",
        ...{ evidence, remedy },
      };
      return [finding];
    }
    if (!state.synchronized) {
      return [{
        severity: "note",
        text: "the clock doesn't follow a time server" + (skews.length > 0 ? "; now it is as etcd's is" : ""),
        ...{ evidence, remedy },
      }];
    }
    const text = "the clock follows a time server" + (skews.length > 0 ? ", and is as etcd's is" : "");
    return [ok(text, ...evidence)];
  },
};

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(1);
}

/** The certificates that etcd is asked with. */
type Certificates = Pick<Options, "etcdCafile" | "etcdCertfile" | "etcdKeyfile">;

async function measureSkew(endpoint: string, certificates: Certificates): Promise<Skew> {
  const url = new URL("/version", /^https?:\/\//.test(endpoint) ? endpoint : `http://${endpoint}`);
  const credentials = url.protocol === "https:" ? await readCredentials(certificates) : {};
  const began = Date.now();
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const send = url.protocol === "https:" ? httpsRequest : httpRequest;
  const call = send(url, { timeout: TIMEOUT_MS, agent: false, ...credentials }, (response) => {
    response.resume();
    resolve(response.headers.date ?? "");
  });
  call.on("timeout", () => call.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
  call.on("error", reject);
  call.end();
  const date = Date.parse(await promise);
  if (Number.isNaN(date)) throw new Error("no Date header in its answer");
  return skewOf(endpoint, date, began, Date.now());
}

/** @param date The Date header: whole seconds, cut off. @param began and ended When it was asked, and answered. */
export function skewOf(endpoint: string, date: number, began: number, ended: number): Skew {
  return {
    endpoint,
    aheadMs: (began + ended) / 2 - (date + 500),
    toleranceMs: 500 + (ended - began) / 2,
  };
}

async function readCredentials({ etcdCafile, etcdCertfile, etcdKeyfile }: Certificates) {
  const read = async (path: string | undefined) => path ? await Deno.readTextFile(path) : undefined;
  const [ca, cert, key] = await Promise.all([etcdCafile, etcdCertfile, etcdKeyfile].map(read));
  return { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) };
}
