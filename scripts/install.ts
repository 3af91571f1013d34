/**
 * Installs the built executable with its units and snippets, or takes all of it away again.
 *
 *     deno task install      DESTDIR= and PREFIX= (/usr/local) from the environment
 *     deno task uninstall    with the same two
 *
 * @module
 */
import { dirname, fromFileUrl } from "./build/paths.ts";
import { completion } from "./install/completion.ts";
import { install, type Target, uninstall } from "./install/files.ts";
import { foldersBelow, installedFiles } from "./install/layout.ts";
import { runScript } from "./run_script.ts";

const CHECKOUT = dirname(dirname(fromFileUrl(import.meta.url)));

function targetFromEnvironment(): Target {
  const destdir = (Deno.env.get("DESTDIR") ?? "").replace(/\/+$/, "");
  const prefix = (Deno.env.get("PREFIX") || "/usr/local").replace(/(?<=.)\/+$/, "");
  return { checkout: CHECKOUT, destdir, folders: foldersBelow(prefix) };
}

async function installHere(): Promise<void> {
  Deno.umask(0o022);
  const target = targetFromEnvironment();
  const binary = Deno.env.get("FLANNELD_BINARY") || `${CHECKOUT}/dist/flanneld`;
  const files = installedFiles(target.folders, { binary, completion });
  try {
    await Deno.stat(binary);
  } catch (cause) {
    throw new Error(`${binary} isn't there: run "deno task build" first`, { cause });
  }
  for (const path of await install(target, files)) console.log(target.destdir + path);
  if (target.destdir !== "") return;
  console.log("\nSet the options in /etc/default/flanneld, then:");
  console.log("  systemctl daemon-reload && systemctl enable --now flanneld");
}

async function uninstallHere(): Promise<void> {
  const target = targetFromEnvironment();
  const { removed, kept } = await uninstall(target);
  for (const path of removed) console.log(`removed ${target.destdir}${path}`);
  for (const path of kept) console.log(`kept ${target.destdir}${path}: it was changed`);
}

if (import.meta.main) {
  await runScript("install", async () => {
    const [command] = Deno.args;
    if (command === "install") await installHere();
    else if (command === "uninstall") await uninstallHere();
    else throw new Error(`${command ?? "no command"}: must be install or uninstall`);
  });
}
