/**
 * The instance that the daemon runs on, and the network of its interface that carries the host's address.
 *
 * @module
 */
import type { ExternalInterface } from "../../lib/external/types.ts";
import { familiesOf } from "../../lib/net/family.ts";
import { formatIp, sameIp, tryParseIp } from "../../lib/net/ip.ts";
import { CloudError } from "../cloud/errors.ts";
import type { GceInstance } from "./compute.ts";

/**
 * Without IP forwarding the network drops what a container sends or gets. Absent means false.
 *
 * @throws {CloudError} Of kind `config`, with the commands that change it.
 */
export function checkForwarding(instance: GceInstance, name: string, zone: string): void {
  if (instance.canIpForward === true) return;
  throw new CloudError(
    "config",
    `Instance ${name} may not forward packets: make it with gcloud compute instances create ${name} ` +
      `--zone ${zone} --can-ip-forward --scopes compute-rw, or change it: gcloud compute instances export ` +
      `${name} --zone ${zone} --destination ${name}.yaml, set canIpForward: true there, gcloud compute ` +
      `instances update-from-file ${name} --zone ${zone} --source ${name}.yaml ` +
      `--most-disruptive-allowed-action RESTART`,
  );
}

/**
 * The network of the instance's interface with an address of ours; undefined where the answer lacks it.
 *
 * @throws {CloudError} Of kind `config` if no interface has such an address.
 */
export function networkOf(
  instance: GceInstance,
  external: ExternalInterface,
  name: string,
): string | undefined {
  const cards = instance.networkInterfaces ?? [];
  const ours = familiesOf(external.addresses).map((family) => external.addresses[family.name]!);
  const texts = (card: typeof cards[number]) =>
    [card.networkIP, card.ipv6Address].filter((text): text is string => Boolean(text));
  const found = cards.find((card) =>
    texts(card).some((text) => ours.some((ip) => sameIp(ip, tryParseIp(text))))
  );
  if (found) return found.network ?? undefined;
  if (cards.length === 0 || (cards.length === 1 && texts(cards[0]!).length === 0)) {
    return cards[0]?.network ?? undefined;
  }
  throw new CloudError(
    "config",
    `No interface of instance ${name} has an address of ${external.name} (${
      ours.map(formatIp).join(", ")
    }); ` +
      `it has ${cards.flatMap(texts).join(", ")}: choose the right interface with -iface`,
  );
}
