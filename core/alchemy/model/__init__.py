"""Values and decisions: no I/O, no clock, no asyncio. Everything above imports this; it imports only `errors`."""
