import type { Invocation } from "./parse.ts";
export function cleanupCommand(_: Invocation): Promise<number> {
  return Promise.resolve(0);
}
