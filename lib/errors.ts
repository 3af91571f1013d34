/**
 * Errors as text.
 *
 * @module
 */

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Why a file operation failed, fit to stand behind "Cannot write PATH: ": without the operation's own name and the name
 * of a temporary file.
 */
export function fileFault(error: unknown): string {
  if (error instanceof Deno.errors.NotCapable) {
    return "flanneld isn't allowed to write there; name a file in another folder";
  }
  return messageOf(error).replace(/ \(os error \d+\).*$/s, "");
}

/** The message of an error, with its causes; a stack trace where the error is a programming mistake. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isMistake = error instanceof TypeError || error instanceof ReferenceError ||
    error instanceof RangeError;
  if (isMistake && error.stack) return error.stack;
  const parts = [error.message];
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
    if (!parts.some((part) => part.includes((cause as Error).message))) parts.push(cause.message);
  }
  return parts.join(": ");
}
