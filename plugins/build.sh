#!/usr/bin/env bash
# Builds plugins for wasm32-unknown-unknown.
#
#   plugins/build.sh                     the plugins that ship, to target/plugins/NAME.wasm
#   plugins/build.sh NAME|FOLDER ...     these plugins, by name or by folder (one of your own,
#                                        anywhere), to target/plugins/NAME.wasm
#   plugins/build.sh --guests            the guests of the tests, to target/guests/NAME.wasm
#   plugins/build.sh --toolchain         says which toolchain would be used, builds nothing
#
# The results are core modules with the component types embedded; the host makes components
# of them when it loads them. A second run with nothing changed only asks cargo.
set -euo pipefail

target=wasm32-unknown-unknown
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
folder=$root/target/wasm
shipped="booking-updates waitlist-updates conflict-alerts"
cargo=${CARGO:-cargo}

say() { printf 'plugins/build.sh: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
usage() { sed -n '2,11s/^# \{0,1\}//p' "$0"; }

# The standard library of the target, as the compiler that cargo would use sees it.
has_target_library() {
    local libdir
    libdir=$("${RUSTC:-rustc}" --print target-libdir --target "$target" 2>/dev/null) || return 1
    compgen -G "$libdir/libstd-*.rlib" >/dev/null
}

debian_compiler() {
    [ -x /usr/bin/rustc ] || return 1
    [ -e "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]
}

# rustup's own linker where there is one, else the system's.
wasm_linker() {
    local sysroot host linker
    if sysroot=$(rustc --print sysroot 2>/dev/null); then
        host=$(rustc -vV | sed -n 's/^host: //p')
        linker=$sysroot/lib/rustlib/$host/bin/rust-lld
        [ -x "$linker" ] && { printf '%s\n' "$linker"; return; }
    fi
    for linker in rust-lld wasm-ld; do
        command -v "$linker" && return
    done
    for linker in /usr/lib/llvm-*/bin/wasm-ld /usr/bin/wasm-ld-*; do
        [ -x "$linker" ] && { printf '%s\n' "$linker"; return; }
    done
    fail "no linker for WebAssembly: install lld (Debian: apt-get install lld) or a Rust toolchain from rustup"
}

install_debian_compiler() {
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
    say "installing rustc-web and rust-web-src with apt-get"
    { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rustc-web rust-web-src ||
        { apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rustc-web rust-web-src; }
    } >&2 && debian_compiler
}

# Arguments for cargo that depend on the toolchain.
toolchain_arguments=()

use_debian_compiler() {
    local linker
    linker=$(wasm_linker)
    say "toolchain: Debian's $(/usr/bin/rustc --version | cut -d' ' -f1-2), standard library built from its source"
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker
    toolchain_arguments=(-Zbuild-std=std,panic_abort)
}

choose_toolchain() {
    if has_target_library; then
        say "toolchain: $("${RUSTC:-rustc}" --version | cut -d' ' -f1-2) with its own $target library"
    elif [ "${RUSTUP_AUTO_INSTALL:-1}" != 0 ] && command -v rustup >/dev/null &&
        { say "asking rustup for $target"; rustup target add "$target" >&2; } && has_target_library; then
        say "toolchain: $(rustc --version | cut -d' ' -f1-2), $target library added by rustup"
    elif debian_compiler || install_debian_compiler; then
        use_debian_compiler
    else
        fail "no standard library for $target. Install one of:
  rustup target add $target
  apt-get install rustc-web rust-web-src     (Debian, as root)
and run this again."
    fi
}

# Level 2 takes a quarter less time per event than "s", for a quarter more bytes; strict, because an
# overflow is a bug.
profile=(
    --config 'profile.release.opt-level=2'
    --config 'profile.release.lto=true'
    --config 'profile.release.codegen-units=1'
    --config 'profile.release.incremental=false'
    --config 'profile.release.strip=true'
    --config 'profile.release.panic="abort"'
    --config 'profile.release.debug=false'
    --config 'profile.release.overflow-checks=true'
    # The library that rustup ships has none either; a sixth of the size.
    --config 'profile.release.package."*".overflow-checks=false'
)

# Messages of a panic name source files: without the builder's folders in them the same
# source gives the same bytes on every machine.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
profile+=(--config "target.$target.rustflags=[\"--remap-path-prefix=$root=\", \"--remap-path-prefix=$cargo_home/registry/src=\"]")

build() {
    (cd "$root" && "$cargo" build --quiet --release --target "$target" --target-dir "$folder" \
        "${profile[@]}" ${toolchain_arguments[@]+"${toolchain_arguments[@]}"} "$@")
}

# copy BUILT DESTINATION: leaves an equal file alone, so that who watches it sees no change.
copy() {
    [ -f "$1" ] || fail "cargo built no $1: the crate needs crate-type = [\"cdylib\"] in [lib]"
    cmp -s "$1" "$2" || { cp "$1" "$2.new" && chmod 644 "$2.new" && mv "$2.new" "$2"; }
    say "$(printf '%s (%d bytes)' "${2#"$root"/}" "$(wc -c <"$2")")"
}

# The package's name in FOLDER/Cargo.toml.
package_name() {
    sed -n '/^\[package\]/,/^\[/s/^name *= *"\(.*\)".*/\1/p' "$1/Cargo.toml" | head -n 1
}

build_plugins() {
    local names=() members=() argument name
    for argument in "$@"; do
        name=$argument
        if [ -f "$argument/Cargo.toml" ]; then
            name=$(package_name "$argument")
            [ -n "$name" ] || fail "$argument/Cargo.toml has no [package] name"
            # By its own manifest: the folder need not belong to this workspace.
            build --lib --manifest-path "$(CDPATH='' cd -- "$argument" && pwd)/Cargo.toml" -p "$name"
        else
            members+=(-p "$argument")
        fi
        names+=("$name")
    done
    [ ${#members[@]} -eq 0 ] || build --lib "${members[@]}"
    mkdir -p "$root/target/plugins"
    for name in "${names[@]}"; do
        copy "$folder/$target/release/${name//-/_}.wasm" "$root/target/plugins/$name.wasm"
    done
}

build_guests() {
    local source name
    # One guest needs inline assembler, which is not stable for this target. Build scripts look at
    # this variable: where the plugins are built without it, the guests get a folder of their own,
    # or each would make the other's dependencies stale.
    [ -n "${RUSTC_BOOTSTRAP:-}" ] || folder=$root/target/wasm-guests
    RUSTC_BOOTSTRAP=1 build -p carillon-guests --examples
    mkdir -p "$root/target/guests"
    for source in "$root"/tests/guests/examples/*.rs; do
        name=$(basename "$source" .rs)
        copy "$folder/$target/release/examples/${name//-/_}.wasm" "$root/target/guests/${name//_/-}.wasm"
    done
}

case "${1:-}" in
    -h | --help) usage ;;
    --toolchain) choose_toolchain ;;
    --guests)
        [ $# = 1 ] || fail "--guests takes no further arguments"
        choose_toolchain
        build_guests
        ;;
    -*) usage >&2; fail "unknown option $1" ;;
    *)
        choose_toolchain
        if [ $# -gt 0 ]; then build_plugins "$@"; else
            # shellcheck disable=SC2086 # a list of words
            build_plugins $shipped
        fi
        ;;
esac
