-- What was asked for in a time, and how long it took: the trace that `ourvidz-worker simulate` runs.
-- The index finds a week among years. It holds ranges of pages, and so costs neither inserts nor
-- claims anything: an export is rare, and may read a little too much.
do $$
declare
    v_ours text := '';
begin
    if exists (
        select from pg_catalog.pg_attribute
        where attrelid = 'public.jobs'::regclass and attname = 'api_model_id' and not attisdropped
    ) then
        v_ours := ' where api_model_id is null';
    end if;
    execute 'create index jobs_arrival on public.jobs using brin (created_at) '
        'with (pages_per_range = 32, autosummarize = on)' || v_ours;
end
$$;

-- One row a job that arrived from `p_since` on and before `p_until`, in the order of arrival, the
-- first `p_limit` of them: finished ones and those that still wait or run. No request, no id:
--
--     user_number   the place of the user's first job in this answer; null for rows without a user
--     run_s         seconds that the last completed run was on the device; null where none is known
--
-- Jobs that were cancelled or failed are in it: they were asked for, and another host might have
-- run them. Those of a job type that nobody knows aren't.
create function public.export_trace(
    p_since timestamptz, p_until timestamptz, p_limit integer default 100000
)
returns table (
    arrived_s double precision, job_type text, user_number integer, priority integer,
    run_s double precision, completed boolean
)
language sql stable security definer set search_path = ''
-- A plan that serves a full table, whatever the planner knows.
set enable_seqscan = off as $$
    with arrived as materialized (
        select
            j.id, j.created_at, j.job_type::text as job_type, j.user_id, j.priority,
            j.status = 'completed' as completed,
            row_number() over (order by j.created_at, j.id)::integer as place
        from public.jobs j
        where j.created_at >= p_since and j.created_at < p_until
            and ourvidz.is_ours(j)
            and j.job_type::text = any (public.known_job_types())
        order by j.created_at, j.id
        limit greatest(p_limit, 0)
    )
    select
        extract(epoch from a.created_at)::double precision,
        a.job_type,
        case when a.user_id is not null
            then min(a.place) over (partition by a.user_id)
        end,
        coalesce(a.priority, 0)::integer,
        (
            select (r.timings ->> 'running')::double precision
            from public.job_runs r
            where r.job_id = a.id and r.outcome = 'completed'
                and jsonb_typeof(r.timings -> 'running') = 'number'
            order by r.ended_at desc
            limit 1
        ),
        a.completed
    from arrived a
    order by a.place
$$;

revoke execute on function public.export_trace(timestamptz, timestamptz, integer)
from public, anon, authenticated;
grant execute on function public.export_trace(timestamptz, timestamptz, integer)
to ourvidz_worker, service_role;
