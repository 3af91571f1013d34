/**
 * `wireguard rotate`: another key for this host.
 *
 * @module
 */
import type { JsonObject } from "../../lib/config/types.ts";
import { readStatus } from "../../lib/daemon/status_client.ts";
import { statusSocketPath } from "../../lib/daemon/status_server.ts";
import { silentLog } from "../../lib/observe/types.ts";
import type { Options } from "../../lib/options/table.ts";
import { pause } from "../../lib/time/pause.ts";
import { publicKeyOf } from "../../lib/wireguard/keys.ts";
import { type KeyPlace, keyPlace, placeOf, readKey, replaceKey } from "./key_file.ts";

/** A running daemon looks at the file every second; one that doesn't take the key up has a reason to. */
const TAKEN_UP_MS = 5_000;

/** How often the daemon is asked, in milliseconds. */
const ASK_MS = 100;

/**
 * Replaces the key, and waits until a running daemon uses it. Prints no secret.
 *
 * @returns 1 if a daemon runs and doesn't take the key up.
 * @throws {KeyFileError} If there is no key, or the file can't be read or written.
 */
export async function rotate(options: Options): Promise<number> {
  const socket = statusSocketPath(options);
  const ask = () =>
    readStatus(socket).then(({ backend, problems }) => ({ backend, problems }), () => undefined);
  const place = placeInUse((await ask())?.backend) ?? keyPlace((name) => Deno.env.get(name));
  if (await readKey(place.file) === undefined) {
    console.error(
      `There is no key in ${place.file}: flanneld makes one when it starts with the wireguard backend`,
    );
    return 1;
  }
  const publicKey = publicKeyOf(await replaceKey(place, silentLog));
  console.log(`New key in ${place.file}, public key ${publicKey}`);
  const deadline = performance.now() + TAKEN_UP_MS;
  for (;;) {
    const status = await ask();
    if (!placeInUse(status?.backend)) {
      console.log(
        "No flanneld with the wireguard backend runs here: the key is used and published at its next start",
      );
      return 0;
    }
    if (usedKeys(status?.backend).every((key) => key === publicKey)) {
      console.log("flanneld uses it and has published it");
      return 0;
    }
    if (performance.now() > deadline) {
      console.error(
        "flanneld has not taken it up yet, and tries again every second: flanneld status says why",
      );
      return 1;
    }
    await pause(ASK_MS);
  }
}

/** Where the daemon that answered has its key: its environment may name another file than ours. */
function placeInUse(backend: unknown): KeyPlace | undefined {
  const file = (backend as JsonObject | undefined)?.["keyFile"];
  return typeof file === "string" ? placeOf(file) : undefined;
}

function usedKeys(backend: unknown): readonly unknown[] {
  const devices = (backend as JsonObject | undefined)?.["devices"];
  return Array.isArray(devices) ? devices.map((device) => (device as JsonObject)["publicKey"]) : [];
}
