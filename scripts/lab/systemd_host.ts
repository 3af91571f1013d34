/**
 * A host with a real systemd, by systemd-nspawn: its units, its journal, Docker and containerd really run. Its network
 * is a lab's host.
 *
 * @module
 */
import type { Host } from "./host.ts";
import { removeCgroup } from "./leftovers.ts";
import { type Finished, run, type RunOptions, until } from "./process.ts";

/** How long a boot may take, in milliseconds. */
const BOOT_LIMIT = 60_000;
/** How long an orderly halt may take before it is made at once, in milliseconds. */
const HALT_LIMIT = 20_000;

/** Folders that can't lie on an overlay: container engines mount overlays of their own there. */
const OWN_FOLDERS: readonly string[] = ["/var/lib/docker", "/var/lib/containerd", "/var/lib/containers"];

/**
 * Mounts the host's root and becomes nspawn. All of it happens in a mount namespace that goes with the host. cgroup2 is
 * mounted anew, as this machine may have the old hierarchies, which systemd's newer versions don't want.
 *
 * Arguments: root, the host's folder, its name, its network namespace, options of nspawn.
 */
const BOOT = `
root=$1 folder=$2 name=$3 netns=$4; shift 4
mount -t overlay overlay -o "lowerdir=$root,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$name"
echo $$ >"/sys/fs/cgroup/$name/cgroup.procs"
exec systemd-nspawn --quiet --keep-unit --register=no --boot --directory="$folder/root" --machine="$name" \\
  --network-namespace-path="/run/netns/$netns" --capability=all --bind=/dev/net/tun --console=pipe "$@"
`;

const NSPAWN_ENVIRONMENT: Readonly<Record<string, string>> = {
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: "1",
  SYSTEMD_NSPAWN_LOCK: "0",
  SYSTEMD_NSPAWN_API_VFS_WRITABLE: "network",
  // Without it nspawn's own filter keeps the units' filters from being set.
  SYSTEMD_SECCOMP: "0",
};

/** One host. Its files stay from one boot to the next. */
export class SystemdHost implements AsyncDisposable {
  #nspawn: Deno.ChildProcess | undefined;
  /** The host's process 1, as this machine counts. */
  #leader = 0;

  /**
   * @param host Its network.
   * @param root The root folder below its overlay.
   */
  constructor(readonly host: Host, readonly root: string) {}

  get #folder(): string {
    return `${this.host.folder}/systemd`;
  }

  /** A folder of this machine that is `/srv` inside. */
  get shared(): string {
    return `${this.#folder}/srv`;
  }

  /** Starts it and waits until systemd has started everything. */
  async boot(): Promise<void> {
    const binds = [...OWN_FOLDERS, "/srv"].map((path) => ({
      path,
      from: `${this.#folder}/${path.split("/").at(-1)}`,
    }));
    for (const folder of ["upper", "work", "root"]) {
      await Deno.mkdir(`${this.#folder}/${folder}`, { recursive: true });
    }
    for (const { from } of binds) await Deno.mkdir(from, { recursive: true });
    const options = binds.map(({ from, path }) => `--bind=${from}:${path}`);
    const { name } = this.host;
    // Not in the network namespace yet: nspawn enters it.
    this.#nspawn = new Deno.Command("unshare", {
      args: [
        ...["--mount", "--propagation", "private", "sh", "-ec", BOOT, "sh"],
        ...[this.root, this.#folder, name, name, ...options],
      ],
      env: NSPAWN_ENVIRONMENT,
      stdin: "null",
      stdout: "null",
      stderr: "inherit",
    }).spawn();
    const nspawn = this.#nspawn;
    this.host.children.add(nspawn);
    void nspawn.status.then(() => this.host.children.delete(nspawn));
    await until(`${name} to boot`, () => this.#isUp(nspawn.pid), BOOT_LIMIT);
    const failed = await this.sh("systemctl --failed --no-legend");
    if (failed !== "") throw new Error(`units of ${name} failed: ${failed}`);
  }

  async #isUp(nspawn: number): Promise<boolean> {
    const children = await Deno.readTextFile(`/proc/${nspawn}/task/${nspawn}/children`);
    this.#leader = Number(children.trim().split(" ")[0]);
    if (!(this.#leader > 0)) return false;
    const { stdout: state } = await this.exec(["systemctl", "is-system-running"], { mayFail: true });
    return ["running", "degraded"].includes(state.trim());
  }

  /** Runs a program inside to its end. @throws {Error} If its status isn't 0; not with `mayFail`. */
  exec(command: readonly string[], options?: RunOptions): Promise<Finished> {
    if (this.#leader === 0) throw new Error(`${this.host.name} isn't booted`);
    const enter = ["nsenter", "-t", `${this.#leader}`, "-m", "-u", "-i", "-n", "-p", "-C"];
    // This machine's folder for temporary files may not be there.
    return run([...enter, "env", "--unset=TMPDIR", ...command], options);
  }

  /** Runs a shell script inside. @returns What it printed, without the last line's end. */
  async sh(script: string): Promise<string> {
    return (await this.exec(["sh", "-ec", script])).stdout.trimEnd();
  }

  /** What a unit logged in this boot, or all of them. */
  async journal(unit?: string): Promise<string> {
    const which = unit === undefined ? [] : [`--unit=${unit}`];
    return (await this.exec(["journalctl", "--no-pager", "--output=cat", "--boot", ...which])).stdout;
  }

  /** A property of a unit, as `systemctl show` prints it. */
  async property(unit: string, name: string): Promise<string> {
    return await this.sh(`systemctl show --value --property=${name} ${unit}`);
  }

  /** An orderly halt, as of a machine that is switched off. */
  async halt(): Promise<void> {
    const nspawn = this.#nspawn;
    if (nspawn === undefined) return;
    this.#nspawn = undefined;
    this.#leader = 0;
    nspawn.kill("SIGTERM");
    // A second one ends it at once.
    const timer = setTimeout(() => nspawn.kill("SIGTERM"), HALT_LIMIT);
    await nspawn.status;
    clearTimeout(timer);
    await removeCgroup(this.host.name);
  }

  /**
   * A reboot: halt and boot. What a kernel would lose with it goes, as the network namespace stays: every link but the
   * loopback and eth0, and the firewall.
   */
  async reboot(): Promise<void> {
    await this.halt();
    const links = await this.host.ipJson("link", "show");
    for (const { ifname } of links) {
      if (ifname === "lo" || ifname === "eth0") continue;
      await this.host.exec(["ip", "link", "delete", `${ifname}`], { mayFail: true });
    }
    await this.host.exec(["nft", "flush", "ruleset"]);
    await this.boot();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const nspawn = this.#nspawn;
    if (nspawn === undefined) return;
    this.#nspawn = undefined;
    // Nothing of it is kept: no need for an orderly end.
    if (this.#leader > 0) Deno.kill(this.#leader, "SIGKILL");
    else nspawn.kill("SIGKILL");
    await nspawn.status;
    await removeCgroup(this.host.name);
  }
}
