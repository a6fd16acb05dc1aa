"""``python3 -m crm serve``, ``schema``, ``partitions plan|apply|keep`` and ``offsite``."""

import argparse
import os
import sys

from crm.errors import CrmError


def main() -> int:
    parser = argparse.ArgumentParser(prog="crm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve the application")
    commands.add_parser("schema", help="make the tables")
    commands.add_parser("offsite", help="copy a shard's backups to a bucket")
    partitions = commands.add_parser("partitions", help="look after range partitions")
    partitions.add_argument("action", choices=("plan", "apply", "keep"))
    partitions.add_argument("--yes", action="store_true", help="also what waits for it")
    options = parser.parse_args()
    try:
        if options.command == "serve":
            from crm import serve

            serve.main(os.environ)
        elif options.command == "offsite":
            from crm import offsite

            offsite.main(os.environ)
        elif options.command == "partitions" and options.action == "keep":
            from crm import partition_keeper

            partition_keeper.main(os.environ)
        elif options.command == "partitions":
            from crm import partitions as life_cycle

            life_cycle.main(os.environ, apply=options.action == "apply", yes=options.yes)
        else:
            from crm import schema

            schema.main(os.environ)
    except CrmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
