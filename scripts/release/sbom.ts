/**
 * The bill of materials of a release: CycloneDX 1.5 as JSON. Pure.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { DebianPackage } from "../image/root.ts";

/** A package of npm, as deno.lock has it. */
export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  /** As npm writes it: `sha512-BASE64`. */
  readonly integrity: string;
  /** Of its package.json; undefined where that says nothing. */
  readonly licence: string | undefined;
}

/** The Deno that an executable carries. */
export interface Runtime {
  readonly architecture: string;
  /** Undefined where it was given as a file for another machine, which can't be asked. */
  readonly version: string | undefined;
  readonly sha256: string;
}

/** What a release is made of. */
export interface Materials {
  readonly version: string;
  /** The whole commit. */
  readonly commit: string;
  /** Seconds since 1970. */
  readonly epoch: number;
  readonly npm: readonly NpmPackage[];
  readonly runtimes: readonly Runtime[];
  /** What of Debian is in the image, by machine. */
  readonly debian: Readonly<Record<string, readonly DebianPackage[]>>;
}

/** The document. The same materials give the same bytes. */
export function billOfMaterials(materials: Materials): string {
  const { version, commit, epoch, npm, runtimes, debian } = materials;
  const components = [
    ...runtimes.map(runtimeComponent),
    ...npm.map(npmComponent),
    ...Object.values(debian).flatMap((packages) => packages.map(debianComponent)),
  ];
  const document = {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    serialNumber: `urn:uuid:${uuidOf(`${commit} ${components.map((one) => one["bom-ref"]).join(" ")}`)}`,
    version: 1,
    metadata: {
      timestamp: new Date(epoch * 1000).toISOString().replace(".000", ""),
      component: {
        "type": "application",
        "bom-ref": `flanneld@${version}`,
        "name": "flanneld",
        "version": `${version}+${commit.slice(0, 12)}`,
        "licenses": [{ license: { id: "Apache-2.0" } }],
      },
    },
    components: unique(components),
  };
  return `${JSON.stringify(document, undefined, 1)}\n`;
}

type Component = { readonly "bom-ref": string; readonly [key: string]: unknown };

function runtimeComponent({ architecture, version, sha256 }: Runtime): Component {
  return {
    "type": "platform",
    "bom-ref": `deno@${version ?? sha256} ${architecture}`,
    "name": "deno",
    ...version === undefined ? {} : { version },
    "description": `The runtime in the executable for ${architecture}`,
    "hashes": [{ alg: "SHA-256", content: sha256 }],
    "licenses": [{ license: { id: "MIT" } }],
  };
}

function npmComponent({ name, version, integrity, licence }: NpmPackage): Component {
  const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
  const [algorithm = "", base64 = ""] = integrity.split("-", 2);
  const content = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0)).toHex();
  return {
    "type": "library",
    "bom-ref": purl,
    name,
    version,
    "hashes": [{ alg: algorithm.replace(/^sha/, "SHA-"), content }],
    ...licence === undefined ? {} : { licenses: [{ expression: licence }] },
    purl,
  };
}

function debianComponent({ name, version, architecture, sha256, licences }: DebianPackage): Component {
  const purl = `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}`;
  return {
    "type": "library",
    "bom-ref": purl,
    name,
    version,
    "description": "In the image",
    "hashes": [{ alg: "SHA-256", content: sha256 }],
    // Debian's names aren't those of SPDX; where its file isn't in the machine-readable form the image has the text.
    "licenses": licences.length === 0
      ? [{ license: { name: `see /usr/share/doc/${name}/copyright in the image` } }]
      : licences.map((licence) => ({ license: { name: licence } })),
    purl,
  };
}

/** Packages for every machine are in the images of all of them. */
function unique(components: readonly Component[]): Component[] {
  return [...new Map(components.map((one) => [one["bom-ref"], one])).values()];
}

/** A UUID that stands for a text (RFC 9562, 5.8: version 8, of one's own making). */
function uuidOf(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex");
  const variant = (parseInt(hex[16]!, 16) & 3 | 8).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join("-");
}

/** The changelog's part about one version, without its heading. @throws {Error} If there is none. */
export function changesOf(changelog: string, version: string): string {
  const parts = changelog.split(/^## /m);
  const part = parts.find((one) => one === version || /^\S+/.exec(one)?.[0] === version);
  if (part === undefined) throw new Error(`CHANGELOG.md has no part "## ${version}"`);
  return `${part.slice(part.indexOf("\n") + 1).trim()}\n`;
}
