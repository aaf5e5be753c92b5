"""What we keep: journal, snapshots, views, locks, backups. The reading half is synchronous and light."""
