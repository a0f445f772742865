#!/bin/sh
set -eu
# pgBackRest is in Debian. WAL-G is not, and is downloaded from its project's releases;
# WALG_URL and WALG_SHA256 select another location or version.
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
		echo "WAL-G has no release for $(dpkg --print-architecture); set WALG_URL and WALG_SHA256"
		exit 1
	fi
	if ! echo "$sha256  /usr/local/bin/wal-g" | sha256sum --check --status 2>/dev/null; then
		# apt-helper uses the build's proxy and verifies the checksum.
		/usr/lib/apt/apt-helper -o APT::Sandbox::User=root -o Acquire::Retries=3 \
			download-file "$url" /usr/local/bin/wal-g.new "SHA256:$sha256" || {
			echo "download WAL-G from $url with SHA-256 $sha256: failed;"
			echo "set WALG_URL and WALG_SHA256, or XEROOPS_BACKUP_ENGINE=pgbackrest"
			exit 1
		}
		chown root:root /usr/local/bin/wal-g.new
		chmod 0755 /usr/local/bin/wal-g.new
		mv /usr/local/bin/wal-g.new /usr/local/bin/wal-g
	fi
	;;
*)
	echo "XEROOPS_BACKUP_ENGINE is $XEROOPS_BACKUP_ENGINE; valid values: wal-g, pgbackrest"
	exit 1
	;;
esac
