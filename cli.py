"""`python cli.py ...` from a checkout: the same as the installed `roadedge`."""

from roadedge.cli import entry

if __name__ == "__main__":
    entry()
