/**
 * Runs commands in this process's network namespace, a line of stdin each, and prints after each what the probe
 * says, as JSON.
 *
 * @module
 */
import { systemProbe } from "../../lib/firewall/host_probe.ts";

/** What the probe said. */
export interface Stamps {
  readonly generation: number | undefined;
  readonly legacy: number | undefined;
}

if (import.meta.main) {
  using probe = systemProbe();
  const stamps = (): Stamps => ({ generation: probe.generation(), legacy: probe.legacyStamp() });
  const all = [stamps()];
  for (const line of (await new Response(Deno.stdin.readable).text()).trim().split("\n")) {
    const { success, stderr } = await new Deno.Command("sh", { args: ["-ec", line] }).output();
    if (!success) throw new Error(`${line}: ${new TextDecoder().decode(stderr)}`);
    all.push(stamps());
  }
  console.log(JSON.stringify(all));
}
