/**
 * Debian's kernel for virtual machines: downloaded once, unpacked and kept; never installed.
 *
 * @module
 */
import { run } from "../lab/process.ts";

const PACKAGE = "linux-image-cloud-amd64";

/** A kernel's files. */
export interface Kernel {
  readonly version: string;
  /** The kernel itself. */
  readonly image: string;
  /** Its folder of modules, with the index that modprobe reads. */
  readonly modules: string;
  /** The file of a module. @throws {Error} If there is none. */
  module(name: string): string;
}

/** The kernel, downloaded where it isn't there yet. @throws {Error} If it can't be had. */
export async function readKernel(): Promise<Kernel> {
  const name = await packageName();
  const prefix = `${Deno.env.get("TMPDIR") ?? "/tmp"}/flanneld-vm-`;
  const folder = `${prefix}${name}`;
  if (!await Deno.stat(folder).catch(() => undefined)) await download(name, folder);
  const version = name.replace("linux-image-", "");
  const modules = `${folder}/lib/modules/${version}`;
  const files = new Map<string, string>();
  const index = await Deno.readTextFile(`${modules}/modules.dep`);
  for (const path of index.split("\n").map((line) => line.split(":")[0]!)) {
    files.set(path.replace(/^.*\//, "").replace(/\.ko$/, "").replaceAll("-", "_"), `${modules}/${path}`);
  }
  return {
    version,
    image: `${folder}/boot/vmlinuz-${version}`,
    modules,
    module(module) {
      const file = files.get(module);
      if (file === undefined) throw new Error(`${name} has no module ${module}`);
      return file;
    },
  };
}

/** The package of today's version, as `linux-image-6.1.0-40-cloud-amd64`. */
async function packageName(): Promise<string> {
  const { stdout } = await run(["apt-cache", "depends", PACKAGE]);
  const name = /^\s*Depends: (linux-image-\S+)$/m.exec(stdout)?.[1];
  if (name === undefined) throw new Error(`apt-cache knows no ${PACKAGE}: run apt-get update`);
  return name;
}

async function download(name: string, folder: string): Promise<void> {
  const unfinished = `${folder}.new`;
  await Deno.mkdir(unfinished, { recursive: true });
  const script = 'cd "$0" && apt-get download -qq "$1" && dpkg-deb -x ./*.deb . && rm ./*.deb && ' +
    'depmod -b "$0" "${1#linux-image-}"';
  await run(["sh", "-c", script, unfinished, name]);
  await Deno.rename(unfinished, folder);
}
