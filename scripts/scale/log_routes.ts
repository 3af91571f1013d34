/**
 * A program that prints a line `new|delete ADDRESS MILLISECONDS` for each IPv4 route that comes or goes in its network
 * namespace, with the time since the epoch at which it learned of it.
 *
 * @module
 */
import { formatIp } from "../../lib/net/ip.ts";
import { firstIp } from "../../lib/net/prefix.ts";
import { NetlinkMonitor } from "../../lib/netlink/monitor.ts";

/** Lines are written this often, in milliseconds. */
const WRITE_MS = 200;

const lines: string[] = [];
const encoder = new TextEncoder();
setInterval(() => {
  const text = lines.splice(0).map((line) => `${line}\n`).join("");
  if (text !== "") Deno.stdout.writeSync(encoder.encode(text));
}, WRITE_MS);

for await (
  const { kind, ...rest } of NetlinkMonitor.open({ groups: ["ipv4-route"], receiveBufferBytes: 64e6 })
) {
  const now = (performance.timeOrigin + performance.now()).toFixed(1);
  if (kind === "overrun") lines.push(`overrun - ${now}`);
  else if (kind === "route" && "value" in rest && "destination" in rest.value) {
    lines.push(`${rest.change} ${formatIp(firstIp(rest.value.destination))} ${now}`);
  }
}
