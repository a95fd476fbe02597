#!/bin/sh
# Qt and OpenGL need system libraries that a bare Debian or Ubuntu lacks. Installed where
# we may (root, or sudo without a password); elsewhere the line to run is printed.
set -eu

packages="xvfb libegl1 libgl1 libgl1-mesa-dri libglx-mesa0 libxkbcommon-x11-0 \
libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 \
libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libdbus-1-3 libfontconfig1"

[ "$(uname)" = Linux ] || exit 0
command -v apt-get >/dev/null 2>&1 || {
  echo "Not a Debian: if napari does not start, install Qt's system libraries and Xvfb." >&2
  exit 0
}

missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "ok installed" ||
    missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  run=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
  run="sudo"
else
  echo "Run this once, then again what you ran:" >&2
  echo "  sudo apt-get update && sudo apt-get install -y$missing" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
$run apt-get update -q
# shellcheck disable=SC2086
$run apt-get install -y -q --no-install-recommends $missing
