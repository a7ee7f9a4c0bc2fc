-- The fair order among users (start-time fair queueing). A job is tagged once, when it is inserted:
-- behind what its user has in the works by the seconds that the job will take, but never before the
-- tag that the queue has come to. Ten thousand jobs of one user then let everybody else's first job
-- pass after one of them. A job that is queued again keeps its tag. Rows without a user count as
-- one user's.
create function ourvidz.next_tag(p_user_id uuid, p_job_type text, p_now timestamptz)
returns double precision language plpgsql set search_path = ''
-- The first insert of a session plans for an empty table, the last for a full one: an index always.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
    v_lowest double precision;
    v_own double precision;
begin
    -- Delayed jobs don't hold the queue's tag back: nobody could claim them.
    select j.fair_tag into v_lowest
    from public.jobs j
    where j.status = 'queued' and ourvidz.is_ours(j) and j.run_after <= p_now
    order by j.fair_tag
    limit 1;

    if p_user_id is null then
        select j.fair_tag into v_own
        from public.jobs j
        where j.status in ('queued', 'processing') and ourvidz.is_ours(j) and j.user_id is null
        -- Both columns, or the planner doesn't see that the index has this order.
        order by j.user_id desc, j.fair_tag desc
        limit 1;
    else
        select j.fair_tag into v_own
        from public.jobs j
        where j.status in ('queued', 'processing') and ourvidz.is_ours(j) and j.user_id = p_user_id
        order by j.fair_tag desc
        limit 1;
    end if;

    return coalesce(greatest(v_lowest, v_own + ourvidz.cost_of(p_job_type)), 0);
end
$$;

-- The best `p_limit` jobs of each job type, read from the index alone, best first over all.
-- Nothing is locked here: a lock on a row that isn't taken would hide it from other workers.
create function ourvidz.next_jobs(p_job_types text[], p_limit integer, p_now timestamptz)
returns table (id uuid) language sql stable as $$
    select n.id
    from unnest(p_job_types) as t (job_type)
    cross join lateral (
        select j.id, j.priority, j.fair_tag, j.created_at
        from public.jobs j
        where j.status = 'queued'
            and ourvidz.is_ours(j)
            and j.job_type = ourvidz.as_job_type(t.job_type)
            and j.run_after <= p_now
        order by j.priority desc, j.fair_tag, j.created_at, j.id
        limit p_limit
    ) n
    order by n.priority desc, n.fair_tag, n.created_at, n.id
    limit p_limit
$$;
