#!/bin/sh
set -eu
# Debian's welcome page.
rm -f /etc/nginx/sites-enabled/default /var/www/html/index.nginx-debian.html
# Who gives the edge a certificate of an authority enables it.
systemctl --quiet disable certbot.timer
