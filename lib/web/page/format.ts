/**
 * Numbers and times for people. Pure.
 *
 * @module
 */

/** `3 s`, `12 min`, `5 h 10 min`, `3 d`. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.round(hours / 24)} d`;
}

/** `1.2 MB`, with a suffix like `/s`. */
export function bytes(count: number, suffix = ""): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; count >= 999.5 && unit < units.length - 1; unit++) count /= 1000;
  return `${short(count)} ${units[unit]}${suffix}`;
}

/** Three digits at most, and no zeros at the end: `3`, `0.31`, `12.4`. */
export function short(value: number): string {
  return value >= 99.5 ? value.toFixed(0) : String(Number(value.toFixed(value >= 9.95 ? 1 : 2)));
}

/** `0.42 ms`. */
export function roundTrip(ms: number): string {
  return `${short(ms)} ms`;
}

/** `0 %`, `12 %`. */
export function percent(share: number): string {
  if (share === 0) return "0 %";
  return share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;
}

/** `2,000`. */
export function numbered(count: number): string {
  return count.toLocaleString("en-US");
}

/** `2,000 peers`. */
export function counted(count: number, noun: string): string {
  return `${numbered(count)} ${noun}${count === 1 ? "" : "s"}`;
}
