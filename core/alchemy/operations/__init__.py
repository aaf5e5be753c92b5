"""What a front end can do to stored scopes. The reading half is synchronous, light and never writes."""
