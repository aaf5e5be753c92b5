"""Placeholder for the smoke run."""
def attach_to_program(options):
    def show(entry):
        import sys
        print(entry, file=sys.stderr)
    return show
