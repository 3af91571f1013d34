/**
 * Network managers that take our devices for theirs.
 *
 * @module
 */
import type { HostFiles } from "../host_files.ts";
import { type Check, type Finding, ok } from "../types.ts";

/** What a manager says of one of our devices. */
export interface ManagedDevice {
  readonly name: string;
  /** Where that stands. */
  readonly file: string;
  readonly manager: "systemd-networkd" | "NetworkManager";
  readonly managed: boolean;
}

interface ManagerFacts {
  readonly devices: readonly ManagedDevice[];
  /** networkd runs. */
  readonly networkd: boolean;
  readonly networkManager: boolean;
  /** systemd-udevd runs: it gives devices MAC addresses of its own (MACAddressPolicy=persistent). */
  readonly udev: boolean;
  /** The .link file that keeps it off our devices. */
  readonly linkFile: string | undefined;
  /** VXLAN devices whose MAC address isn't in this host's lease. */
  readonly unpublished: readonly { readonly name: string; readonly mac: string }[];
}

/** Where .link and .network files stand (systemd.link(5)). */
const SYSTEMD_FOLDERS = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"].map((root) =>
  `${root}/systemd/network`
);

/** Reads the managers' own notes of the devices. */
export const networkManagers: Check<ManagerFacts> = {
  name: "links",
  group: "host",
  looksAt: "systemd-networkd, NetworkManager and udev: whether they leave our devices alone",
  async read(scene) {
    const plan = await scene.plan();
    const present = scene.kernel.links.filter(({ name }) => plan.links.some((link) => link.name === name));
    const published = (await scene.publishedLease())?.toLowerCase();
    const devices: ManagedDevice[] = [];
    for (const { name, index } of present) {
      const networkd = `/run/systemd/netif/links/${index}`;
      const state = await scene.files.text(networkd);
      if (state !== undefined) {
        const managed = !/^ADMIN_STATE=(unmanaged|initialized|pending|linger)$/m.test(state);
        devices.push({ name, file: networkd, manager: "systemd-networkd", managed });
      }
      const nm = `/run/NetworkManager/devices/${index}`;
      const device = await scene.files.text(nm);
      if (device !== undefined) {
        devices.push({
          name,
          file: nm,
          manager: "NetworkManager",
          managed: /^managed=(true|1|full)/m.test(device),
        });
      }
    }
    return {
      devices,
      networkd: await scene.files.exists("/run/systemd/netif/state"),
      networkManager: await scene.files.exists("/run/NetworkManager/devices"),
      udev: await scene.files.exists("/run/udev/control"),
      linkFile: await findLinkFile(scene.files),
      unpublished: present.flatMap(({ name, kind, mac }) =>
        kind === "vxlan" && mac !== undefined && published !== undefined && !published.includes(mac)
          ? [{ name, mac }]
          : []
      ),
    };
  },
  judge(facts) {
    const findings = [
      ...facts.devices.filter(({ managed }) => managed).map(judgeManaged),
      ...judgeMacs(facts),
    ];
    if (findings.length > 0) return findings;
    const running = [
      ...(facts.networkd ? ["systemd-networkd"] : []),
      ...(facts.networkManager ? ["NetworkManager"] : []),
      ...(facts.udev ? ["udev"] : []),
    ];
    return [
      ok(running.length === 0 ? "no network manager" : `our devices are left alone by ${running.join(", ")}`),
    ];
  },
};

function judgeManaged({ name, file, manager }: ManagedDevice): Finding {
  const remedy = manager === "systemd-networkd"
    ? [
      "printf '[Match]\\nName=flannel*\\n[Link]\\nUnmanaged=yes\\n' >/etc/systemd/network/10-flannel.network",
      "networkctl reload",
    ]
    : [
      "printf '[device-flannel]\\nmatch-device=interface-name:flannel*\\nmanaged=0\\n' " +
      ">/etc/NetworkManager/conf.d/10-flannel.conf",
      "nmcli general reload",
    ];
  return {
    severity: "warning",
    text: `${manager} manages ${name}: it may remove addresses and routes of it`,
    evidence: [file],
    remedy,
  };
}

function judgeMacs({ unpublished, udev, linkFile }: ManagerFacts): Finding[] {
  const write = "printf '[Match]\\nOriginalName=flannel*\\n[Link]\\nMACAddressPolicy=none\\n' " +
    ">/etc/systemd/network/10-flannel.link";
  const wrong = unpublished.map(({ name, mac }): Finding => ({
    severity: "fault",
    text:
      `${name} has the MAC address ${mac}, this host's lease publishes another: packets of peers are dropped here`,
    evidence: [`ip link show ${name}: ${mac}`],
    remedy: [...(udev && linkFile === undefined ? [write] : []), "systemctl restart flanneld"],
  }));
  if (wrong.length > 0 || !udev || linkFile !== undefined) return wrong;
  return [{
    severity: "note",
    text:
      "no .link file keeps udev from giving our devices other MAC addresses: flanneld notices and corrects it",
    evidence: [`${SYSTEMD_FOLDERS[0]}/10-flannel.link isn't there`],
    remedy: [write],
  }];
}

async function findLinkFile(files: HostFiles): Promise<string | undefined> {
  for (const folder of SYSTEMD_FOLDERS) {
    for (const name of await files.names(folder)) {
      if (!name.endsWith(".link")) continue;
      const text = await files.text(`${folder}/${name}`) ?? "";
      if (/flannel/.test(text) && /^MACAddressPolicy=none/m.test(text)) return `${folder}/${name}`;
    }
  }
  return undefined;
}
