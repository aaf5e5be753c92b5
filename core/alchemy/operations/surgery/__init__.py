"""State surgery: rows are moved, forgotten, taken out and brought in. No call changes anything in a cloud."""
