"""What a calculation found, for people: the table of `aiida-dmi show`, the report page, files for other programs."""
