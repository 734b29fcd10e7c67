"""`python -m watcher`: the same as the console script."""

from watcher.cli import main

if __name__ == "__main__":
    main()
