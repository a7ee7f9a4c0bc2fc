-- Record how runs ended. Finishes are `[{"claim_id", "outcome", "result", "error", "error_code",
-- "retry_in_s", "timings"}]`; all of them are written, or none. The answer for each claim:
--
--     recorded   written now, or by an earlier call of the same claim whose answer was lost
--     stale      the claim no longer owns the job: its work is thrown away
create function public.finish_jobs(p_finishes jsonb)
returns table (claim_id uuid, state text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    v_now timestamptz := public.ourvidz_now();
    v_claims uuid[] := array(
        select (e.finish ->> 'claim_id')::uuid from jsonb_array_elements(p_finishes) as e (finish)
    );
    v_owned uuid[];
begin
    perform from public.jobs j
    where j.id in (select r.job_id from public.job_runs r where r.claim_id = any (v_claims))
    order by j.id
    for no key update;
    perform from public.job_runs r
    where r.claim_id = any (v_claims) and r.ended_at is null
    order by r.job_id
    for update;
    -- Nobody can take these jobs away any more: this is the fence.
    v_owned := array(
        select r.claim_id
        from public.job_runs r
        join public.jobs j on j.id = r.job_id
        where r.claim_id = any (v_claims) and r.ended_at is null and j.status = 'processing'
    );

    -- The run first: whoever sees a queued job finds no open run of it.
    perform ourvidz.end_runs(p_finishes, v_now);

    update public.jobs j
    set status = ourvidz.as_status(
            case r.outcome
                when 'retried' then 'queued' when 'released' then 'queued' else r.outcome
            end
        ),
        result = case when r.outcome = 'completed' then f.result end,
        error = case when r.outcome in ('failed', 'retried') then f.error end,
        error_code = case when r.outcome in ('failed', 'retried') then f.error_code end,
        progress = case
            when r.outcome = 'completed' then 100
            when r.outcome in ('retried', 'released') then 0
            else j.progress
        end,
        current_step = null,
        estimated_completion = null,
        -- A release isn't counted: the worker stopped for reasons of its own.
        attempts = greatest(j.attempts - case when r.outcome = 'released' then 1 else 0 end, 0),
        run_after = case r.outcome
            when 'retried' then v_now + make_interval(secs => least(greatest(f.retry_in_s, 0), 86400))
            when 'released' then v_now
            else j.run_after
        end,
        started_at = case when r.outcome in ('retried', 'released') then null else j.started_at end,
        completed_at = case when r.outcome in ('retried', 'released') then null else v_now end,
        updated_at = v_now
    from public.job_runs r
    join jsonb_to_recordset(p_finishes) as f (
        claim_id uuid, result jsonb, error text, error_code text, retry_in_s double precision
    ) on f.claim_id = r.claim_id
    where r.claim_id = any (v_owned) and j.id = r.job_id;

    return query
    select distinct on (f.claim_id)
        f.claim_id,
        case
            when f.claim_id = any (v_owned)
                or r.outcome = f.outcome
                or (f.outcome = 'retry' and r.outcome in ('retried', 'failed'))
                then 'recorded'
            else 'stale'
        end
    from jsonb_to_recordset(p_finishes) as f (claim_id uuid, outcome text)
    left join public.job_runs r on r.claim_id = f.claim_id;
end
$$;

revoke execute on function public.finish_jobs(jsonb) from public, anon, authenticated;
grant execute on function public.finish_jobs(jsonb) to ourvidz_worker, service_role;
