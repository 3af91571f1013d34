import type { Invocation } from "./parse.ts";
export function doctorCommand(_: Invocation): Promise<number> {
  return Promise.resolve(0);
}
