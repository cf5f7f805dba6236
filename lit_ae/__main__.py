"""`python -m lit_ae`."""

from lit_ae.cli import run

if __name__ == "__main__":
    run()
