#!/bin/sh
# setup.sh run|test: makes sure that this machine has what `make run` or `make test` needs.
# On Debian, as root, it installs what is missing; otherwise it says what to install and stops.
# It never calls sudo. When everything is there it takes a fraction of a second.
set -eu
purpose=${1:-}
case $purpose in
  run | test) ;;
  *) echo "usage: tests/setup.sh run|test" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."

packages=
need() { # need PACKAGE…: notes Debian packages
  packages="$packages $*"
}
has() { command -v "$1" >/dev/null 2>&1; }
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

if ! has cargo || ! has rustc; then
  echo "Rust is missing. Install it from https://rustup.rs (1.95 or newer), then start again." >&2
  exit 1
fi

has pkg-config || need pkg-config
has make || need make
has g++ || need g++
if has pkg-config; then
  pkg-config --exists openssl || need libssl-dev
  pkg-config --exists zlib || need zlib1g-dev
else
  need libssl-dev zlib1g-dev
fi

# Plugins are compiled for wasm32-unknown-unknown: with the standard library that rustup brings,
# else with Debian's compiler for the web and its library source.
if [ -d "$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null)" ]; then
  :
elif [ "${RUSTUP_AUTO_INSTALL:-1}" != 0 ] && has rustup && rustup target add wasm32-unknown-unknown; then
  :
elif has apt-get; then
  installed rustc-web || need rustc-web
  installed rust-web-src || need rust-web-src
else
  echo "The Rust target wasm32-unknown-unknown is missing: rustup target add wasm32-unknown-unknown" >&2
  exit 1
fi

java_major() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }
if [ "$purpose" = test ]; then
  if ! has java || [ "$(java_major)" -lt 17 ]; then need openjdk-17-jre-headless; fi
  has mvn || need maven
  has node || need nodejs
  has npm || need npm
  has openssl || need openssl
  # The tests of the booking service read its calendars and its document with programs in Python.
  # Debian leaves what makes a virtual environment out of the interpreter's own package.
  if ! has python3; then
    need python3 python3-venv
  elif ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "python3 is $(python3 --version 2>&1), and the tests need 3.11 or newer. Install one, put it first in PATH, then start again." >&2
    exit 1
  else
    python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
  fi
  has chromium || has chromium-browser || has google-chrome || need chromium
fi

if [ -n "$packages" ]; then
  if ! has apt-get; then
    echo "Missing (by the names of Debian's packages):$packages" >&2
    echo "Install them with your system's package manager, then start again." >&2
    exit 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    echo "Missing packages. As root:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends$packages" >&2
    exit 1
  fi
  echo "installing:$packages"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  # shellcheck disable=SC2086 # one word a package
  apt-get install -q -y --no-install-recommends $packages
fi

if [ "$purpose" = test ]; then
  # Apache Kafka, again only when the pom has changed since.
  jars=target/kafka
  if [ ! -e "$jars/.complete" ] || [ tests/kafka/pom.xml -nt "$jars/.complete" ]; then
    rm -rf "$jars"
    mvn --batch-mode --quiet --file tests/kafka/pom.xml dependency:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$PWD/$jars"
    touch "$jars/.complete"
  fi
  # What comes from PyPI, again only when the list has changed since.
  venv=target/python
  if [ ! -e "$venv/.complete" ] || [ tests/python/requirements.txt -nt "$venv/.complete" ]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
      --requirement tests/python/requirements.txt
    touch "$venv/.complete"
  fi
  for folder in tests/centrifuge tests/page examples/hello-javascript; do
    if [ ! -e "$folder/node_modules/.package-lock.json" ] ||
      [ "$folder/package-lock.json" -nt "$folder/node_modules/.package-lock.json" ]; then
      (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
      touch "$folder/node_modules/.package-lock.json"
    fi
  done
fi
