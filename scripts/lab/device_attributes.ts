/**
 * Every attribute of a device as lines, so that two devices of different hosts can be compared.
 *
 * @module
 */
import type { Host } from "./host.ts";

type Row = Readonly<Record<string, unknown>>;

/** What is another with each device, or says whose it is: not how it carries packets. */
const NAMING_KEYS = new Set([
  "ifindex",
  "ifname",
  "ifalias",
  "link_index",
  "link_netnsid",
  "stats",
  "stats64",
]);

/** Settings, offloads and queues of the device `$0`, its name left out. */
const SCRIPT = `
ethtool -k "$0" | sed 1d
for family in ipv4 ipv6; do
  (cd /proc/sys/net/$family/conf/"$0" 2>/dev/null && grep -rs . . | grep -v stable_secret | sed "s|^\\./|$family |")
done
for part in /sys/class/net/"$0"/queues/*; do echo "queue $(basename $part)"; done
for part in tx_queue_len type flags gro_flush_timeout napi_defer_hard_irqs threaded; do
  echo "$part $(cat /sys/class/net/"$0"/$part 2>/dev/null)"
done
tc qdisc show dev "$0" | sed 's/ dev [^ ]*//'
`;

/** The attributes of a device: its link, offloads, settings, queues and queueing discipline. */
export async function deviceAttributes(host: Host, device: string): Promise<string[]> {
  const [link] = await host.ipJson("-d", "link", "show", device) as Row[];
  const { stdout } = await host.exec(["sh", "-c", SCRIPT, device]);
  return [...flatten(link!, "link"), ...stdout.split("\n").map((line) => line.trim()).filter(Boolean)].sort();
}

/** What `a` has and `b` hasn't (`-`), and the reverse (`+`). */
export function attributeDifference(a: readonly string[], b: readonly string[]): string[] {
  const [inA, inB] = [new Set(a), new Set(b)];
  return [
    ...a.filter((line) => !inB.has(line)).map((line) => `- ${line}`),
    ...b.filter((line) => !inA.has(line)).map((line) => `+ ${line}`),
  ];
}

function flatten(value: unknown, path: string): string[] {
  if (Array.isArray(value)) return [`${path} ${JSON.stringify([...value].sort())}`];
  if (typeof value !== "object" || value === null) return [`${path} ${JSON.stringify(value)}`];
  return Object.entries(value).filter(([key]) => !NAMING_KEYS.has(key)).flatMap(([key, each]) =>
    flatten(each, `${path}.${key}`)
  );
}
