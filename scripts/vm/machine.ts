/**
 * A virtual machine with a kernel of Debian's, whose root is this machine's own, under an overlay in memory.
 *
 * QEMU emulates the processor (TCG), so no KVM is needed; inside, everything takes about ten times as long.
 *
 * @module
 */
import { run } from "../lab/process.ts";
import { type Kernel, readKernel } from "./kernel.ts";

const VIRTIOFSD = "/usr/lib/qemu/virtiofsd";

/** One that runs so long is stuck, in milliseconds: it takes a third of it where nothing else runs. */
const LIMIT_MS = 720_000;

/** What the console prints last, with the command's exit status. */
const STATUS = /^vm: ended with (\d+)/m;

/** Modules that the machine needs to see its root. */
const EARLY_MODULES: readonly string[] = [
  ...["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"],
  ...["fuse", "virtiofs", "overlay"],
];

/** Runs a command inside and prints what it prints. @returns Its exit status; 1 if the machine ends without one. */
export async function runInMachine(command: readonly string[]): Promise<number> {
  const kernel = await readKernel();
  const folder = await Deno.makeTempDir({ prefix: "flanneld-vm-run-" });
  try {
    const initrd = await makeInitrd(folder, kernel, command);
    const socket = `${folder}/virtiofsd.sock`;
    const share = new Deno.Command(VIRTIOFSD, {
      args: [`--socket-path=${socket}`, "-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot"],
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      return await boot(kernel, initrd, socket);
    } finally {
      kill(share);
      await share.status;
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // Ended with its client.
  }
}

async function boot(kernel: Kernel, initrd: string, socket: string): Promise<number> {
  const memory = "2048M";
  const machine = new Deno.Command("qemu-system-x86_64", {
    args: [
      ...["-M", "q35", "-cpu", "max", "-smp", "2", "-m", memory, "-accel", "tcg,thread=multi"],
      ...["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"],
      ...["-object", `memory-backend-memfd,id=mem,size=${memory},share=on`, "-numa", "node,memdev=mem"],
      ...["-chardev", `socket,id=root,path=${socket}`, "-device", "vhost-user-fs-pci,chardev=root,tag=root"],
      ...["-kernel", kernel.image, "-initrd", initrd],
      ...["-append", "console=ttyS0 quiet apparmor=0 oops=panic panic=-1 mitigations=off"],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const timer = setTimeout(() => {
    console.error(`vm: still running after ${LIMIT_MS / 1000} s, ended`);
    kill(machine);
  }, LIMIT_MS);
  let printed = "";
  for await (const text of machine.stdout.pipeThrough(new TextDecoderStream())) {
    printed = (printed + text).slice(-10_000);
    await Deno.stdout.write(new TextEncoder().encode(text.replaceAll("\r", "")));
  }
  clearTimeout(timer);
  await machine.status;
  return Number(STATUS.exec(printed)?.[1] ?? 1);
}

/** The first programs of the machine: they mount its root and hand over to it. */
async function makeInitrd(folder: string, kernel: Kernel, command: readonly string[]): Promise<string> {
  const root = `${folder}/initrd`;
  for (const name of ["bin", "modules", "proc", "sys", "dev", "lower", "memory", "root"]) {
    await Deno.mkdir(`${root}/${name}`, { recursive: true });
  }
  await Deno.copyFile("/bin/busybox", `${root}/bin/busybox`);
  for (const name of EARLY_MODULES) await Deno.copyFile(kernel.module(name), `${root}/modules/${name}.ko`);
  await Deno.writeTextFile(`${root}/init`, initScript(), { mode: 0o755 });
  await Deno.writeTextFile(`${root}/start`, startScript(kernel, command), { mode: 0o755 });
  const image = `${folder}/initrd.cpio`;
  await run(["sh", "-c", 'cd "$0" && find . | cpio --quiet -o -H newc >"$1"', root, image]);
  return image;
}

function initScript(): string {
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in ${EARLY_MODULES.join(" ")}; do insmod /modules/$module.ko; done
mount -t virtiofs root /lower || echo "vm: the root can't be mounted"
mount -t tmpfs memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work root /root
for folder in proc sys dev; do mount --move /$folder /root/$folder; done
mount -t tmpfs run /root/run
mount -t tmpfs tmp /root/mnt
cp /start /root/mnt/start
exec switch_root /root /mnt/start
`;
}

function startScript({ modules, version }: Kernel, command: readonly string[]): string {
  const words = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  return `#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NO_COLOR=1 TMPDIR=/mnt
mkdir -p /lib/modules/${version}
mount --bind ${modules} /lib/modules/${version}
mkdir -p /run/netns /run/lock
mount -t devpts devpts /dev/pts 2>/dev/null || { mkdir -p /dev/pts; mount -t devpts devpts /dev/pts; }
mount -t tmpfs shm /dev/shm 2>/dev/null
ip link set lo up
${words} 2>&1
echo "vm: ended with $?"
sync
echo o >/proc/sysrq-trigger
# Waits without a program: the root may be gone before the machine is off.
while :; do :; done
`;
}
