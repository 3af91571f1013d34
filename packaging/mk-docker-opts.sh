#!/bin/sh
# Writes the options that a Docker daemon needs to use this host's flannel subnet, as an environment file.
#
# Every DOCKER_OPT_* variable of the environment is passed on too, and options that the combined variable holds
# already stay in front.

set -u

subnet_file=/run/flannel/subnet.env
docker_file=/run/docker_opts.env
combined_key=DOCKER_OPTS
want_single=no
want_combined=no
want_masquerade=yes

usage() {
  cat >&2 <<TEXT
usage: ${0##*/} [-f FILE] [-d FILE] [-i] [-c] [-m] [-k KEY]

Writes Docker daemon options that follow from flannel's subnet file.

  -f FILE  the subnet file (default $subnet_file)
  -d FILE  the file to write (default $docker_file)
  -i       one variable for each option only, as DOCKER_OPT_MTU="--mtu=1450"
  -c       one variable with all options only
  -k KEY   the name of that variable (default $combined_key)
  -m       leave out --ip-masq, which old versions of Docker don't know
TEXT
  exit 1
}

fail() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 1
}

# What the file gives in double quotes reads back as the same value, in systemd and in a shell.
quoted() {
  printf '%s="' "$1"
  printf '%s' "$2" | sed 's/[\\"`$]/\\&/g'
  printf '"\n'
}

while getopts f:d:icmk:h option; do
  case $option in
    f) subnet_file=$OPTARG ;;
    d) docker_file=$OPTARG ;;
    i) want_single=yes ;;
    c) want_combined=yes ;;
    m) want_masquerade=no ;;
    k) combined_key=$OPTARG ;;
    *) usage ;;
  esac
done
if [ $want_single$want_combined = nono ]; then
  want_single=yes
  want_combined=yes
fi
case $combined_key in
  '' | [0-9]* | *[!A-Za-z0-9_]*) fail "-k $combined_key: must be a name of letters, digits and _" ;;
esac

# A name without a slash would be looked for in PATH.
case $subnet_file in
  */*) ;;
  *) subnet_file=./$subnet_file ;;
esac
# shellcheck disable=SC1090
if [ -f "$subnet_file" ]; then . "$subnet_file"; fi

if [ -n "${FLANNEL_SUBNET:-}" ]; then DOCKER_OPT_BIP=--bip=$FLANNEL_SUBNET; fi
if [ -n "${FLANNEL_MTU:-}" ]; then DOCKER_OPT_MTU=--mtu=$FLANNEL_MTU; fi
# Only one of the two may masquerade: if flannel does, Docker must not, and the other way round.
case $want_masquerade,${FLANNEL_IPMASQ:-} in
  no,* | yes,) ;;
  yes,true) DOCKER_OPT_IPMASQ=--ip-masq=false ;;
  yes,false) DOCKER_OPT_IPMASQ=--ip-masq=true ;;
  *) fail "FLANNEL_IPMASQ=$FLANNEL_IPMASQ in $subnet_file: must be true or false" ;;
esac

eval "combined=\${$combined_key:-}"
if [ -n "$combined" ]; then combined="$combined "; fi
text=''
for name in $(set | sed -n 's/^\(DOCKER_OPT_[A-Za-z0-9_]*\)=.*/\1/p' | LC_ALL=C sort -u); do
  eval "value=\$$name"
  if [ $want_single = yes ]; then
    text=$text$(quoted "$name" "$value")'
'
  fi
  combined="$combined $value"
done
if [ $want_combined = yes ]; then
  text=$text$(quoted "$combined_key" "$combined")'
'
fi
printf '%s' "$text" >"$docker_file" || fail "$docker_file: cannot be written"

# The bridge's subnet must not be routed elsewhere: Docker would refuse it, or worse, use it.
case ${FLANNEL_SUBNET:-} in
  *.*.*.*/*)
    address=${FLANNEL_SUBNET%/*}
    network=${address%.*}.$((${address##*.} - 1))/${FLANNEL_SUBNET#*/}
    elsewhere=$(ip -4 route show exact "$network" 2>/dev/null | sed -n '/ via /p')
    if [ -n "$elsewhere" ]; then fail "$network is routed elsewhere: $elsewhere"; fi
    ;;
esac
