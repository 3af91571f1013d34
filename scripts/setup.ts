/**
 * Installs what the demo, the lab tests and the benchmarks need from Debian, and nothing where all is there.
 *
 *     deno run -A scripts/setup.ts [hosts] [page] [vm]
 *
 * With "hosts" also what hosts with a real systemd need: 60 MB, for `deno task test:hosts` only. With "page" a
 * browser and a Prometheus, for `deno task test:page` only. With "vm" what a
 * virtual machine needs, for `deno task vm` only.
 *
 * Ends with 0 where all is there or was installed, and also where it isn't root: what needs no root (the unit
 * tests) can still run, so it only prints what to run by hand. Ends with 1 where root can't install.
 *
 * @module
 */

/** A program that is called, where Debian keeps it, and who calls it. */
interface Requirement {
  readonly program: string;
  readonly debianPackage: string;
}

const REQUIREMENTS: readonly Requirement[] = [
  { program: "ip", debianPackage: "iproute2" },
  { program: "bridge", debianPackage: "iproute2" },
  { program: "etcd", debianPackage: "etcd-server" },
  { program: "etcdctl", debianPackage: "etcd-client" },
  { program: "iptables", debianPackage: "iptables" },
  { program: "nft", debianPackage: "nftables" },
  { program: "ping", debianPackage: "iputils-ping" },
  { program: "iperf3", debianPackage: "iperf3" },
  { program: "ethtool", debianPackage: "ethtool" },
  { program: "wireguard-go", debianPackage: "wireguard-go" },
  { program: "wg", debianPackage: "wireguard-tools" },
  { program: "tcpdump", debianPackage: "tcpdump" },
  { program: "tshark", debianPackage: "tshark" },
  { program: "mandoc", debianPackage: "mandoc" },
  { program: "python3", debianPackage: "python3" },
];

/** What shows the page, and scrapes the metrics: some 400 MB, a minute to install. */
const PAGE_REQUIREMENTS: readonly Requirement[] = [
  { program: "chromium", debianPackage: "chromium" },
  { program: "prometheus", debianPackage: "prometheus" },
  { program: "promtool", debianPackage: "prometheus" },
];

/** What makes and boots hosts with systemd. */
const HOSTS_REQUIREMENTS: readonly Requirement[] = [
  { program: "mmdebstrap", debianPackage: "mmdebstrap" },
  { program: "crun", debianPackage: "crun" },
  { program: "systemd-nspawn", debianPackage: "systemd-container" },
];

/** What a virtual machine with another kernel needs. */
const VM_REQUIREMENTS: readonly Requirement[] = [
  { program: "qemu-system-x86_64", debianPackage: "qemu-system-x86" },
  { program: "virtiofsd", debianPackage: "qemu-system-common" },
  { program: "busybox", debianPackage: "busybox-static" },
  { program: "cpio", debianPackage: "cpio" },
  { program: "depmod", debianPackage: "kmod" },
];

/** A shell of a plain user often lacks the sbin folders, where `ip` and `nft` live. */
const SEARCH_PATH = [
  ...(Deno.env.get("PATH") ?? "").split(":").filter((folder) => folder !== ""),
  "/usr/local/sbin",
  "/usr/sbin",
  "/sbin",
  "/usr/local/bin",
  "/usr/bin",
  "/bin",
  // virtiofsd.
  "/usr/lib/qemu",
];

const POLICY_HELPER = "/usr/sbin/policy-rc.d";

function isInstalled(program: string): boolean {
  return SEARCH_PATH.some((folder) => {
    try {
      const info = Deno.statSync(`${folder}/${program}`);
      return info.isFile && ((info.mode ?? 0) & 0o111) !== 0;
    } catch {
      return false;
    }
  });
}

/** What of the requirements isn't there. */
function missing(): readonly Requirement[] {
  const all = [
    ...REQUIREMENTS,
    ...Deno.args.includes("hosts") ? HOSTS_REQUIREMENTS : [],
    ...Deno.args.includes("page") ? PAGE_REQUIREMENTS : [],
    ...Deno.args.includes("vm") ? VM_REQUIREMENTS : [],
  ];
  return all.filter(({ program }) => !isInstalled(program));
}

function packagesOf(requirements: readonly Requirement[]): readonly string[] {
  return [...new Set(requirements.map(({ debianPackage }) => debianPackage))];
}

/** Runs a program of apt's family; its output appears only when it fails. */
async function run(program: string, args: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    env: { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" },
    stdin: "null",
  }).output();
  if (code === 0) return;
  const text = new TextDecoder();
  const lines = (text.decode(stdout) + text.decode(stderr)).trimEnd().split("\n");
  throw new Error(`${program} ${args.join(" ")} ended with ${code}:\n  ${lines.slice(-15).join("\n  ")}`);
}

/**
 * Keeps packages' services from being started while they are installed: etcd-server's would take port 2379 of
 * this machine. A policy that somebody else put there stays as it is.
 */
async function withoutServiceStarts(install: () => Promise<void>): Promise<void> {
  let ours = false;
  try {
    await Deno.writeTextFile(POLICY_HELPER, "#!/bin/sh\nexit 101\n", { createNew: true, mode: 0o755 });
    ours = true;
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
  try {
    await install();
  } finally {
    if (ours) await Deno.remove(POLICY_HELPER);
  }
}

/** What the package manager enabled stays off after the next boot too. */
async function disableEtcdService(): Promise<void> {
  try {
    // systemd runs this machine only where this folder is there (sd_booted(3)).
    await Deno.stat("/run/systemd/system");
    await run("systemctl", ["disable", "--now", "etcd.service"]);
    console.log("setup: switched etcd's system service off (tests start etcds of their own)");
  } catch {
    // No systemd, or no such unit: nothing would start it.
  }
}

async function install(packages: readonly string[]): Promise<void> {
  console.log(`setup: installing ${packages.join(", ")}`);
  console.log("setup: apt-get update");
  await run("apt-get", ["update", "-qq"]);
  console.log(`setup: apt-get install -y --no-install-recommends ${packages.join(" ")}`);
  await withoutServiceStarts(() =>
    run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...packages])
  );
  if (packages.includes("etcd-server")) await disableEtcdService();
}

/** The command a person can run instead. */
function commandFor(packages: readonly string[]): string {
  return `apt-get update && apt-get install -y --no-install-recommends ${packages.join(" ")}`;
}

/** @returns The exit status. */
async function main(): Promise<number> {
  const absent = missing();
  const packages = packagesOf(absent);
  const programs = absent.map(({ program }) => program).join(", ");
  if (Deno.uid() !== 0) {
    console.log("setup: not root: unit tests run; lab tests are skipped; demo and benchmarks need root");
    if (absent.length > 0) {
      console.log(`setup: missing: ${programs}. As root: ${commandFor(packages)}`);
    }
    return 0;
  }
  if (absent.length === 0) return 0;
  console.log(`setup: missing: ${programs}`);
  if (!isInstalled("apt-get")) {
    console.error(
      `setup: no apt-get here. Install these programs by hand; on Debian: ${commandFor(packages)}`,
    );
    return 1;
  }
  try {
    await install(packages);
  } catch (error) {
    console.error(`setup: ${error instanceof Error ? error.message : error}`);
    console.error(`setup: by hand: ${commandFor(packages)}`);
    return 1;
  }
  const still = missing().map(({ program }) => program);
  if (still.length > 0) {
    console.error(`setup: installed ${packages.join(", ")}, but these programs are still missing: ${still}`);
    return 1;
  }
  console.log("setup: done");
  return 0;
}

Deno.exit(await main());
