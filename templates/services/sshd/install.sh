#!/bin/sh
set -eu
# Enabled in the image, so that an operator can log in to a node that fails to boot.
systemctl --quiet enable ssh.service
