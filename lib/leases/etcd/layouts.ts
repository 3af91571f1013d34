/**
 * The messages of etcd's v3 API that are used, field by field (etcd, api/etcdserverpb/rpc.proto and
 * api/mvccpb/kv.proto), and the path of each call. Fields that nobody reads are left out.
 *
 * @module
 */
import type {
  Calls,
  Compare,
  Header,
  KeepAliveResponse,
  KeyValue,
  RangeRequest,
  RangeResponse,
  RequestOp,
  TxnRequest,
  TxnResponse,
  WatchEvent,
  WatchRequest,
  WatchResponse,
} from "./messages.ts";
import { Layout } from "./protobuf.ts";

/** How to make a call: the request's layout, the response's, and the path. */
export interface Method<Request extends object, Response extends object> {
  readonly path: string;
  readonly request: Layout<Request>;
  readonly response: Layout<Response>;
}

type PutRequest = NonNullable<RequestOp["request_put"]>;
type DeleteRequest = NonNullable<RequestOp["request_delete_range"]>;
type ResponseOp = TxnResponse["responses"][number];
type PutResponse = NonNullable<ResponseOp["response_put"]>;
type DeleteResponse = NonNullable<ResponseOp["response_delete_range"]>;

const HEADER = new Layout<Header>({
  cluster_id: [1, "uint64"],
  revision: [3, "int64"],
  raft_term: [4, "uint64"],
});

const KEY_VALUE = new Layout<KeyValue>({
  key: [1, "bytes"],
  create_revision: [2, "int64"],
  mod_revision: [3, "int64"],
  value: [5, "bytes"],
  lease: [6, "int64"],
});

const RANGE_REQUEST = new Layout<RangeRequest>({
  key: [1, "bytes"],
  range_end: [2, "bytes"],
  limit: [3, "int64"],
  revision: [4, "int64"],
  sort_order: [5, ["None", "Ascend", "Descend"]],
  sort_target: [6, ["Key", "Version", "Create", "Mod", "Value"]],
  keys_only: [8, "bool"],
});

const RANGE_RESPONSE = new Layout<RangeResponse>({
  header: [1, HEADER],
  kvs: [2, KEY_VALUE, "many"],
  more: [3, "bool"],
  count: [4, "int64"],
});

const PUT_REQUEST = new Layout<PutRequest>({
  key: [1, "bytes"],
  value: [2, "bytes"],
  lease: [3, "int64"],
  prev_kv: [4, "bool"],
});

const PUT_RESPONSE = new Layout<PutResponse & { header: Header }>({
  header: [1, HEADER],
  prev_kv: [2, KEY_VALUE],
});

const DELETE_REQUEST = new Layout<DeleteRequest>({ key: [1, "bytes"], prev_kv: [3, "bool"] });

const DELETE_RESPONSE = new Layout<DeleteResponse>({ prev_kvs: [3, KEY_VALUE, "many"] });

const COMPARE = new Layout<Compare>({
  result: [1, ["Equal", "Greater", "Less", "NotEqual"]],
  target: [2, ["Version", "Create", "Mod", "Value", "Lease"]],
  key: [3, "bytes"],
  version: [4, "int64"],
  mod_revision: [6, "int64"],
});

const REQUEST_OP = new Layout<RequestOp>({
  request_range: [1, RANGE_REQUEST],
  request_put: [2, PUT_REQUEST],
  request_delete_range: [3, DELETE_REQUEST],
});

const RESPONSE_OP = new Layout<ResponseOp>({
  response_range: [1, RANGE_RESPONSE],
  response_put: [2, PUT_RESPONSE],
  response_delete_range: [3, DELETE_RESPONSE],
});

const TXN_REQUEST = new Layout<TxnRequest>({
  compare: [1, COMPARE, "many"],
  success: [2, REQUEST_OP, "many"],
  failure: [3, REQUEST_OP, "many"],
});

const TXN_RESPONSE = new Layout<TxnResponse>({
  header: [1, HEADER],
  succeeded: [2, "bool"],
  responses: [3, RESPONSE_OP, "many"],
});

const EVENT = new Layout<WatchEvent>({ type: [1, ["Put", "Delete"]], kv: [2, KEY_VALUE] });

const WATCH_CREATE = new Layout<WatchRequest["create_request"]>({
  key: [1, "bytes"],
  range_end: [2, "bytes"],
  start_revision: [3, "int64"],
  progress_notify: [4, "bool"],
  fragment: [8, "bool"],
});

/** The calls with one answer. */
export const METHODS: { readonly [N in keyof Calls]: Method<Calls[N]["request"], Calls[N]["response"]> } = {
  "KV.range": { path: "KV/Range", request: RANGE_REQUEST, response: RANGE_RESPONSE },
  "KV.txn": { path: "KV/Txn", request: TXN_REQUEST, response: TXN_RESPONSE },
  "KV.put": {
    path: "KV/Put",
    request: new Layout<Calls["KV.put"]["request"]>({ key: [1, "bytes"], value: [2, "bytes"] }),
    response: new Layout<Calls["KV.put"]["response"]>({ header: [1, HEADER] }),
  },
  "Lease.leaseGrant": {
    path: "Lease/LeaseGrant",
    request: new Layout<Calls["Lease.leaseGrant"]["request"]>({ TTL: [1, "int64"], ID: [2, "int64"] }),
    response: new Layout<Calls["Lease.leaseGrant"]["response"]>({
      header: [1, HEADER],
      ID: [2, "int64"],
      error: [4, "string"],
    }),
  },
  "Lease.leaseTimeToLive": {
    path: "Lease/LeaseTimeToLive",
    request: new Layout<Calls["Lease.leaseTimeToLive"]["request"]>({ ID: [1, "int64"], keys: [2, "bool"] }),
    response: new Layout<Calls["Lease.leaseTimeToLive"]["response"]>({
      header: [1, HEADER],
      TTL: [3, "int64"],
      grantedTTL: [4, "int64"],
      keys: [5, "bytes", "many"],
    }),
  },
  "Lease.leaseRevoke": {
    path: "Lease/LeaseRevoke",
    request: new Layout<Calls["Lease.leaseRevoke"]["request"]>({ ID: [1, "int64"] }),
    response: new Layout<Calls["Lease.leaseRevoke"]["response"]>({ header: [1, HEADER] }),
  },
  "Auth.authenticate": {
    path: "Auth/Authenticate",
    request: new Layout<Calls["Auth.authenticate"]["request"]>({
      name: [1, "string"],
      password: [2, "string"],
    }),
    response: new Layout<Calls["Auth.authenticate"]["response"]>({
      header: [1, HEADER],
      token: [2, "string"],
    }),
  },
};

/** The watch stream. */
export const WATCH: Method<WatchRequest, WatchResponse> = {
  path: "Watch/Watch",
  request: new Layout<WatchRequest>({ create_request: [1, WATCH_CREATE] }),
  response: new Layout<WatchResponse>({
    header: [1, HEADER],
    watch_id: [2, "int64"],
    created: [3, "bool"],
    canceled: [4, "bool"],
    compact_revision: [5, "int64"],
    cancel_reason: [6, "string"],
    fragment: [7, "bool"],
    events: [11, EVENT, "many"],
  }),
};

/** The stream that keeps an etcd lease alive. */
export const KEEP_ALIVE: Method<{ readonly ID: string }, KeepAliveResponse> = {
  path: "Lease/LeaseKeepAlive",
  request: new Layout<{ readonly ID: string }>({ ID: [1, "int64"] }),
  response: new Layout<KeepAliveResponse>({ TTL: [3, "int64"] }),
};
