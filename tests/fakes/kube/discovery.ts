/**
 * What kubectl asks for before it does anything.
 *
 * @module
 */

const VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"];

const resource = (name: string, kind: string, namespaced: boolean, shortNames: string[] = []) => ({
  name,
  singularName: "",
  namespaced,
  kind,
  verbs: VERBS,
  shortNames,
});

/** Answers by path. */
export const DISCOVERY: Readonly<Record<string, object>> = {
  "/version": {
    major: "1",
    minor: "34",
    gitVersion: "v1.34.0-fake",
    gitCommit: "",
    gitTreeState: "clean",
    buildDate: "2026-01-01T00:00:00Z",
    goVersion: "",
    compiler: "",
    platform: "linux/amd64",
  },
  "/api": { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] },
  "/apis": { kind: "APIGroupList", apiVersion: "v1", groups: [] },
  "/api/v1": {
    kind: "APIResourceList",
    groupVersion: "v1",
    resources: [
      resource("nodes", "Node", false, ["no"]),
      { ...resource("nodes/status", "Node", false), verbs: ["get", "patch", "update"] },
      resource("pods", "Pod", true, ["po"]),
      resource("namespaces", "Namespace", false, ["ns"]),
      resource("events", "Event", true, ["ev"]),
      resource("configmaps", "ConfigMap", true, ["cm"]),
    ],
  },
};

/** Kind of each resource. */
export const KINDS: Readonly<Record<string, string>> = {
  nodes: "Node",
  pods: "Pod",
  namespaces: "Namespace",
  events: "Event",
  configmaps: "ConfigMap",
};
