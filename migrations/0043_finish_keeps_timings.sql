-- However a run ends, its account stands in the row; of a job that goes back to the queue the next run
-- begins anew. Of a worker's timings these are the ones that add up.
create function ourvidz.account_of(p_timings jsonb) returns jsonb
language sql immutable set search_path = '' as $$
    select nullif(jsonb_strip_nulls(jsonb_build_object(
        'wake_up', p_timings -> 'wake_up', 'queue', p_timings -> 'queue',
        'vram', p_timings -> 'vram', 'switch', p_timings -> 'switch',
        'load', p_timings -> 'load', 'run', p_timings -> 'run', 'upload', p_timings -> 'upload'
    )), '{}')
$$;

-- Record how runs ended. Finishes are `[{"claim_id", "outcome", "result", "error", "error_code",
-- "retry_in_s", "engine_lost", "timings"}]`; all of them are written, or none. The answer for each
-- claim:
--
--     recorded   written now, or by an earlier call of the same claim whose answer was lost
--     stale      the claim no longer owns the job: its work is thrown away
--
-- Of a job that was cancelled meanwhile the run ends as cancelled, whatever its worker says; of one
-- that somebody else changed it ends as expired. A retry without an attempt left is a failure.
create or replace function public.finish_jobs(p_finishes jsonb)
returns table (claim_id uuid, state text)
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    v_now timestamptz := public.ourvidz_now();
    v_open ourvidz.open_runs := ourvidz.lock_open_runs(p_finishes);
begin
    return query
    with finishes as materialized (
        select *
        from jsonb_to_recordset(p_finishes) as f (
            claim_id uuid, outcome text, result jsonb, error text, error_code text,
            retry_in_s double precision, engine_lost boolean, timings jsonb
        )
    ),
    -- The run first: whoever sees a queued job finds no open run of it.
    ended as (
        update public.job_runs r
        set ended_at = v_now,
            outcome = case
                when o.status = 'cancelled' then 'cancelled'
                when o.status <> 'processing' then 'expired'
                when f.outcome <> 'retry' then f.outcome
                when o.is_last then 'failed'
                else 'retried'
            end,
            error = f.error,
            error_code = f.error_code,
            engine_lost = coalesce(f.engine_lost, false),
            timings = f.timings
        from finishes f
        join unnest(v_open.claim_ids, v_open.statuses, v_open.are_last)
            as o (claim_id, status, is_last) on o.claim_id = f.claim_id
        where r.claim_id = f.claim_id
        returning
            r.claim_id, r.job_id, r.outcome, o.status = 'processing' as owned, f.result, f.error,
            f.error_code, f.retry_in_s, f.timings
    ),
    written as (
        update public.jobs j
        set status = ourvidz.as_status(
                case e.outcome
                    when 'retried' then 'queued' when 'released' then 'queued' else e.outcome
                end
            ),
            result = case when e.outcome = 'completed' then e.result end,
            error = case when e.outcome in ('failed', 'retried') then e.error end,
            error_code = case when e.outcome in ('failed', 'retried') then e.error_code end,
            progress = case
                when e.outcome = 'completed' then 100
                when e.outcome in ('retried', 'released') then 0
                else j.progress
            end,
            current_step = null,
            estimated_completion = null,
            timings = ourvidz.account_of(e.timings),
            -- A release isn't counted: the run stopped for no reason of the job's own.
            attempts = greatest(j.attempts - case when e.outcome = 'released' then 1 else 0 end, 0),
            run_after = case e.outcome
                when 'retried'
                    then v_now + make_interval(secs => least(greatest(e.retry_in_s, 0), 86400))
                when 'released' then v_now
                else j.run_after
            end,
            started_at = case
                when e.outcome in ('retried', 'released') then null else j.started_at
            end,
            completed_at = case when e.outcome in ('retried', 'released') then null else v_now end,
            updated_at = v_now
        from ended e
        where j.id = e.job_id and e.owned
    )
    select distinct on (f.claim_id)
        f.claim_id,
        case
            when e.owned
                or o.outcome = f.outcome
                or (f.outcome = 'retry' and o.outcome in ('retried', 'failed'))
                then 'recorded'
            else 'stale'
        end
    from finishes f
    left join ended e on e.claim_id = f.claim_id
    -- What ended before this call is looked up only where this call ended nothing.
    cross join lateral (
        select coalesce(
            e.outcome,
            (select r.outcome from public.job_runs r where r.claim_id = f.claim_id)
        ) as outcome
    ) o;
end
$$;
