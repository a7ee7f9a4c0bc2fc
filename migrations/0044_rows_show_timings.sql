-- Whoever asks for rows, over HTTP or on the command line, sees where their time went.
drop function public.read_jobs(uuid[]);
drop function public.list_jobs(text[], text[], uuid, timestamptz, integer, uuid[]);

-- Jobs as whoever asked for them may see them; those that aren't there are left out. The result is
-- text, so that it is the same by every way.
create function public.read_jobs(p_job_ids uuid[])
returns table (
    id uuid, job_type text, status text, progress integer, current_step text,
    estimated_completion timestamptz, result text, error text, error_code text,
    attempts integer, max_attempts integer, created_at timestamptz, started_at timestamptz,
    completed_at timestamptz, timings text
)
language sql stable security definer set search_path = ''
-- A plan that serves a full table, whatever the planner knows.
set enable_seqscan = off as $$
    select
        j.id, j.job_type::text, j.status::text, coalesce(j.progress, 0)::integer, j.current_step,
        j.estimated_completion, j.result::text, j.error, j.error_code,
        coalesce(j.attempts, 0)::integer, coalesce(j.max_attempts, 3)::integer, j.created_at,
        j.started_at, j.completed_at, j.timings::text
    from public.jobs j
    where j.id = any (p_job_ids) and ourvidz.is_ours(j)
$$;

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
    completed_at timestamptz, timings text
)
language sql stable security definer set search_path = '' as $$
    select
        j.id, j.user_id, j.job_type::text, j.status::text, coalesce(j.priority, 0)::integer,
        coalesce(j.progress, 0)::integer, j.current_step, j.estimated_completion, j.result::text,
        j.error, j.error_code, coalesce(j.attempts, 0)::integer,
        coalesce(j.max_attempts, 3)::integer, j.created_at, j.started_at, j.completed_at,
        j.timings::text
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

revoke execute on function
    public.read_jobs(uuid[]),
    public.list_jobs(text[], text[], uuid, timestamptz, integer, uuid[])
from public, anon, authenticated;
grant execute on function
    public.read_jobs(uuid[]),
    public.list_jobs(text[], text[], uuid, timestamptz, integer, uuid[])
to ourvidz_worker, service_role;
