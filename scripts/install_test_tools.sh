#!/usr/bin/env bash
# What the tests need beyond pip: Chromium, in which the report is opened, and SLURM, on which studies are run. Quick where
# they are there. Without the right to install, it says so and ends well: the tests that need them are then skipped (in CI
# they fail).
set -euo pipefail
PATH="$PATH:/usr/sbin:/sbin"

wanted=()
if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
  wanted+=(chromium)
fi
for program in slurmctld slurmd munged; do
  if ! command -v "$program" >/dev/null; then
    wanted+=(slurmctld slurmd slurm-client munge)
    break
  fi
done
if [ "${#wanted[@]}" -eq 0 ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "note: no apt-get here; install by hand for the tests that need them: ${wanted[*]}." >&2
  exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
  as_root=(env)
elif sudo -n true 2>/dev/null; then
  as_root=(sudo -n env)
else
  echo "note: no right to install ${wanted[*]}; the tests that need them will be skipped." >&2
  exit 0
fi

if ! { "${as_root[@]}" apt-get -qq update &&
  "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${wanted[@]}" >/dev/null; }; then
  echo "note: ${wanted[*]} could not be installed; the tests that need them will be skipped." >&2
fi
