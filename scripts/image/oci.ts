/**
 * An OCI image layout in a tar, made of folders: for `ctr images import`, `podman load`, `docker load` and kind.
 *
 * The same folders give the same bytes: names are sorted, times and owners fixed.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { join } from "../build/paths.ts";
import { run } from "../build/run.ts";

/** What every file's time is, in seconds since 1970; SOURCE_DATE_EPOCH says another. */
const EPOCH = Number(Deno.env.get("SOURCE_DATE_EPOCH") ?? 0);

/** An image of one machine. */
export interface Platform {
  /** As Debian and OCI name it. */
  readonly architecture: string;
  /** The layers' folders, the lowest first. */
  readonly layers: readonly string[];
}

/** What images of all machines have in common. */
export interface ImageOptions {
  /** `localhost/flanneld:1.2.3`. */
  readonly name: string;
  readonly version: string;
  readonly commit: string;
  readonly entrypoint: readonly string[];
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const TYPES = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
};

/** Writes the tar. */
export async function writeImage(
  out: string,
  platforms: readonly Platform[],
  options: ImageOptions,
  scratch: string,
): Promise<void> {
  const layout = join(scratch, "layout");
  await Deno.mkdir(join(layout, "blobs/sha256"), { recursive: true });
  const made = [];
  for (const platform of platforms) made.push(await writePlatform(layout, platform, options));
  const annotations = {
    "org.opencontainers.image.ref.name": options.name.split(":").at(-1)!,
    "io.containerd.image.name": options.name,
  };
  const manifests = made.map(({ manifest, architecture }) => ({
    ...manifest,
    platform: { architecture, os: "linux" },
  }));
  // With one machine the manifest itself has the name; with several an index of them has.
  const named = manifests.length === 1
    ? manifests[0]!
    : await writeBlob(layout, { schemaVersion: 2, mediaType: TYPES.index, manifests }, TYPES.index);
  await writeJson(layout, "index.json", {
    schemaVersion: 2,
    mediaType: TYPES.index,
    manifests: [{ ...named, annotations }],
  });
  await writeJson(layout, "oci-layout", { imageLayoutVersion: "1.0.0" });
  // Dockers before 25 read this, and the first machine only.
  const blob = ({ digest }: Descriptor) => `blobs/sha256/${digest.slice(7)}`;
  const { config, layers } = made[0]!;
  await writeJson(layout, "manifest.json", [{
    Config: blob(config),
    RepoTags: [options.name],
    Layers: layers.map(blob),
  }]);
  await tar(layout, `${out}.new`);
  await Deno.rename(`${out}.new`, out);
}

async function writePlatform(layout: string, { architecture, layers }: Platform, options: ImageOptions) {
  const descriptors: Descriptor[] = [], diffIds: string[] = [];
  for (const [index, folder] of layers.entries()) {
    const path = join(layout, `../layer-${architecture}-${index}.tar`);
    await tar(folder, path);
    const bytes = await Deno.readFile(path);
    await Deno.remove(path);
    diffIds.push(digestOf(bytes));
    descriptors.push(await writeBytes(layout, gzipSync(bytes, { level: 9 }), TYPES.layer));
  }
  const created = new Date(EPOCH * 1000).toISOString().replace(".000", "");
  const config = await writeBlob(layout, {
    created,
    architecture,
    os: "linux",
    config: {
      Entrypoint: options.entrypoint,
      Env: ["PATH=/usr/sbin:/usr/bin"],
      WorkingDir: "/",
      Labels: {
        "org.opencontainers.image.title": "flanneld",
        "org.opencontainers.image.version": options.version,
        "org.opencontainers.image.revision": options.commit,
        "org.opencontainers.image.licenses": "Apache-2.0",
      },
    },
    rootfs: { type: "layers", diff_ids: diffIds },
    history: ["nft, iptables, busybox from Debian", "flanneld"].slice(0, layers.length).map((comment) => ({
      created,
      comment,
    })),
  }, TYPES.config);
  const manifest = await writeBlob(
    layout,
    { schemaVersion: 2, mediaType: TYPES.manifest, config, layers: descriptors },
    TYPES.manifest,
  );
  return { manifest, config, layers: descriptors, architecture };
}

function writeBlob(layout: string, value: object, mediaType: string): Promise<Descriptor> {
  return writeBytes(layout, new TextEncoder().encode(JSON.stringify(value)), mediaType);
}

async function writeBytes(layout: string, bytes: Uint8Array, mediaType: string): Promise<Descriptor> {
  const digest = digestOf(bytes);
  await Deno.writeFile(join(layout, "blobs/sha256", digest.slice(7)), bytes);
  return { mediaType, digest, size: bytes.length };
}

async function writeJson(layout: string, name: string, value: object): Promise<void> {
  await Deno.writeTextFile(join(layout, name), JSON.stringify(value));
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

async function tar(folder: string, out: string): Promise<void> {
  await run(folder, [
    ...["tar", "--create", "--file", out, "--format=gnu", "--sort=name", `--mtime=@${EPOCH}`] as const,
    ...["--owner=0", "--group=0", "--numeric-owner", "--mode=go-w", "."],
  ]);
}
