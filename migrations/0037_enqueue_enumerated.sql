-- A table may have its job types as an enumeration, which takes no text.
create or replace function public.enqueue_job(
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
        ourvidz.as_job_type(p_job_type),
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
