"""`python -m helpers` is the command `workbook`."""

from helpers.workbook.commands import main

if __name__ == "__main__":
    main()
