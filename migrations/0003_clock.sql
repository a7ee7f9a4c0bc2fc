-- The one clock of every function here, so that tests never wait for a lease:
--
--     alter database postgres set ourvidz.now = '2026-01-01 12:00:00+00'
--
-- Only the database's entry counts, which takes its owner to write and holds for every session at
-- once. What a session sets for itself is ignored: no client can move the time.
create function public.ourvidz_now() returns timestamptz
language sql stable set search_path = '' as $$
    select coalesce(
        (
            select nullif(pg_catalog.split_part(c.entry, '=', 2), '')::timestamptz
            from pg_catalog.pg_db_role_setting s
            cross join lateral pg_catalog.unnest(s.setconfig) as c (entry)
            where s.setrole = 0
                and s.setdatabase = (
                    select d.oid from pg_catalog.pg_database d
                    where d.datname = pg_catalog.current_database()
                )
                and pg_catalog.starts_with(c.entry, 'ourvidz.now=')
        ),
        pg_catalog.now()
    )
$$;
grant execute on function public.ourvidz_now()
to anon, authenticated, service_role, ourvidz_worker;
