-- What the side server's HTTP API asks of rows.
alter table public.jobs add column if not exists request_fingerprint text;
comment on column public.jobs.request_fingerprint is
    'Of a job that was asked for over HTTP with an idempotency key: what tells its request from others.';

-- Add a job under a given id, once: the same id again changes nothing.
--
--     created   this call has added it
--     same      it was asked for with this fingerprint; false: the id was used for something else
--     status    as it is now
--
-- There is no look at the metadata, which triggers of an existing table may have changed since.
create function public.submit_job(
    p_job_id uuid, p_job_type text, p_metadata jsonb, p_user_id uuid default null,
    p_fingerprint text default null
)
returns table (created boolean, same boolean, status text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    v_created boolean := false;
    v_job public.jobs;
begin
    -- An insert that does nothing would still wake all workers.
    select j.* into v_job from public.jobs j where j.id = p_job_id;
    if not found then
        insert into public.jobs (id, job_type, metadata, user_id, status, request_fingerprint)
        values (
            p_job_id, ourvidz.as_job_type(p_job_type), coalesce(p_metadata, '{}'), p_user_id,
            'queued', p_fingerprint
        )
        on conflict (id) do nothing;
        v_created := found;
        select j.* into v_job from public.jobs j where j.id = p_job_id;
        if not found then
            raise exception 'the job % was removed in this moment', p_job_id
                using errcode = '40001';
        end if;
    end if;
    if not ourvidz.is_ours(v_job) then
        raise exception 'the id % belongs to a job of another provider', p_job_id
            using errcode = '23505';
    end if;
    return query select
        v_created,
        v_created or v_job.request_fingerprint is not distinct from p_fingerprint,
        v_job.status::text;
end
$$;

-- Jobs as whoever asked for them may see them; those that aren't there are left out. The result is
-- text, so that it is the same by every way.
create function public.read_jobs(p_job_ids uuid[])
returns table (
    id uuid, job_type text, status text, progress integer, current_step text,
    estimated_completion timestamptz, result text, error text, error_code text,
    attempts integer, max_attempts integer, created_at timestamptz, started_at timestamptz,
    completed_at timestamptz
)
language sql stable security definer set search_path = ''
-- A plan that serves a full table, whatever the planner knows.
set enable_seqscan = off as $$
    select
        j.id, j.job_type::text, j.status::text, coalesce(j.progress, 0)::integer, j.current_step,
        j.estimated_completion, j.result::text, j.error, j.error_code,
        coalesce(j.attempts, 0)::integer, coalesce(j.max_attempts, 3)::integer, j.created_at,
        j.started_at, j.completed_at
    from public.jobs j
    where j.id = any (p_job_ids) and ourvidz.is_ours(j)
$$;

-- cancel_job, answering by a row: the worker's client can't tell a lone text from a proxy's page.
create function public.withdraw_job(p_job_id uuid) returns table (status text)
language sql security definer set search_path = '' as $$
    select c.status from public.cancel_job(p_job_id) as c (status) where c.status is not null
$$;

revoke execute on function
    public.submit_job(uuid, text, jsonb, uuid, text), public.read_jobs(uuid[]),
    public.withdraw_job(uuid)
from public, anon, authenticated;
grant execute on function
    public.submit_job(uuid, text, jsonb, uuid, text), public.read_jobs(uuid[]),
    public.withdraw_job(uuid)
to ourvidz_worker, service_role;
