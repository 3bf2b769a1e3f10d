"""What a user may say and how it is checked: recipes, run tables, schemas, words of a command line."""
