#!/bin/sh
set -eu
# The certificate is made at boot; here, one for these checks.
file() { sed -n "s/^[[:space:]]*$1[[:space:]]\{1,\}\([^;]*\);.*/\1/p" /etc/nginx/nginx.conf | head -n 1; }
certificate=$(file ssl_certificate) key=$(file ssl_certificate_key)
mkdir -p "$(dirname "$certificate")" "$(dirname "$key")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -subj /CN=edge -days 1 \
	-out "$certificate" -keyout "$key" 2>/dev/null
nginx -t -q
# What Lua does when it is loaded is seen only by a start.
../scripts/starts.sh root 80 nginx -g 'daemon off;'
grep '^tcp' ../ports | grep -v ' 22-22$' | while read -r _ port; do
	if test -z "$(ss -Hltn "sport = :${port%-*}")"; then
		echo "nginx is not listening on port ${port%-*}"
		exit 1
	fi
done
