"""The recipe, one step a file: prepare members, train or measure them, judge, summarise."""
