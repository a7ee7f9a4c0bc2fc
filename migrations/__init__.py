"""The database's side: numbered SQL files, applied in order by `daemon.migrate`."""
