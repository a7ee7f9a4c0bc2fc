-- What the database says of claims: held, cancelled (stop, then finish as cancelled) or lost (stop,
-- write nothing). A claim is lost when its run has ended, its job is gone or in another state.
create function ourvidz.states_of(p_claims uuid[])
returns table (claim_id uuid, state text) language sql stable as $$
    select
        c.claim_id,
        case
            when j.status = 'processing' then 'held'
            when j.status = 'cancelled' then 'cancelled'
            else 'lost'
        end
    from (select distinct unnest(p_claims) as claim_id) c
    left join public.job_runs r on r.claim_id = c.claim_id and r.ended_at is null
    left join public.jobs j on j.id = r.job_id
$$;

-- Touches job_runs alone. A lease that ran out but that nobody took back may be renewed: the work
-- is still the only one of its kind.
create function public.renew_leases(p_claims uuid[], p_lease_s double precision)
returns table (claim_id uuid, state text)
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    v_lease timestamptz := public.ourvidz_now() + make_interval(secs => p_lease_s);
begin
    perform from public.job_runs r
    where r.claim_id = any (p_claims) and r.ended_at is null
    order by r.job_id
    for update;

    update public.job_runs r set lease_expires_at = v_lease
    from public.jobs j
    where r.claim_id = any (p_claims) and r.ended_at is null
        and j.id = r.job_id and j.status = 'processing';

    return query select s.claim_id, s.state from ourvidz.states_of(p_claims) s;
end
$$;

-- Reports are `[{"claim_id", "percent", "current_step", "estimated_completion"}]`. Every write here
-- is a change event for all who watch the table: what says nothing new isn't written.
create function public.report_progress(p_reports jsonb)
returns table (claim_id uuid, state text)
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    v_now timestamptz := public.ourvidz_now();
    v_claims uuid[] := array(
        select (e.report ->> 'claim_id')::uuid from jsonb_array_elements(p_reports) as e (report)
    );
begin
    perform from public.jobs j
    where j.id in (
        select r.job_id from public.job_runs r
        where r.claim_id = any (v_claims) and r.ended_at is null
    )
    order by j.id
    for no key update;

    update public.jobs j
    set progress = p.percent, current_step = p.current_step,
        estimated_completion = p.estimated_completion, updated_at = v_now
    from (
        select distinct on (f.claim_id)
            f.claim_id, least(greatest(f.percent, 0), 100) as percent, f.current_step,
            f.estimated_completion
        from jsonb_to_recordset(p_reports) as f (
            claim_id uuid, percent integer, current_step text, estimated_completion timestamptz
        )
        order by f.claim_id, f.percent desc
    ) p
    join public.job_runs r on r.claim_id = p.claim_id and r.ended_at is null
    where j.id = r.job_id and j.status = 'processing'
        and (
            j.progress is distinct from p.percent
            or j.current_step is distinct from p.current_step
            or j.estimated_completion is distinct from p.estimated_completion
        );

    return query select s.claim_id, s.state from ourvidz.states_of(v_claims) s;
end
$$;

revoke execute on function public.renew_leases(uuid[], double precision)
from public, anon, authenticated;
revoke execute on function public.report_progress(jsonb) from public, anon, authenticated;
grant execute on function public.renew_leases(uuid[], double precision)
to ourvidz_worker, service_role;
grant execute on function public.report_progress(jsonb) to ourvidz_worker, service_role;
