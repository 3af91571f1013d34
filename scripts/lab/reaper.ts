/**
 * Takes a lab away when the process that made it is killed: SIGKILL leaves nobody to do it otherwise.
 *
 * @module
 */

/**
 * Waits for the end of its standard input, which the owner holds. Namespaces' processes end before their namespace
 * goes, as a namespace lives on while one of them does.
 */
const SCRIPT = `
cat >/dev/null
for path in /run/netns/"$1"*; do
  name=\${path##*/}
  [ -e "$path" ] || continue
  ip netns pids "$name" | xargs -r kill -9
  ip netns delete "$name"
done
rm -rf -- "$2"
`;

/**
 * Starts a process that outlives this one, and then removes the lab.
 *
 * @param prefix What the names of the lab's namespaces begin with.
 * @param folder The lab's folder for files.
 */
export function startReaper(prefix: string, folder: string): Disposable {
  // A session of its own: Ctrl-C at the terminal doesn't end it.
  const child = new Deno.Command("setsid", {
    args: ["sh", "-c", SCRIPT, "sh", prefix, folder],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  child.unref();
  return { [Symbol.dispose]: () => void child.stdin.close().catch(() => {}) };
}
