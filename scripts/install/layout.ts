/**
 * What is installed, and where. Pure: from a prefix to a list of files.
 *
 * @module
 */
import { join } from "node:path/posix";

/** One file of an installation. */
export interface InstalledFile {
  /** What it holds: a path in the checkout; or a text. */
  readonly source: { readonly path: string } | { readonly text: string };
  /** Absolute path on the host. */
  readonly to: string;
  /** Mode bits. */
  readonly mode: number;
  /** It is compressed by gzip, without its name and time. */
  readonly isCompressed?: true;
  /** `@NAME@` is replaced in it. */
  readonly isTemplate?: true;
  /** The host's administrator changes it: it is never overwritten, and removed only if it was never changed. */
  readonly isConfiguration?: true;
}

/** Folders of an installation, absolute. */
export interface Folders {
  readonly sbin: string;
  readonly libexec: string;
  readonly doc: string;
  readonly share: string;
  readonly man: string;
  readonly units: string;
  readonly network: string;
  readonly networkManager: string;
}

/**
 * The folders below a prefix.
 *
 * systemd looks into /usr/local/lib and /usr/lib; below any other prefix nobody would find the units, so they go
 * to /etc then. NetworkManager looks into /usr/lib and /etc only.
 *
 * @param prefix an absolute path, `/usr/local` for example
 * @throws {RangeError} if it isn't absolute
 */
export function foldersBelow(prefix: string): Folders {
  if (!prefix.startsWith("/")) {
    throw new RangeError(`PREFIX=${prefix}: must be an absolute path, as /usr/local`);
  }
  const isSystem = prefix === "/usr";
  const systemd = isSystem || prefix === "/usr/local" ? join(prefix, "lib/systemd") : "/etc/systemd";
  return {
    sbin: join(prefix, "sbin"),
    libexec: join(prefix, "libexec/flannel"),
    doc: join(prefix, "share/doc/flanneld"),
    share: join(prefix, "share"),
    man: join(prefix, "share/man"),
    units: join(systemd, "system"),
    network: join(systemd, "network"),
    networkManager: isSystem ? "/usr/lib/NetworkManager/conf.d" : "/etc/NetworkManager/conf.d",
  };
}

/** Replaces `@SBINDIR@`, `@LIBEXECDIR@` and `@DOCDIR@`. */
export function fillTemplate(text: string, folders: Folders): string {
  return text.replaceAll("@SBINDIR@", folders.sbin).replaceAll("@LIBEXECDIR@", folders.libexec)
    .replaceAll("@DOCDIR@", folders.doc);
}

/** What only the caller has: the executable, and the completion script of a shell. */
export interface Parts {
  /** Path of the executable. */
  readonly binary: string;
  readonly completion: (shell: "bash" | "zsh" | "fish") => string;
}

/** All files of an installation. */
export function installedFiles(folders: Folders, { binary, completion }: Parts): InstalledFile[] {
  const file = (path: string, to: string, mode = 0o644): InstalledFile => ({ source: { path }, to, mode });
  const packaged = (path: string, folder: string) => {
    const name = path.slice(path.lastIndexOf("/") + 1);
    return file(`packaging/${path}`, join(folder, name));
  };
  const generated = (text: string, to: string): InstalledFile => ({ source: { text }, to, mode: 0o644 });
  const examples = join(folders.doc, "examples");
  return [
    file(binary, join(folders.sbin, "flanneld"), 0o755),
    { ...packaged("mk-docker-opts.sh", folders.libexec), mode: 0o755 },
    { ...packaged("systemd/flanneld.service", folders.units), isTemplate: true },
    { ...packaged("systemd/flanneld-docker-opts.service", folders.units), isTemplate: true },
    packaged("network/10-flannel.network", folders.network),
    packaged("network/10-flannel.link", folders.network),
    file("packaging/network/10-flannel-networkmanager.conf", join(folders.networkManager, "10-flannel.conf")),
    { ...file("packaging/etc/flanneld", "/etc/default/flanneld"), isConfiguration: true },
    file("docs/install.md", join(folders.doc, "install.md")),
    { ...file("packaging/man/flanneld.8", join(folders.man, "man8/flanneld.8.gz")), isCompressed: true },
    {
      ...file("packaging/man/flanneld-config.5", join(folders.man, "man5/flanneld-config.5.gz")),
      isCompressed: true,
    },
    file("LICENSE", join(folders.doc, "copyright")),
    packaged("examples/docker/flannel.conf", join(examples, "docker")),
    { ...packaged("examples/docker/flannel-network.sh", join(examples, "docker")), mode: 0o755 },
    packaged("examples/containerd/10-flannel.conflist", join(examples, "containerd")),
    generated(completion("bash"), join(folders.share, "bash-completion/completions/flanneld")),
    generated(completion("zsh"), join(folders.share, "zsh/site-functions/_flanneld")),
    generated(completion("fish"), join(folders.share, "fish/vendor_completions.d/flanneld.fish")),
  ];
}
