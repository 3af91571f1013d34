#!/bin/sh
# Leaves docker0 as it is, and makes a second Docker network with this host's flannel subnet.
# Containers join it by: docker run --network flannel …
set -eu
. /run/flannel/subnet.env
exec docker network create --attachable=true --subnet="$FLANNEL_SUBNET" --gateway="${FLANNEL_SUBNET%/*}" \
  -o com.docker.network.driver.mtu="$FLANNEL_MTU" flannel
