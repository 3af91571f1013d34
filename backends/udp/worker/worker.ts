/**
 * The forwarder's worker: a thread that does nothing but forward.
 *
 * @module
 */
import { messageOf } from "../../../lib/errors.ts";
import { forward } from "./forwarder.ts";
import type { WorkerEnd, WorkerMessage, WorkerSetup } from "../shared/worker_messages.ts";

const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<WorkerSetup>) => void) | null;
  postMessage(message: WorkerMessage): void;
};

scope.onmessage = ({ data }) => {
  let end: WorkerEnd;
  try {
    end = forward(data, () => scope.postMessage({ kind: "running" }));
  } catch (error) {
    end = { kind: "failed", message: messageOf(error) };
  }
  scope.postMessage(end);
};
