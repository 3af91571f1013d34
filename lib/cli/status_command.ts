import type { Invocation } from "./parse.ts";
export function statusCommand(_: Invocation): Promise<number> {
  return Promise.resolve(0);
}
