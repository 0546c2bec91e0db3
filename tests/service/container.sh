#!/usr/bin/env bash
# Builds the image, runs it, sends a mail through it, kills it, starts it again, stops it.
#
#     make test-container
#
# Takes two minutes, root, buildah, and debootstrap unless BASE_IMAGE names a base that can be had;
# SUITE=trixie makes another base. What the build needs of this machine and the image must not keep
# (a pip.conf, certificates, folders of packages) is given in BUILD_ARGS:
#
#     BUILD_ARGS="--volume /etc/pip.conf:/etc/pip.conf:ro" make test-container
set -euo pipefail
cd "$(dirname "$0")/../.."

suite=${SUITE:-bookworm}
image=localhost/invoice-relay
work=$(mktemp -d "${TMPDIR:-/tmp}/relay-container.XXXXXX")

missing=
command -v buildah >/dev/null || missing="$missing buildah"
[ -n "${BASE_IMAGE:-}" ] || command -v debootstrap >/dev/null || missing="$missing debootstrap"
# shellcheck disable=SC2086 # words on purpose
[ -z "$missing" ] || tools/apt $missing

storage="--storage-driver vfs --root $work/storage --runroot $work/run"
# shellcheck disable=SC2086 # words on purpose
store() { buildah $storage "$@"; }
tell() { printf '\n== %s\n' "$*"; }
fail() {
    echo "FAILED: $*" >&2
    tail -n 40 "$work/log" >&2 || true
    exit 1
}
clean() {
    status=$?
    for each in ${pid:-} ${network:-}; do kill -KILL "$each" 2>/dev/null || true; done
    store rm --all >/dev/null 2>&1 || true
    rm -rf "$work"
    exit "$status"
}
trap clean EXIT

if [ -z "${BASE_IMAGE:-}" ]; then
    BASE_IMAGE=localhost/debian-base
    tell "a base image of Debian $suite, without Python"
    debootstrap --variant=minbase "$suite" "$work/base" >"$work/log" || fail debootstrap
    base=$(store from scratch)
    store add --quiet "$base" "$work/base" /
    store commit --quiet "$base" "$BASE_IMAGE" >/dev/null
    store rm "$base" >/dev/null
    rm -rf "$work/base"
fi

tell "the image"
# shellcheck disable=SC2086 # words on purpose
store bud --isolation chroot --format docker --pull-never --build-arg "BASE_IMAGE=$BASE_IMAGE" \
    ${BUILD_ARGS:-} --tag "$image" . >"$work/log" 2>&1 || fail build
store images
config=$(store inspect --type image "$image" | tr -d ' \n')
for word in '"User":"2525:2525"' '"/var/lib/relay":{}' '"2525/tcp":{}' '"StopSignal":"SIGTERM"' \
    '"relay","status","--json"'; do
    case $config in *"$word"*) ;; *) fail "the image lacks $word" ;; esac
done

# What runs in the container has this state, its own loopback, and the processes of this machine.
container=$(store from --pull-never "$image")
install -d -m 700 -o 2525 -g 2525 "$work/state"
# shellcheck disable=SC2016 # for the shell in there
unshare --net sh -c 'ip link set lo up && touch "$1" && exec sleep infinity' - "$work/network" &
network=$!
until [ -e "$work/network" ]; do sleep 0.1; done
inside() {
    # shellcheck disable=SC2086 # words on purpose
    nsenter --net="/proc/$network/ns/net" buildah $storage run --isolation chroot \
        --volume "$work/state:/var/lib/relay" "$container" -- "$@"
}

start() {
    rm -f "$work/state/pid"
    # shellcheck disable=SC2016 # for the shell in there
    inside sh -c 'echo $$ >/var/lib/relay/pid && exec relay run' >>"$work/log" 2>&1 &
    outer=$!
    for _ in $(seq 100); do
        pid=$(cat "$work/state/pid" 2>/dev/null || true)
        ! inside relay status --json >"$work/status" 2>/dev/null || return 0
        kill -0 "$outer" 2>/dev/null || fail "it ended"
        sleep 0.2
    done
    fail "it does not answer"
}

tell "it starts, as user 2525, and its health check is content"
start
grep -E '^(Name|Uid|Gid)' "/proc/$pid/status"
grep -q '^Uid:.2525.2525.2525.2525$' "/proc/$pid/status" || fail "it runs as somebody else"
cat "$work/status"

tell "it takes an invoice, and files it"
inside relay send --kind invoice || fail "it took no mail"
for _ in $(seq 50); do
    filed=$(find "$work/state/rehearsal/native" -name '*.eml')
    [ -z "$filed" ] || break
    sleep 0.2
done
[ -n "$filed" ] || fail "nothing was filed"
echo "${filed#"$work"}"

tell "after a kill it starts again with what it had"
kill -KILL "$pid"
wait "$outer" || true
! inside relay status >/dev/null 2>&1 || fail "the health check is content with the dead"
start
inside relay queue list
[ "$(inside relay queue list --json | grep -c '"sent"')" -ge 1 ] || fail "the invoice is forgotten"

tell "it stops when it is told to, by STOPSIGNAL"
kill -TERM "$pid"
wait "$outer" || fail "it ended with $?"
pid=
tail -n 1 "$work/log"

tell "passed"
