#!/bin/sh
set -eu
# Debian's welcome page.
rm -f /etc/nginx/sites-enabled/default /var/www/html/index.nginx-debian.html
# It has nothing to renew until an operator requests a certificate.
systemctl --quiet disable certbot.timer
