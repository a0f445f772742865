#!/bin/sh
set -eu
# The certificate is created at boot; these checks use one of their own.
file() { sed -n "s/^[[:space:]]*$1[[:space:]]\{1,\}\([^;]*\);.*/\1/p" /etc/nginx/nginx.conf | head -n 1; }
certificate=$(file ssl_certificate) key=$(file ssl_certificate_key)
mkdir -p "$(dirname "$certificate")" "$(dirname "$key")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -subj /CN=edge -days 1 \
	-out "$certificate" -keyout "$key" 2>/dev/null
nginx -t -q
# nginx -t does not run init_by_lua, so errors of loading Lua show only at a start.
"$XEROOPS_BUNDLE/scripts/starts.sh" root 80 nginx -g 'daemon off;'
while read -r _ port; do
	if test -z "$(ss -Hltn "sport = :${port%-*}")"; then
		echo "nginx is not listening on port ${port%-*}"
		exit 1
	fi
done <ports
