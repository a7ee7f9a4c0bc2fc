-- The run's side of a finish. Of a job that was cancelled meanwhile the run ends as cancelled,
-- whatever its worker says; of one that somebody else changed it ends as expired. A retry without
-- an attempt left is a failure.
create function ourvidz.end_runs(p_finishes jsonb, p_now timestamptz) returns void
language sql set search_path = '' as $$
    update public.job_runs r
    set ended_at = p_now,
        outcome = case
            when j.status = 'cancelled' then 'cancelled'
            when j.status <> 'processing' then 'expired'
            when f.outcome <> 'retry' then f.outcome
            when coalesce(j.attempts, 0) >= coalesce(j.max_attempts, 3) then 'failed'
            else 'retried'
        end,
        error = f.error,
        error_code = f.error_code,
        timings = f.timings
    from jsonb_to_recordset(p_finishes) as f (
        claim_id uuid, outcome text, error text, error_code text, timings jsonb
    )
    cross join public.jobs j
    where r.claim_id = f.claim_id and r.ended_at is null and j.id = r.job_id
$$;
