-- How much work there is, in seconds of runs: what an autoscaler divides among workers. One row a
-- job type that has unfinished jobs:
--
--     run_s     expected seconds of one run: the average of those that were completed of the jobs of
--               the last hour, and the type's cost where there are none
--     seconds   what is left: a whole run for each job that is due, and for each that is being
--               processed the rest of one, at least a tenth, so that a scaler never takes the last
--               job's worker for idle
--
-- Runs count as if one went after another; how many a device runs at once only its worker knows.
create function public.queued_seconds()
returns table (
    job_type text, queued integer, processing integer, run_s double precision,
    seconds double precision
)
language sql stable security definer set search_path = ''
-- A plan that serves a full table, whatever the planner knows.
set enable_seqscan = off as $$
    with unfinished as (
        select
            j.job_type::text as job_type,
            j.status,
            extract(epoch from n.now - j.started_at)::double precision as elapsed_s
        from public.jobs j
        cross join (select public.ourvidz_now() as now) n
        where j.status in ('queued', 'processing') and ourvidz.is_ours(j)
            and (j.status = 'processing' or j.run_after <= n.now)
            and j.job_type::text = any (public.known_job_types())
    ),
    seen as (
        select
            j.job_type::text as job_type,
            avg((r.timings ->> 'running')::double precision) as run_s
        from public.jobs j
        join public.job_runs r on r.job_id = j.id
        where j.created_at >= public.ourvidz_now() - interval '1 hour'
            and r.outcome = 'completed' and jsonb_typeof(r.timings -> 'running') = 'number'
        group by j.job_type::text
    ),
    expected as (
        select u.*, coalesce(s.run_s, ourvidz.cost_of(u.job_type)) as run_s
        from unfinished u
        left join seen s on s.job_type = u.job_type
    )
    select
        e.job_type,
        count(*) filter (where e.status = 'queued')::integer,
        count(*) filter (where e.status = 'processing')::integer,
        e.run_s,
        sum(
            case e.status
                when 'queued' then e.run_s
                else greatest(e.run_s - coalesce(e.elapsed_s, 0), e.run_s / 10)
            end
        )
    from expected e
    group by e.job_type, e.run_s
    order by e.job_type
$$;

revoke execute on function public.queued_seconds() from public, anon, authenticated;
grant execute on function public.queued_seconds() to ourvidz_worker, service_role;
