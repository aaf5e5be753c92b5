"""State in object storage: the port and what implements it, the journal's and the locks' protocol, the store on top."""
