/**
 * Who may do what on the fake API server: bearer tokens that expire, client certificates, RBAC rules.
 *
 * @module
 */
import { StatusError } from "./objects.ts";

/** What a rule allows; a resource with a slash is a subresource. */
export interface Rule {
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

/** The rules of flannel's own ClusterRole. */
export const FLANNEL_RULES: readonly Rule[] = [
  { resources: ["pods"], verbs: ["get"] },
  { resources: ["nodes"], verbs: ["get", "list", "watch"] },
  { resources: ["nodes/status"], verbs: ["patch"] },
];

/** Everything. */
export const ADMIN_RULES: readonly Rule[] = [{ resources: ["*"], verbs: ["*"] }];

/** Users by token or certificate, and what each may do. */
export class Access {
  readonly #tokens = new Map<string, { user: string; until: number }>();
  readonly #rules = new Map<string, readonly Rule[]>();

  /** Lets a token in as a user. @param seconds How long; default: without an end. */
  addToken(token: string, user: string, seconds = Infinity): void {
    this.#tokens.set(token, { user, until: performance.now() + seconds * 1000 });
  }

  /** The token is refused from now on. */
  revokeToken(token: string): void {
    this.#tokens.delete(token);
  }

  /** Replaces a user's rules. */
  setRules(user: string, rules: readonly Rule[]): void {
    this.#rules.set(user, rules);
  }

  /** The user of a request. @throws {StatusError} 401. */
  userOf(authorization: string | undefined, certificateName: string | undefined): string {
    const token = /^Bearer (.+)$/.exec(authorization ?? "")?.[1];
    const known = token === undefined ? undefined : this.#tokens.get(token);
    if (known && performance.now() < known.until) return known.user;
    if (token === undefined && certificateName !== undefined) return certificateName;
    throw new StatusError(401, "Unauthorized", "Unauthorized");
  }

  /** @throws {StatusError} 403 where no rule allows it. */
  check(user: string, verb: string, resource: string, scope = "at the cluster scope"): void {
    const allows = (list: readonly string[], word: string) => list.includes("*") || list.includes(word);
    const rules = this.#rules.get(user) ?? [];
    if (rules.some((rule) => allows(rule.resources, resource) && allows(rule.verbs, verb))) return;
    const what = `cannot ${verb} resource "${resource}" in API group "" ${scope}`;
    throw new StatusError(403, "Forbidden", `${resource} is forbidden: User "${user}" ${what}`);
  }
}
