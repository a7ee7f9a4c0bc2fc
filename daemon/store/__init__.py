"""The jobs table behind `ports.JobStore`: `postgres` directly, `supabase` over REST.

Both call the same SQL functions of `migrations`, and `rows` reads the same rows. `outbox` sends
finishes in groups.
"""
