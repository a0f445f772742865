"""Runs pip with environment markers of another system.

pip download accepts the tags of another platform, but evaluates markers such as
sys_platform == "linux" for the machine that it runs on
(https://github.com/pypa/pip/issues/11664).
"""

import json
import sys

from pip._internal.cli.main import main
from pip._vendor.packaging import markers

TARGET = json.loads(sys.argv[1])
markers.default_environment = lambda: dict(TARGET)
sys.exit(main(sys.argv[2:]))
