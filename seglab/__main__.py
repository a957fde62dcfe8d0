"""``python -m seglab``, for where the ``seglab`` command is not on the PATH."""

from seglab.cli import main

if __name__ == "__main__":
    main()
