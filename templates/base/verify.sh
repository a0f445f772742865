#!/bin/sh
# Checks what every role has: each configuration with its own program, each unit with
# systemd, and that exactly the intended units start at boot.
set -eu
failed=''
check() { # NAME COMMAND...
	name=$1
	shift
	if ! "$@"; then
		echo "$name: check failed"
		failed="$failed $name"
	fi
}
in_state() { # UNIT STATE...
	unit=$1
	shift
	state=$(systemctl is-enabled "$unit" 2>/dev/null || true)
	for wanted; do
		if test "$state" = "$wanted"; then return; fi
	done
	echo "$unit is $state, want $*"
	return 1
}
# infrastructure-ready formats volumes and writes /etc, so it can't be confined like
# the others; 3.0 is what systemd-analyze calls OK, and just above our highest.
confined() { # UNIT
	test "$1" = infrastructure-ready.service ||
		systemd-analyze security --no-pager --offline=yes --threshold=30 "$1" >/dev/null 2>&1
}

check sudoers visudo -cq
check chrony sh -c 'chronyd -p >/dev/null'
check sysctl sh -c '! grep -hvE "^(-?[a-z0-9._]+ = -?[0-9]+|#.*|)$" /etc/sysctl.d/*xeroops*.conf'

# Our own units, and those of Debian that we change.
ours=$(cd /usr/lib/systemd/system && find . -maxdepth 1 \( -name 'xeroops-*' -o -name 'infrastructure-ready.*' \) -type f -printf '%f\n')
changed=$(cd /usr/lib/systemd/system && find . -path '*.service.d/xeroops.conf' -printf '%h\n' | sed 's,^\./,,; s,\.d$,,')
for unit in $ours $changed; do
	instance=$unit
	case $unit in
	*@.service)
		instance=${unit%@*}@8000.service
		if ! grep -q '^ExecStart=' "/usr/lib/systemd/system/$unit"; then # the instance's drop-in has it
			mkdir -p "/etc/systemd/system/$unit.d"
			printf '[Service]\nExecStart=/usr/bin/true\n' >"/etc/systemd/system/$unit.d/checks.conf"
		fi
		;;
	*@.*) instance=${unit%@*}@8000.${unit##*.} ;;
	esac
	check "$unit" systemd-analyze verify --man=no --recursive-errors=no "$instance"
	case $unit in
	*.service)
		echo "$unit: exposure $(systemd-analyze security --no-pager --offline=yes "$unit" 2>/dev/null | sed -n 's/.*exposure level for .*: \([0-9.]* [A-Z]*\).*/\1/p')"
		check "$unit: hardening" confined "$unit"
		;;
	esac
done

for unit in chrony.service infrastructure-ready.service; do
	check "$unit" in_state "$unit" enabled
done
units=$(grep -vx ssh.service "$XEROOPS_BUNDLE/units")
for unit in $units; do
	check "$unit" in_state "$unit" disabled static
done

test -z "$failed"
