"""Prints what the image's Python provides for applications, as JSON."""

import importlib.metadata
import json
import platform
import re
import sys
import sysconfig

name, version = platform.libc_ver()
machine = sysconfig.get_platform().split("-", 1)[1].replace("-", "_").replace(".", "_")
distributions = {}
for d in importlib.metadata.distributions():
    if d.name:
        # The first distribution of a name on the path is the one that is imported.
        distributions.setdefault(re.sub(r"[-_.]+", "-", d.name).lower(), d.version)
json.dump(
    {
        "version": "%d.%d" % sys.version_info[:2],
        "platform": "manylinux_%s_%s" % (version.replace(".", "_"), machine),
        "distributions": distributions,
    },
    sys.stdout,
)
