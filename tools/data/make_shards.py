"""``mmssl-dynamic data make-shards`` of this checkout; the command itself is in mmssl_dynamic/commands."""

from mmssl_dynamic import cli
from mmssl_dynamic.commands.registry import main_of

main = main_of("data make-shards")

if __name__ == "__main__":
    cli.run(main)
