#!/usr/bin/env bash
# What the tests need beyond pip: Chromium, in which the report is opened. Quick where it is there.
# Without the right to install, it says so and ends well: the tests that need it are then skipped (in CI they fail).
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then exit 0; fi
done

if ! command -v apt-get >/dev/null; then
  echo "note: no apt-get here; install Chromium by hand to run the tests that open the report." >&2
  exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
  as_root=(env)
elif sudo -n true 2>/dev/null; then
  as_root=(sudo -n env)
else
  echo "note: no right to install Chromium; the tests that open the report will be skipped." >&2
  exit 0
fi

if ! { "${as_root[@]}" apt-get -qq update &&
  "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends chromium >/dev/null; }; then
  echo "note: Chromium could not be installed; the tests that open the report will be skipped." >&2
fi
