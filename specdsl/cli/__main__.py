"""`python -m specdsl.cli`, for where the script is not on the path."""

from specdsl.cli.main import main

main()
