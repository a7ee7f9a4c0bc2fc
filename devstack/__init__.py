"""A Supabase-compatible local stack for development and tests; never for production.

Reading order: `postgres` (the database) · `sql/` (what a hosted project has before its first
migration) · `tokens` (who may ask) · `stack` (one HTTP server in front) · `rest`, `storage`,
`auth`, `realtime` (what it serves).
"""
