#!/bin/sh
# flanneld @VERSION@ for @ARCH@: one file that unpacks itself on its first start and runs from there afterwards.
# After the last line of this text follows a compressed archive. It needs /bin/sh, coreutils, util-linux' flock, tar, gzip and glibc.
#
# The archive is checked against its SHA-256 before anything of it runs. It goes to a folder that only its user can
# write, and appears there in one step (rename) when all of it is on the disk; later starts look at owner, mode and
# size only. FLANNELD_CACHE_DIR names a folder that is tried before the usual ones.

flanneld_name=@VERSION@-@SHORT_HASH@
flanneld_hash=@HASH@
flanneld_offset=@OFFSET@
flanneld_payload_size=@PAYLOAD_SIZE@
flanneld_runtime_size=@RUNTIME_SIZE@
flanneld_reasons=''
flanneld_new=''
flanneld_child=''

flanneld_die() {
  printf 'flanneld: %s\n' "$1" >&2
  exit 126
}

# Takes a step in the folders that come into question, the best first, until one succeeds: flanneld_base. Root takes
# none that stands below a folder of somebody else's, but for /dev/shm, where the check of owner and mode decides.
flanneld_candidates() {
  if [ -O / ]; then
    set -- /var/cache/flanneld /var/lib/flanneld /run/flanneld /dev/shm/flanneld
  else
    set -- "${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/flanneld" "${TMPDIR:-/tmp}/flanneld-$(id -u)"
  fi
  if [ -n "${FLANNELD_CACHE_DIR:-}" ]; then set -- "$FLANNELD_CACHE_DIR" "$@"; fi
  for flanneld_base; do
    "$flanneld_step" "$flanneld_base" && return 0
  done
  return 1
}

# Complete, and kept for as long as this process and the program it becomes run: by a shared lock, which the kernel
# gives back when they end. 41c0, 41e8, 41ed: a folder (no symbolic link) with 0700, 0750, 0755. 81c0: a file with 0700.
flanneld_is_complete() {
  [ -O "$1" ] && [ -O "$1/$flanneld_name" ] && [ -O "$1/$flanneld_name/flanneld" ] || return 1
  command exec 9<"$1/$flanneld_name/flanneld" || return 1
  flock -s 9
  # shellcheck disable=SC2046
  set -- "$1" $(stat -c '%f %s' "$1" "$1/$flanneld_name" "$1/$flanneld_name/flanneld" 2>/dev/null)
  case "$2,$4,$6,$7" in
    41c0,41c0,81c0,"$flanneld_runtime_size" | 41e8,41c0,81c0,"$flanneld_runtime_size") return 0 ;;
    41ed,41c0,81c0,"$flanneld_runtime_size") return 0 ;;
  esac
  return 1
}

flanneld_check_payload() {
  [ "$(uname -m)" = @ARCH@ ] || flanneld_die "$0 is for @ARCH@, and this host is $(uname -m)"
  for flanneld_tool in dd flock gzip mktemp sha256sum stat tail tar; do
    command -v "$flanneld_tool" >/dev/null || flanneld_die "cannot unpack: $flanneld_tool isn't there"
  done
  flanneld_is=$(tail -c "+$flanneld_offset" "$0" | sha256sum)
  flanneld_is=${flanneld_is%% *}
  [ "$flanneld_is" = "$flanneld_hash" ] && return
  flanneld_length=$(tail -c "+$flanneld_offset" "$0" | wc -c)
  flanneld_die "$0 is damaged: the SHA-256 of its archive must be $flanneld_hash ($flanneld_payload_size bytes), \
is $flanneld_is ($((flanneld_length)) bytes). Get it again"
}

flanneld_refuse() {
  flanneld_reasons="$flanneld_reasons
  $1"
  flanneld_forget_new
  return 1
}

flanneld_forget_new() {
  if [ -n "$flanneld_new" ]; then rm -rf -- "$flanneld_new"; fi
  flanneld_new=''
}

# A signal ends what runs at once, and leaves nothing behind.
flanneld_on_signal() {
  trap - HUP INT TERM
  if [ -n "$flanneld_child" ]; then
    kill -s KILL "$flanneld_child" 2>/dev/null
    wait "$flanneld_child" 2>/dev/null
  fi
  flanneld_forget_new
  kill -s "$1" $$
}

# Runs a command so that a signal doesn't have to wait for its end.
flanneld_run() {
  "$@" &
  flanneld_child=$!
  wait "$flanneld_child"
  set -- "$?"
  flanneld_child=''
  return "$1"
}

