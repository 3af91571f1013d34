/**
 * Containers of a real Docker or containerd on a host with systemd. Their image is a busybox alone.
 *
 * @module
 */
import type { SystemdHost } from "../../scripts/lab/systemd_host.ts";

/** Its program and the only thing in the image. */
const BUSYBOX = "/usr/bin/busybox";
const IMAGE = "box";
/** Without cgroup limits: the lab's cgroups have no controllers. */
const SLEEP = `${BUSYBOX} sleep 1000`;

/** Makes the image in Docker. */
export async function makeImage(host: SystemdHost): Promise<void> {
  await host.sh(`tar -c -C / ${BUSYBOX.slice(1)} | docker import - ${IMAGE}`);
}

/** Starts a container of Docker on docker0. @returns Its address. */
export async function runInDocker(host: SystemdHost, name: string): Promise<string> {
  await host.sh(`docker run --detach --name ${name} ${IMAGE} ${SLEEP}`);
  return await host.sh(`docker inspect --format '{{.NetworkSettings.IPAddress}}' ${name}`);
}

/** Pings from a container of Docker. @returns Whether an answer came. */
export async function pingFromDocker(host: SystemdHost, name: string, address: string): Promise<boolean> {
  const ping = [BUSYBOX, "ping", "-c", "1", "-W", "1", address];
  return (await host.exec(["docker", "exec", name, ...ping], { mayFail: true })).code === 0;
}

/** Takes Docker's image into containerd. */
export async function shareImage(host: SystemdHost): Promise<void> {
  await host.sh(`docker save ${IMAGE} | ctr image import -`);
}

/** Starts a container of containerd with the host's CNI configuration. @returns Its IPv4 address. */
export async function runInContainerd(host: SystemdHost, name: string): Promise<string> {
  await host.sh(`ctr run --cni --cpu-shares 0 --detach docker.io/library/${IMAGE}:latest ${name} ${SLEEP}`);
  const lines = await host.sh(`ctr task exec --exec-id address ${name} ${BUSYBOX} ip -4 address show eth0`);
  const address = /inet ([\d.]+)\//.exec(lines)?.[1];
  if (address === undefined) throw new Error(`${name} has no address:\n${lines}`);
  return address;
}

/** Pings from a container of containerd. @returns Whether an answer came. */
export async function pingFromContainerd(
  host: SystemdHost,
  name: string,
  address: string,
): Promise<boolean> {
  const id = `ping-${crypto.randomUUID().slice(0, 8)}`;
  const ping = [BUSYBOX, "ping", "-c", "1", "-W", "1", address];
  return (await host.exec(["ctr", "task", "exec", "--exec-id", id, name, ...ping], { mayFail: true }))
    .code === 0;
}
