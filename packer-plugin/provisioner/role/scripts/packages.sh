#!/bin/sh
# Installs the packages that ./packages names.
exec 2>&1
# shellcheck source=/dev/null
. ./env
export DEBIAN_FRONTEND=noninteractive
if test -e sources.list; then # apt_sources: in place of the image's own, for now
    printf 'Dir::Etc::sourcelist "%s/sources.list";\nDir::Etc::sourceparts "-";\n' "$PWD" >apt.conf
    export APT_CONFIG="$PWD/apt.conf"
fi
# Debian's own timers may hold apt's locks just after boot.
systemctl stop apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service 2>/dev/null || true
# Services start on the node, not here: the build's keys and state are not theirs.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
if test -s packages; then
    apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Acquire::Languages=none update
    # A file that a role replaced stays the role's when its package is upgraded. The
    # build's machine is of no use after a crash, so nothing is synced file by file;
    # sealing ends with a sync of everything.
    xargs -a packages apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
        -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io install >apt.log 2>&1 || {
        status=$?
        tail -n 30 apt.log
        exit "$status"
    }
fi
