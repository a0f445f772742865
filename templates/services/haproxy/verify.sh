#!/bin/sh
set -eu
haproxy -c -f /etc/haproxy/haproxy.cfg
