#!/bin/sh
# Makes sure that Debian's chromium is there for the browser tests.
set -eu
if command -v chromium >/dev/null 2>&1; then
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "ensure_browser: the browser tests need a 'chromium' on the PATH; install one with this system's package manager" >&2
    exit 2
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "ensure_browser: the browser tests need chromium; as root, run: apt-get update && apt-get install -y chromium" >&2
        exit 2
    fi
    as_root="sudo"
fi
$as_root apt-get update -q
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q --no-install-recommends chromium
command -v chromium >/dev/null 2>&1 || { echo "ensure_browser: apt-get installed no 'chromium'" >&2; exit 2; }
