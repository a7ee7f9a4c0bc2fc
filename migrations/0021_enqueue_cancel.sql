-- Add a job. A signed-in caller adds it for himself; the backend for whom it names.
create function public.enqueue_job(
    p_job_type text, p_metadata jsonb default '{}', p_priority integer default 0,
    p_user_id uuid default null, p_run_after timestamptz default null
)
returns public.jobs language plpgsql security definer set search_path = '' as $$
declare
    v_client boolean := ourvidz.called_by_client();
    v_job public.jobs;
begin
    if v_client and p_user_id is distinct from auth.uid() and p_user_id is not null then
        raise exception 'a job can only be added for oneself' using errcode = '42501';
    end if;
    insert into public.jobs (job_type, metadata, priority, user_id, status, run_after)
    values (
        p_job_type,
        coalesce(p_metadata, '{}'),
        case when v_client then least(p_priority, 0) else p_priority end,
        case when v_client then auth.uid() else p_user_id end,
        'queued',
        coalesce(p_run_after, public.ourvidz_now())
    )
    returning * into v_job;
    return v_job;
end
$$;

-- Cancel an unfinished job and return the status that it has now: "cancelled", or how it ended
-- before. Null: there is no such job, or it is somebody else's. What an update of status to
-- "cancelled" does is done by the same trigger.
create function public.cancel_job(p_job_id uuid) returns text
language plpgsql security definer set search_path = '' as $$
declare
    v_client boolean := ourvidz.called_by_client();
    v_status text;
begin
    update public.jobs j set status = 'cancelled'
    where j.id = p_job_id and j.status in ('queued', 'processing') and ourvidz.is_ours(j)
        and (not v_client or j.user_id = auth.uid());
    select j.status::text into v_status
    from public.jobs j
    where j.id = p_job_id and ourvidz.is_ours(j) and (not v_client or j.user_id = auth.uid());
    return v_status;
end
$$;

revoke execute on function
    public.enqueue_job(text, jsonb, integer, uuid, timestamptz), public.cancel_job(uuid)
from public, anon;
grant execute on function
    public.enqueue_job(text, jsonb, integer, uuid, timestamptz), public.cancel_job(uuid)
to authenticated, ourvidz_worker, service_role;
