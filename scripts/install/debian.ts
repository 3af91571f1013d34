/**
 * The texts of a Debian package. Pure.
 *
 * @module
 */

/** What a control file names. */
export interface ControlFields {
  readonly version: string;
  /** As Debian names it: amd64, arm64. */
  readonly architecture: string;
  /** Size of all installed files, in bytes. */
  readonly installedBytes: number;
}

/**
 * DEBIAN/control. What the executable needs is essential on Debian, but for the C library and a firewall program;
 * 2.27 is the newest symbol version of the C library that Deno asks for.
 */
export function controlFile({ version, architecture, installedBytes }: ControlFields): string {
  return `Package: flanneld
Version: ${version}
Architecture: ${architecture}
Maintainer: flanneld's developers <flanneld@localhost>
Installed-Size: ${Math.ceil(installedBytes / 1024)}
Depends: libc6 (>= 2.27), libgcc-s1 | libgcc1, util-linux, tar, gzip
Recommends: nftables | iptables
Suggests: etcd-server, docker.io | containerd, wireguard-go, wireguard-tools
Section: net
Priority: optional
Description: network for containers: a subnet for every host
 Gives every host of a network a subnet, writes it where Docker and CNI plugins
 read it, and keeps the kernel's (or a cloud's) routes between these subnets.
 Hosts agree by way of etcd. It takes the place of flannel's flanneld and works
 in one network with it.
`;
}

/** The files that dpkg asks about before it overwrites what an administrator changed. */
export function conffiles(paths: readonly string[]): string {
  return paths.map((path) => `${path}\n`).join("");
}

/** Sets $own to whether flanneld.service is this package's, and not the original's unit in /etc. */
const WHOSE_UNIT = `case $(systemctl show --value -p ExecStart flanneld.service) in
    *path=/usr/sbin/flanneld\\ * | "") own=yes ;;
    *) own=no ;;
  esac`;

/**
 * Maintainer scripts by name. The daemon isn't enabled by installing it: it comes before Docker, and without a
 * configuration Docker would wait for it at every boot.
 */
export const MAINTAINER_SCRIPTS: Readonly<Record<string, string>> = {
  postinst: `#!/bin/sh
set -e
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  ${WHOSE_UNIT}
  if [ $own = no ]; then
    echo "flanneld: $(systemctl show --value -p FragmentPath flanneld.service) runs another program and comes before" \\
      "this package's unit: stop it, move it away, then systemctl daemon-reload" >&2
    exit 0
  fi
  # An upgrade: the data plane stays while the daemon is replaced. The udp backend's packets go through the daemon, so
  # the new one is unpacked while the old one still runs.
  if [ -n "$2" ] && systemctl is-active flanneld.service | grep -qx -e active -e activating; then
    /usr/sbin/flanneld -version >/dev/null || true
    # It is ready once the store answers, which may be away.
    timeout 15 systemctl try-restart flanneld.service ||
      echo "flanneld isn't ready yet: systemctl status flanneld, flanneld status" >&2
    name=$(head -c 4096 /usr/sbin/flanneld | tr -d '\\000' | sed -n 's/^flanneld_name=//p')
    for other in /var/cache/flanneld/*-????????????????; do
      if [ -n "$name" ] && [ -d "$other" ] && [ "\${other##*/}" != "$name" ]; then
        flock -x -n "$other/flanneld" rm -rf "$other" || true
      fi
    done
  fi
fi
`,
  prerm: `#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  ${WHOSE_UNIT}
  if [ $own = yes ]; then
    systemctl disable --now flanneld-docker-opts.service flanneld.service || true
    echo "flanneld: links, routes and rules stay until a reboot; flanneld cleanup before removal takes them away" >&2
  fi
fi
`,
  postrm: `#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
# What the executable unpacked; the links and routes stay until "flanneld cleanup" or a reboot.
case $1 in
  remove | purge) rm -rf /var/cache/flanneld ;;
esac
if [ "$1" = purge ]; then rm -rf /var/lib/flannel /run/flannel; fi
`,
};
