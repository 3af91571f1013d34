/**
 * Tests on hosts with a real systemd that have the package installed.
 *
 * @module
 */
import { Lab } from "../../scripts/lab/lab.ts";
import { SystemdHost } from "../../scripts/lab/systemd_host.ts";
import { systemdRoot, whyNoSystemdRoot } from "../../scripts/lab/systemd_root.ts";
import { currentPackage } from "./packages.ts";

/** Where the package has its examples. */
export const EXAMPLES = "/usr/share/doc/flanneld/examples";

/** Two hosts in one lab. */
export interface Hosts {
  readonly lab: Lab;
  readonly one: SystemdHost;
  readonly two: SystemdHost;
  readonly both: readonly SystemdHost[];
}

/** Installs the package and its options, as an administrator does. */
async function install(host: SystemdHost, deb: string, storeArgs: readonly string[]): Promise<void> {
  await Deno.copyFile(deb, `${host.shared}/flanneld.deb`);
  await host.exec(["dpkg", "--install", "/srv/flanneld.deb"]);
  const options = `FLANNEL_OPTIONS=${storeArgs.join(" ")} -healthz-port=8080\n`;
  await host.exec(["sh", "-c", "cat >/etc/default/flanneld"], { input: options });
}

async function withHosts(body: (hosts: Hosts) => Promise<void>): Promise<void> {
  await using lab = await Lab.create({ hosts: 2 });
  const root = await systemdRoot();
  await using one = new SystemdHost(lab.host(1), root);
  await using two = new SystemdHost(lab.host(2), root);
  const both = [one, two];
  const [deb] = await Promise.all([currentPackage(lab.folder), ...both.map((host) => host.boot())]);
  await Promise.all(both.map((host) => install(host, deb, lab.store.args)));
  try {
    await body({ lab, one, two, both });
  } catch (error) {
    for (const host of both) console.error(`--- ${host.host.name}\n${await host.journal().catch(String)}`);
    throw error;
  }
}

/** Registers a test that gets two booted hosts with the package installed; the service isn't started yet. */
export function hostsTest(name: string, body: (hosts: Hosts) => Promise<void>): void {
  const why = whyNoSystemdRoot();
  Deno.test({
    name: why === undefined ? name : `${name} (${why})`,
    ignore: why !== undefined,
    fn: () => withHosts(body),
  });
}
