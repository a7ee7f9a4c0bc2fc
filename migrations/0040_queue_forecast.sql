-- Rows that nobody has claimed yet are told when they will be done. Each worker says when it would end
-- the first jobs of the queue if it were alone; together they end the nth job when the nth of all
-- these ends comes. Neither table is published, logged, or of any use after a crash.
create unlogged table ourvidz.forecasts (
    worker_id text primary key,
    made_at timestamptz not null,
    classes jsonb not null
);

create unlogged table ourvidz.foretold (
    is_only boolean primary key default true check (is_only),
    at timestamptz not null
);

-- The lock that keeps claims from passing over rows that are just being foretold.
create function ourvidz.foretelling() returns bigint
language sql immutable set search_path = '' as $$ select 4011001001 $$;

-- What the queued jobs of one class would be told now: those to whom it is news. A job is news for who
-- was told nothing (rank below 0, in the order of the queue), or a moment that is wrong by more than
-- ten seconds and a fifth of what is left (rank by how wrong). Jobs that came just now are being
-- claimed, more likely than not.
create function ourvidz.news_of(p_job_types text[], p_now timestamptz)
returns table (id uuid, at timestamptz, rank double precision)
language plpgsql set search_path = '' set plan_cache_mode = force_generic_plan
set enable_bitmapscan = off as $$
declare
    v_most constant integer := 1000;
    v_ids uuid[] := array(
        select n.id from ourvidz.next_jobs(p_job_types, v_most, p_now - interval '2 seconds') n
    );
    v_ends timestamptz[];
begin
    if cardinality(v_ids) = 0 then
        return;
    end if;
    v_ends := array(
        select f.made_at + make_interval(secs => e.seconds)
        from ourvidz.forecasts f
        cross join jsonb_to_recordset(f.classes) as c (
            job_types text[], ends_s double precision[], each_s double precision
        )
        cross join lateral (
            select unnest(c.ends_s)
            union all
            select c.ends_s[cardinality(c.ends_s)] + n * c.each_s
            from generate_series(1, cardinality(v_ids) - cardinality(c.ends_s)) n
        ) e (seconds)
        where f.made_at > p_now - interval '20 seconds' and c.job_types = p_job_types
            and e.seconds < 4 * 3600
        order by 1
        limit cardinality(v_ids)
    );
    return query
    with told as (
        select
            j.id, u.at, u.place, j.estimated_completion as before,
            abs(extract(epoch from u.at - j.estimated_completion)) as moved_s,
            greatest(extract(epoch from u.at - p_now), 1) as left_s
        from unnest(v_ids, v_ends) with ordinality as u (id, at, place)
        join public.jobs j on j.id = u.id
        where u.at is not null
    )
    select t.id, t.at, coalesce(t.moved_s / t.left_s, t.place - v_most - 1)::double precision
    from told t
    where t.before is null or t.moved_s > greatest(10, t.left_s / 5);
end
$$;

-- Take a worker's forecast: `[{"job_types": [...], "ends_s": [...], "each_s": ...}]`, the seconds from
-- now until it would have ended the first, the second, … of a class, and what each further one adds
-- (null: nobody knows). Then tell rows, at most `p_limit`, and for all workers together not within
-- `p_every_s` of the last time, since each row that is told is a message to its watchers.
create function public.foretell_queue(
    p_worker_id text, p_forecasts jsonb, p_limit integer, p_every_s double precision
)
returns table (told integer)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    v_now timestamptz := public.ourvidz_now();
    v_ids uuid[];
    v_ends timestamptz[];
begin
    -- Nothing here is worth a wait for the disk.
    perform set_config('synchronous_commit', 'off', true);
    told := 0;
    insert into ourvidz.forecasts values (p_worker_id, v_now, p_forecasts)
    on conflict (worker_id) do update set made_at = v_now, classes = excluded.classes;
    if exists (
        select from ourvidz.foretold f
        where f.at > v_now - make_interval(secs => p_every_s) and f.at <= v_now
    ) then
        return next;
        return;
    end if;

    delete from ourvidz.forecasts f where f.made_at < v_now - interval '1 hour';
    select array_agg(n.id), array_agg(n.at) into v_ids, v_ends
    from (
        select n.id, n.at
        from (
            select distinct c.job_types
            from ourvidz.forecasts f
            cross join jsonb_to_recordset(f.classes) as c (job_types text[])
            where f.made_at > v_now - interval '20 seconds'
        ) c
        cross join lateral ourvidz.news_of(c.job_types, v_now) n
        order by n.rank < 0 desc, case when n.rank < 0 then n.rank else -n.rank end
        limit p_limit
    ) n;
    -- With claims going on there is nothing to tell for long: next time.
    if v_ids is null or not pg_try_advisory_xact_lock(ourvidz.foretelling()) then
        return next;
        return;
    end if;

    insert into ourvidz.foretold values (true, v_now)
    on conflict (is_only) do update set at = v_now;
    with found as (
        select j.id
        from public.jobs j
        where j.id = any (v_ids) and j.status = 'queued'
        for no key update skip locked
    )
    update public.jobs j
    set estimated_completion = u.at, updated_at = v_now
    from unnest(v_ids, v_ends) as u (id, at)
    join found f on f.id = u.id
    where j.id = u.id;
    get diagnostics told = row_count;
    return next;
end
$$;

revoke execute on function
    public.foretell_queue(text, jsonb, integer, double precision)
from public, anon, authenticated;
grant execute on function
    public.foretell_queue(text, jsonb, integer, double precision)
to ourvidz_worker, service_role;
