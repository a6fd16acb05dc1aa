"""``python3 -m crm serve`` and ``python3 -m crm schema``."""

import argparse
import os
import sys

from crm.errors import CrmError


def main() -> int:
    parser = argparse.ArgumentParser(prog="crm", description=__doc__)
    parser.add_argument("command", choices=("serve", "schema"))
    command = parser.parse_args().command
    try:
        if command == "serve":
            from crm import serve

            serve.main(os.environ)
        else:
            from crm import schema

            schema.main(os.environ)
    except CrmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
