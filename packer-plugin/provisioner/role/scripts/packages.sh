#!/bin/sh
# Installs the packages listed in ./packages.
exec 2>&1
# shellcheck source=/dev/null
. ./env
export DEBIAN_FRONTEND=noninteractive
if test -e sources.list; then # apt_sources: replaces the image's own during the build
    printf 'Dir::Etc::sourcelist "%s/sources.list";\nDir::Etc::sourceparts "-";\n' "$PWD" >apt.conf
    export APT_CONFIG="$PWD/apt.conf"
fi
# Debian's timers may hold apt's locks shortly after boot.
systemctl stop apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service 2>/dev/null || true
# Services must not start during the build: they would create keys and state.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
if test -s packages; then
    apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Acquire::Languages=none update
    # conf*: an upgraded package keeps files that the role has replaced. unsafe-io: after a
    # crash the build is discarded, so dpkg need not sync each file; sealing syncs once.
    xargs -a packages apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
        -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io install >apt.log 2>&1 || {
        status=$?
        tail -n 30 apt.log
        exit "$status"
    }
fi
