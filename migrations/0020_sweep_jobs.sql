-- Called by every worker, again and again: rescue, and say when the next call is worth it. With
-- `p_predecessor` also what another instance of the same worker holds, whose death the caller knows.
create function public.sweep_jobs(p_worker_id text, p_instance_id uuid, p_predecessor boolean)
returns table (rescued integer, failed integer, next_due_s double precision)
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    v_now timestamptz := public.ourvidz_now();
    v_claims uuid[];
    v_lease timestamptz;
    v_delayed timestamptz;
begin
    v_claims := ourvidz.end_expired_runs(p_worker_id, p_instance_id, p_predecessor, v_now);

    update public.jobs j
    set status = 'queued', run_after = v_now, progress = 0, current_step = null,
        estimated_completion = null, started_at = null, updated_at = v_now
    from public.job_runs r
    where r.claim_id = any (v_claims) and j.id = r.job_id and j.status = 'processing'
        and coalesce(j.attempts, 0) < coalesce(j.max_attempts, 3);
    get diagnostics rescued = row_count;

    update public.jobs j
    set status = 'failed', error_code = 'GENERATION_FAILED', completed_at = v_now,
        updated_at = v_now, current_step = null, estimated_completion = null,
        error = case
            when j.attempts = 1 then 'the worker stopped while running this job'
            else format('the worker stopped %s times while running this job', j.attempts)
        end
    from public.job_runs r
    where r.claim_id = any (v_claims) and j.id = r.job_id and j.status = 'processing';
    get diagnostics failed = row_count;
    failed := failed + ourvidz.fail_unknown_jobs(v_now);

    select min(r.lease_expires_at) into v_lease from public.job_runs r where r.ended_at is null;
    select j.run_after into v_delayed
    from public.jobs j
    where j.status = 'queued' and ourvidz.is_ours(j) and j.run_after > v_now
    order by j.run_after
    limit 1;
    if v_lease is not null or v_delayed is not null then
        next_due_s := greatest(extract(epoch from least(v_lease, v_delayed) - v_now), 0);
    end if;
    return next;
end
$$;

revoke execute on function public.sweep_jobs(text, uuid, boolean)
from public, anon, authenticated;
grant execute on function public.sweep_jobs(text, uuid, boolean) to ourvidz_worker, service_role;
