#!/usr/bin/env bash
# Builds the image by buildah, of parts of this machine, since no registry is asked, and unpacks it:
# DIRECTORY/root is what is in it, DIRECTORY/image.json what it says of itself.
#
#   image.sh whole DIRECTORY            every stage of the Dockerfile; this machine's Rust and its
#                                       libraries stand in for the image that it builds in
#   image.sh last BINARY DIRECTORY      its last stage, with a program that was built here
set -euo pipefail
cd "$(dirname "$0")/../.."
repository=$PWD

kind=$1
directory=${!#}
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
rm -rf "${directory:?}/root" "$directory/image.json"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

buildah() {
  command buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"
}

# An empty image that finds the toolchain, and the links to `/usr` that Debian has at its top.
local_rust() {
  local links container
  links=$(mktemp -d -p "$work")
  for name in bin lib lib64 sbin; do
    if [ -L "/$name" ]; then ln -s "$(readlink "/$name")" "$links/$name"; fi
  done
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$links" / >/dev/null
  buildah config --env "PATH=$PATH" --env "HOME=$HOME" --env CARGO_NET_OFFLINE=true "$container"
  buildah commit --quiet "$container" localhost/rust-of-this-machine >/dev/null
  buildah rm "$container" >/dev/null
}

build() {
  buildah build --quiet --format docker --isolation chroot --network host --tag leasehold "$@" \
    "$repository" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
}

case $kind in
  whole)
    local_rust
    # Where the cache of the build stage is kept from one time to the next.
    mkdir -p "$directory/cache"
    export TMPDIR=$directory/cache
    volumes=()
    for path in /usr /etc/alternatives "${RUSTUP_HOME:-$HOME/.rustup}" "${CARGO_HOME:-$HOME/.cargo}"; do
      volumes+=(--volume "$path:$path")
    done
    build --build-arg RUST=localhost/rust-of-this-machine "${volumes[@]}"
    ;;
  last)
    mkdir "$work/built"
    strip -o "$work/built/leasehold" "$2"
    build --build-context "build=$work/built"
    ;;
  *)
    echo "image.sh: unknown kind: $kind" >&2
    exit 64
    ;;
esac
container=$(buildah from --pull-never localhost/leasehold)
cp -a "$(buildah mount "$container")" "$directory/root"
buildah inspect --type image localhost/leasehold >"$directory/image.json"
du -sb "$directory/root" | cut -f1
