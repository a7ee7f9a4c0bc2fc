-- Remove old runs and, only where somebody asks for it, old finished jobs: at most 1,000 a call.
create function public.prune_job_runs(p_older_than interval) returns integer
language plpgsql security definer set search_path = '' as $$
declare
    v_pruned integer;
begin
    delete from public.job_runs r
    where r.claim_id in (
        select o.claim_id from public.job_runs o
        where o.ended_at < public.ourvidz_now() - p_older_than
        limit 1000
        for update skip locked
    );
    get diagnostics v_pruned = row_count;
    return v_pruned;
end
$$;

create function public.prune_finished_jobs(p_older_than interval) returns integer
language plpgsql security definer set search_path = '' as $$
declare
    v_pruned integer;
begin
    delete from public.jobs j
    where j.id in (
        select o.id from public.jobs o
        where o.status in ('completed', 'failed', 'cancelled') and ourvidz.is_ours(o)
            and o.completed_at < public.ourvidz_now() - p_older_than
            -- A cancelled job's worker may not have heard of it yet.
            and not exists (
                select from public.job_runs r where r.job_id = o.id and r.ended_at is null
            )
        limit 1000
        for update skip locked
    );
    get diagnostics v_pruned = row_count;
    return v_pruned;
end
$$;

revoke execute on function public.prune_job_runs(interval), public.prune_finished_jobs(interval)
from public, anon, authenticated;
grant execute on function public.prune_job_runs(interval), public.prune_finished_jobs(interval)
to ourvidz_worker, service_role;
