/**
 * Times for people: one unit, and never so coarse that less than two of it are meant.
 *
 * @module
 */

const UNITS = [[86_400, "d"], [3600, "h"], [60, "m"], [1, "s"]] as const;

/** `45s`, `90s`, `12m`, `26h`, `3d`. @param seconds 0 or more. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [size, unit] = UNITS.find(([size]) => whole >= 2 * size) ?? [1, "s"];
  return `${Math.floor(whole / size)}${unit}`;
}

/** Seconds from an ISO time until `now` (milliseconds since 1970). */
export function secondsSince(time: string, now: number): number {
  return (now - Date.parse(time)) / 1000;
}
