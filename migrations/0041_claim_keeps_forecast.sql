-- A claim leaves the expected end that the row was told while it was queued, until its worker knows
-- better, and says in how many seconds that is (`foretold_s`): what was promised is held to account.
drop function public.claim_jobs(text, uuid, uuid, jsonb, double precision);

-- Take up to `count` jobs for each demand, in fair order. One UPDATE of jobs, so one change event a
-- job. The same `p_request_id` again gives the same claims that are still open, with a new lease:
-- a caller whose answer was lost simply asks again, and claims no more than once. metadata is text,
-- since only the reader of one row can say that this row's JSON is too much for it, without losing
-- the others.
--
-- Plans are kept by a session from its first calls, when the tables may be empty: the settings say
-- what is right for full ones, which is an index for everything.
create function public.claim_jobs(
    p_worker_id text, p_instance_id uuid, p_request_id uuid, p_demands jsonb,
    p_lease_s double precision
)
returns table (
    id uuid, user_id uuid, job_type text, metadata text, original_prompt text, claim_id uuid,
    attempt integer, max_attempts integer, created_at timestamptz, hinted_s double precision,
    engine_losses integer, queued_s double precision, priority integer,
    foretold_s double precision
)
language plpgsql security definer set search_path = ''
set enable_seqscan = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    v_now timestamptz := public.ourvidz_now();
    v_lease timestamptz := v_now + make_interval(secs => p_lease_s);
    v_ids uuid[] := '{}';
    v_demand record;
    v_first constant uuid := ourvidz.nth_claim(p_request_id, 0);
    v_last constant uuid := ourvidz.nth_claim(p_request_id, x'ffffffff'::bigint);
begin
    -- No wait for the disk: a claim that a crash of the server undoes leaves a queued job, and its
    -- worker a stale claim. The finish waits.
    perform set_config('synchronous_commit', 'off', true);
    -- The same request may still be running, after a time-out of its caller: wait for its end.
    perform pg_advisory_xact_lock(hashtextextended(p_request_id::text, 0));
    -- Rows that are just being foretold would be passed over as somebody else's.
    perform pg_advisory_xact_lock_shared(ourvidz.foretelling());
    if exists (select from public.job_runs r where r.claim_id between v_first and v_last) then
        update public.job_runs r set lease_expires_at = v_lease
        where r.claim_id between v_first and v_last and r.ended_at is null;

        return query
        select
            j.id, j.user_id, j.job_type::text, j.metadata::text, ourvidz.original_prompt(j),
            r.claim_id, r.attempt, coalesce(j.max_attempts, 3), j.created_at,
            null::double precision,
            (
                select count(*)::integer from public.job_runs l
                where l.job_id = j.id and l.engine_lost
            ),
            ourvidz.queued_s(j, r.started_at), coalesce(j.priority, 0)::integer,
            extract(epoch from j.estimated_completion - v_now)::double precision
        from public.job_runs r
        join public.jobs j on j.id = r.job_id
        where r.claim_id between v_first and v_last
            and r.ended_at is null and j.status = 'processing'
        order by j.priority desc, j.fair_tag, j.created_at, j.id;
        return;
    end if;

    for v_demand in
        select
            array(
                select t.name from jsonb_array_elements_text(d.demand -> 'job_types') as t (name)
                where t.name = any (public.known_job_types())
            ) as job_types,
            least(greatest(coalesce((d.demand ->> 'count')::integer, 0), 0), 1000) as count
        from jsonb_array_elements(p_demands) with ordinality as d (demand, place)
        order by d.place
    loop
        v_ids := v_ids || ourvidz.lock_next_jobs(
            v_demand.job_types, v_demand.count, v_now, v_ids
        );
    end loop;

    return query
    with claimed as (
        update public.jobs j
        set status = 'processing', attempts = coalesce(j.attempts, 0) + 1, started_at = v_now,
            updated_at = v_now, completed_at = null, progress = 0, current_step = null,
            error = null, error_code = null
        where j.id = any (v_ids)
        returning
            j.id, j.user_id, j.job_type::text as job_type, j.metadata::text as metadata,
            ourvidz.original_prompt(j) as original_prompt, j.attempts,
            coalesce(j.max_attempts, 3) as max_attempts, j.created_at, j.priority, j.fair_tag,
            case when j.attempts = 1 and j.run_after <= j.created_at
                then extract(epoch from v_now - j.run_after)::double precision
            end as hinted_s,
            ourvidz.queued_s(j, v_now) as queued_s,
            extract(epoch from j.estimated_completion - v_now)::double precision as foretold_s
    ),
    numbered as materialized (
        select c.*, ourvidz.nth_claim(p_request_id, row_number() over ()) as claim_id
        from claimed c
    ),
    opened as (
        insert into public.job_runs (
            claim_id, job_id, worker_id, instance_id, attempt, lease_expires_at, started_at
        )
        select c.claim_id, c.id, p_worker_id, p_instance_id, c.attempts, v_lease, v_now
        from numbered c
    )
    select
        c.id, c.user_id, c.job_type, c.metadata, c.original_prompt, c.claim_id, c.attempts,
        c.max_attempts, c.created_at, c.hinted_s,
        (
            select count(*)::integer from public.job_runs l
            where l.job_id = c.id and l.engine_lost
        ),
        c.queued_s, coalesce(c.priority, 0)::integer, c.foretold_s
    from numbered c
    order by c.priority desc, c.fair_tag, c.created_at, c.id;
end
$$;

revoke execute on function public.claim_jobs(text, uuid, uuid, jsonb, double precision)
from public, anon, authenticated;
grant execute on function public.claim_jobs(text, uuid, uuid, jsonb, double precision)
to ourvidz_worker, service_role;
