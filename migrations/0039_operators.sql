-- What an operator asks of rows on the command line, with the worker's rights or a service key.

-- Jobs, the newest first: those that fit each argument that isn't null. `p_since` counts from the
-- insert, and finds its rows by the index of arrivals. The result is text, so that it is the same
-- by every way.
create function public.list_jobs(
    p_statuses text[] default null, p_job_types text[] default null, p_user_id uuid default null,
    p_since timestamptz default null, p_limit integer default 50, p_job_ids uuid[] default null
)
returns table (
    id uuid, user_id uuid, job_type text, status text, priority integer, progress integer,
    current_step text, estimated_completion timestamptz, result text, error text, error_code text,
    attempts integer, max_attempts integer, created_at timestamptz, started_at timestamptz,
    completed_at timestamptz
)
language sql stable security definer set search_path = '' as $$
    select
        j.id, j.user_id, j.job_type::text, j.status::text, coalesce(j.priority, 0)::integer,
        coalesce(j.progress, 0)::integer, j.current_step, j.estimated_completion, j.result::text,
        j.error, j.error_code, coalesce(j.attempts, 0)::integer,
        coalesce(j.max_attempts, 3)::integer, j.created_at, j.started_at, j.completed_at
    from public.jobs j
    where ourvidz.is_ours(j)
        and (p_job_ids is null or j.id = any (p_job_ids))
        and (p_statuses is null or j.status::text = any (p_statuses))
        and (p_job_types is null or j.job_type::text = any (p_job_types))
        and (p_user_id is null or j.user_id = p_user_id)
        and (p_since is null or j.created_at >= p_since)
    order by j.created_at desc, j.id
    limit least(greatest(p_limit, 0), 10000)
$$;

-- Put a job that failed or was cancelled back into the queue, to be run from the start with all of
-- its attempts. The answer is the status that it has now, and whether this call put it back; no row:
-- there is no such job, or it is another provider's. What "queued" clears, the trigger clears.
create function public.retry_job(p_job_id uuid)
returns table (status text, retried boolean)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    v_retried boolean;
begin
    update public.jobs j
    set status = ourvidz.as_status('queued'), run_after = public.ourvidz_now()
    where j.id = p_job_id and j.status in ('failed', 'cancelled') and ourvidz.is_ours(j)
        -- Stored as failed since nobody knows its type: there is nothing to try again.
        and j.job_type::text = any (public.known_job_types());
    v_retried := found;
    return query
    select j.status::text, v_retried
    from public.jobs j
    where j.id = p_job_id and ourvidz.is_ours(j);
end
$$;

revoke execute on function
    public.list_jobs(text[], text[], uuid, timestamptz, integer, uuid[]), public.retry_job(uuid)
from public, anon, authenticated;
grant execute on function
    public.list_jobs(text[], text[], uuid, timestamptz, integer, uuid[]), public.retry_job(uuid)
to ourvidz_worker, service_role;
