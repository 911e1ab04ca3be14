"""``python -m mmssl_dynamic VERB ...``."""

from mmssl_dynamic.commands.main import main

if __name__ == "__main__":
    main()
