"""`python -m helpers` is the command `workbook`."""

from helpers.workbook import main

if __name__ == "__main__":
    main()
