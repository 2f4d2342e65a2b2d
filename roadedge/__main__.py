"""`python -m roadedge`, and `torchrun -m roadedge`: the same as the installed `roadedge`."""

from roadedge.cli import entry

if __name__ == "__main__":
    entry()
