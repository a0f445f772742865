#!/bin/sh
set -eu
# Patroni starts PostgreSQL. Debian's units would start one of their own.
for unit in postgresql.service postgresql@.service; do
	ln -sf /dev/null "/etc/systemd/system/$unit"
done

# pgBackRest is Debian's; WAL-G is not in Debian and comes from its project's release.
# WALG_URL and WALG_SHA256 name another copy of it: a mirror's, another version's.
case ${XEROOPS_BACKUP_ENGINE:-pgbackrest} in
pgbackrest)
	rm -f /usr/local/bin/wal-g
	;;
wal-g)
	release=https://github.com/wal-g/wal-g/releases/download/v3.0.8/wal-g-pg-22.04
	case $(dpkg --print-architecture) in
	amd64)
		url=$release-amd64
		sha256=f30544c5ce93cf83b87578e3c4a2e9c0e0ffc3d160ef89ecddaf75f397d98deb
		;;
	arm64)
		url=$release-aarch64
		sha256=794d1a81f0c27825a1603bd39c0f2cf5dd8bed7cc36b598ca05d8d963c3d5fcf
		;;
	*)
		url='' sha256=''
		;;
	esac
	url=${WALG_URL:-$url} sha256=${WALG_SHA256:-$sha256}
	if test -z "$url" || test -z "$sha256"; then
		echo "WAL-G has no release for $(dpkg --print-architecture); give WALG_URL and WALG_SHA256"
		exit 1
	fi
	if ! echo "$sha256  /usr/local/bin/wal-g" | sha256sum --check --status 2>/dev/null; then
		# apt's helper knows the build's proxy, and verifies the sum.
		/usr/lib/apt/apt-helper -o APT::Sandbox::User=root -o Acquire::Retries=3 \
			download-file "$url" /usr/local/bin/wal-g.new "SHA256:$sha256" || {
			echo "WAL-G can't be had from $url with SHA-256 $sha256;"
			echo "give WALG_URL and WALG_SHA256, or choose XEROOPS_BACKUP_ENGINE=pgbackrest"
			exit 1
		}
		chown root:root /usr/local/bin/wal-g.new
		chmod 0755 /usr/local/bin/wal-g.new
		mv /usr/local/bin/wal-g.new /usr/local/bin/wal-g
	fi
	;;
*)
	echo "XEROOPS_BACKUP_ENGINE is $XEROOPS_BACKUP_ENGINE; it may be wal-g or pgbackrest"
	exit 1
	;;
esac
