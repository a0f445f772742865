#!/usr/bin/env bash
# Creates .tools/debian13: a tree of Debian 13 with the packages of all role images, those
# of the image below them, and those that tests need, so that tests run the shipped
# programs. A further run adds new packages of the roles. Needs root.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly tree=$PWD/.tools/debian13 made=$PWD/.tools/debian13.packages
readonly of_base=(ca-certificates curl iproute2 openssl) of_tests=(python3-build python3-pytest python3-httpx)

wanted=$({ cat templates/base/packages templates/services/*/packages; printf '%s\n' "${of_base[@]}" "${of_tests[@]}"; } | sed 's/#.*//' | tr -s ' \t' '\n' | sed '/^$/d' | sort -u)

mkdir -p .tools
exec 9>.tools/debian13.lock
flock 9
if [ -e "$made" ] && [ "$(cat "$made")" = "$wanted" ]; then exit 0; fi

# The mirror of this machine's apt sources, or else mmdebstrap's default.
# shellcheck disable=SC2016 # apt-get fills it in
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -m1 '/debian/$' || true)

# Services are not started in a tree, and PostgreSQL's package creates no cluster.
# shellcheck disable=SC2016 # mmdebstrap runs it
prepare='mkdir -p "$1/etc/postgresql-common" "$1/usr/sbin"
  echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"
  printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"; chmod 0755 "$1/usr/sbin/policy-rc.d"'

if [ ! -e "$made" ]; then
  rm -rf "$tree"
  mmdebstrap --mode=root --variant=important --components=main --skip=cleanup/apt \
    --essential-hook="$prepare" --include="$(paste -sd, <<<"$wanted")" trixie "$tree" ${mirror:+"$mirror"}
else
  # shellcheck disable=SC2086 # one word per package
  DEBIAN_FRONTEND=noninteractive chroot "$tree" apt-get -qq -y --no-install-recommends install $wanted
fi
printf '%s\n' "$wanted" >"$made"
