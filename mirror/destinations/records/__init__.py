"""What a destination keeps besides paths: generations, receipts of rehearsals, records of runs."""
