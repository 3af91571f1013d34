/**
 * A user's session with one etcd server: the token that its calls carry, and when to log in again.
 *
 * etcd's tokens end without notice: simple ones with the server's memory or after --auth-token-ttl, JWTs at
 * their time or with any change of users and roles. And authentication may be switched on or off at any time.
 *
 * @module
 */
import { type CallLimits, untilAborted } from "./limits.ts";

/** What a session's calls carry; no text where the server has no users. An object, so that tokens differ. */
export interface Token {
  readonly text: string | undefined;
}

const NO_TOKEN: Token = { text: undefined };

/** Logs in when it must, once for all calls that wait. */
export class Session {
  readonly #login: ((limits: CallLimits) => Promise<string | undefined>) | undefined;
  #token: Promise<Token> | undefined;

  /** @param login Asks the server for a token; undefined where no user is given. */
  constructor(login: ((limits: CallLimits) => Promise<string | undefined>) | undefined) {
    this.#login = login;
  }

  /** The token for the next call. @throws What the login throws. @throws The signal's reason. */
  token({ signal, ...limits }: CallLimits): Promise<Token> {
    const login = this.#login;
    if (!login) return Promise.resolve(NO_TOKEN);
    if (!this.#token) {
      const token: Promise<Token> = login(limits).then((text) => ({ text }), (error) => {
        if (this.#token === token) this.#token = undefined;
        throw error;
      });
      this.#token = token;
    }
    // Other calls wait for the same login: no caller's signal ends it.
    return untilAborted(this.#token, signal);
  }

  /**
   * To be called when the server refused `token`. The next call logs in again, unless another one has already.
   *
   * @returns Whether a new login may help.
   */
  async refused(token: Token): Promise<boolean> {
    if (!this.#login) return false;
    const current = this.#token;
    if (current && await current.catch(() => undefined) === token && this.#token === current) {
      this.#token = undefined;
    }
    return true;
  }
}
