/**
 * The metadata server of a Cloud Virtual Machine.
 *
 * @module
 */
import { CloudError } from "../cloud/errors.ts";
import { askMetadata, type MetadataAnswer } from "../cloud/metadata.ts";

/** Where every instance finds it: by name, and by address where the host's resolver isn't Tencent's. */
export const TENCENT_METADATA: readonly string[] = ["http://metadata.tencentyun.com", "http://169.254.0.23"];
/** The name that the server expects, whatever address it is reached at. */
const HOST = "metadata.tencentyun.com";

/** A client of the metadata server. */
export class TencentMetadata {
  readonly #bases: readonly string[];
  /** The one that has answered. */
  #base: string | undefined;

  /** @param bases Where it may be, in the order of trying. */
  constructor(bases: readonly string[]) {
    this.#bases = bases;
  }

  /**
   * Reads one value, like `instance-id`.
   *
   * @param name Path below `/latest/meta-data/`.
   * @returns undefined if there is no such value.
   * @throws {CloudError} Of kind `unavailable` without an answer.
   */
  async read(name: string, signal: AbortSignal): Promise<string | undefined> {
    const { status, body } = await this.#ask(`/latest/meta-data/${name}`, signal);
    if (status === 404) return undefined;
    if (status === 200) return body.trim() || undefined;
    throw new CloudError(
      "unavailable",
      `The metadata server at ${new URL(this.#base!).host} answered ${status} for ${name}`,
    );
  }

  /** As {@link read}, for what every instance in a VPC has. @throws {CloudError} Of kind `config` if not. */
  async require(name: string, signal: AbortSignal): Promise<string> {
    const text = await this.read(name, signal);
    if (text !== undefined) return text;
    throw new CloudError(
      "config",
      `The metadata server at ${
        new URL(this.#base!).host
      } has no ${name}: tencent-vpc needs an instance (CVM) in a VPC`,
    );
  }

  async #ask(path: string, signal: AbortSignal): Promise<MetadataAnswer> {
    const bases = this.#base === undefined ? this.#bases : [this.#base];
    let failure: unknown;
    for (const base of bases) {
      try {
        const answer = await askMetadata({ base, path, headers: { host: HOST }, signal });
        this.#base = base;
        return answer;
      } catch (error) {
        signal.throwIfAborted();
        failure ??= error;
      }
    }
    this.#base = undefined;
    throw failure;
  }
}
