#!/bin/sh
# Checks what every role has: each configuration by its own program, each unit by
# systemd, and that a unit runs at boot if, and only if, it should.
set -eu
failed=''
check() { # NAME COMMAND...
	name=$1
	shift
	if ! "$@"; then
		echo "$name: not sound"
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
	echo "$unit is $state, not $*"
	return 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
ssh-keygen -q -t ed25519 -N '' -f "$scratch/host" # the image has none
check sshd /usr/sbin/sshd -t -h "$scratch/host"
check sudoers visudo -cq
check nftables nft -c -f /etc/nftables.conf
check chrony sh -c 'chronyd -p >/dev/null'
check sysctl sh -c '! grep -hvE "^(-?[a-z0-9._]+ = -?[0-9]+|#.*|)$" /etc/sysctl.d/*xeroops*.conf'

# What we ship: units of ours, and Debian's that we change.
ours=$(cd /usr/lib/systemd/system && find . -maxdepth 1 \( -name 'xeroops-*' -o -name 'infrastructure-ready.*' \) -type f -printf '%f\n')
changed=$(cd /usr/lib/systemd/system && find . -path '*.d/xeroops.conf' -printf '%h\n' | sed 's,^\./,,; s,\.d$,,')
for unit in $ours $changed; do
	test -e "/usr/lib/systemd/system/$unit" || continue # of a role that this one is not
	instance=$unit
	case $unit in
	*@.service)
		instance=${unit%@*}@8000.service
		if ! grep -q '^ExecStart=' "/usr/lib/systemd/system/$unit"; then # an instance's drop-in says it
			mkdir -p "/etc/systemd/system/$unit.d"
			printf '[Service]\nExecStart=/usr/bin/true\n' >"/etc/systemd/system/$unit.d/checks.conf"
		fi
		;;
	*@.*) instance=${unit%@*}@8000.${unit##*.} ;;
	esac
	check "$unit" systemd-analyze verify --man=no --recursive-errors=no "$instance"
	case $unit in
	*.service) echo "$unit: exposure $(systemd-analyze security --no-pager --offline=yes "$unit" 2>/dev/null | sed -n 's/.*exposure level for .*: \([0-9.]* [A-Z]*\).*/\1/p')" ;;
	esac
done

for unit in chrony.service infrastructure-ready.service nftables.service ssh.service; do
	check "$unit" in_state "$unit" enabled
done
grep -vx ssh.service ../units >"$scratch/units"
while read -r unit; do
	check "$unit" in_state "$unit" disabled static
done <"$scratch/units"

test -z "$failed"