# Becomes tar, so that a signal to it ends all of it; dd leaves the file's position at the archive.
flanneld_untar() {
  exec <"$0"
  dd bs=$((flanneld_offset - 1)) count=1 of=/dev/null 2>/dev/null
  exec tar -xzf - -C "$1" --no-same-owner
}

flanneld_unpack_into() {
  (umask 022 && mkdir -p -m 0700 -- "$1") 2>/dev/null || { flanneld_refuse "$1: cannot be made"; return 1; }
  [ -O "$1" ] || { flanneld_refuse "$1: belongs to another user"; return 1; }
  case $(stat -c %f "$1") in
    41c0 | 41e8 | 41ed) ;;
    *) flanneld_refuse "$1: must be a folder that only its owner can write (mode 0700)"; return 1 ;;
  esac
  [ -w "$1" ] && command exec 8>"$1/.lock" || { flanneld_refuse "$1: cannot be written"; return 1; }
  # One at a time. Should the other hang, both have a folder of their own, and one rename wins.
  flanneld_run flock -w 60 8
  if flanneld_is_complete "$1"; then return 0; fi
  rm -rf -- "$1"/.new.*
  flanneld_new=$(mktemp -d "$1/.new.XXXXXX" 2>/dev/null) || { flanneld_refuse "$1: cannot be written"; return 1; }
  printf '#!/bin/sh\n' >"$flanneld_new/probe" && chmod 0700 "$flanneld_new/probe"
  "$flanneld_new/probe" 2>/dev/null || { flanneld_refuse "$1: programs can't be run from there (noexec)"; return 1; }
  rm -f "$flanneld_new/probe"
  flanneld_run flanneld_untar "$flanneld_new" 2>/dev/null ||
    { flanneld_refuse "$1: cannot be unpacked there: is there room for $((flanneld_runtime_size >> 20)) MiB?"; return 1; }
  flanneld_run "$flanneld_new/flanneld" --version >/dev/null 8>&- ||
    { flanneld_forget_new; flanneld_die "the runtime doesn't start here: it needs glibc 2.27 or later"; }
  sync "$flanneld_new" "$flanneld_new/flanneld" 2>/dev/null
  rm -rf -- "${1:?}/$flanneld_name"
  mv -T -- "$flanneld_new" "$1/$flanneld_name" 2>/dev/null || flanneld_is_complete "$1" ||
    { flanneld_refuse "$1: cannot be renamed there"; return 1; }
  flanneld_new=''
  flanneld_remove_others "$1"
  flanneld_is_complete "$1" || { flanneld_refuse "$1: what was unpacked there is gone again"; return 1; }
}

# Other versions go, but those that a process holds.
flanneld_remove_others() {
  for flanneld_other in "$1"/*-????????????????; do
    case $flanneld_other in
      "$1/$flanneld_name" | "$1/*-"*) continue ;;
    esac
    flock -x -n "$flanneld_other/flanneld" rm -rf -- "$flanneld_other" 2>/dev/null
  done
  return 0
}

flanneld_step=flanneld_is_complete
if ! flanneld_candidates; then
  flanneld_umask=$(umask)
  umask 077
  trap 'flanneld_on_signal HUP' HUP
  trap 'flanneld_on_signal INT' INT
  trap 'flanneld_on_signal TERM' TERM
  flanneld_check_payload
  flanneld_step=flanneld_unpack_into
  flanneld_candidates || flanneld_die "no folder to unpack to:$flanneld_reasons"
  exec 8>&-
  trap - HUP INT TERM
  umask "$flanneld_umask"
fi

flanneld_home=$flanneld_base/$flanneld_name
unset FLANNELD_CACHE_DIR
# Programs that it may run are looked for in PATH when it starts; services often have no sbin in theirs.
export PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin"
export DENO_DIR="$flanneld_home/cache" DENO_NO_UPDATE_CHECK=1
# Container runtimes call the plugin by its name, flannel.
case ${0##*/} in flannel) set -- cni "$@" ;; esac
if [ "$*" = cni ]; then exec "$flanneld_home/flanneld" @RUN_CNI@ "$flanneld_home/app/main.js" cni; fi
# cni install copies this file.
if [ "${1:-} ${2:-}" = 'cni install' ]; then
  case $0 in /*) FLANNEL_EXECUTABLE=$0 ;; *) FLANNEL_EXECUTABLE=$PWD/$0 ;; esac
  export FLANNEL_EXECUTABLE
fi
exec "$flanneld_home/flanneld" @RUN@ "$flanneld_home/app/main.js" "$@"
exit 126
