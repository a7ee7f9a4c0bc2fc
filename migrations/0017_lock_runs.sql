-- The open runs that a batch of finishes names, and what became of their jobs.
create type ourvidz.open_runs as (
    claim_ids uuid[], job_ids uuid[], statuses text[], are_last boolean[]
);

-- Nobody can take these jobs away any more until the transaction ends: this is the fence.
create function ourvidz.lock_open_runs(p_finishes jsonb) returns ourvidz.open_runs
language plpgsql set search_path = '' set enable_seqscan = off set enable_mergejoin = off as $$
declare
    v_claims uuid[] := array(
        select f.claim_id from jsonb_to_recordset(p_finishes) as f (claim_id uuid)
    );
    v_open ourvidz.open_runs;
begin
    select
        array_agg(l.claim_id), array_agg(l.job_id), array_agg(l.status), array_agg(l.is_last)
    into v_open
    from (
        select
            r.claim_id, r.job_id, j.status::text as status,
            coalesce(j.attempts, 0) >= coalesce(j.max_attempts, 3) as is_last
        from public.job_runs r
        join public.jobs j on j.id = r.job_id
        -- A plain condition would let the planner read all open runs.
        where r.claim_id = any (v_claims) and case when r.ended_at is null then true else false end
        order by j.id
        for no key update of j, r
    ) l;
    return v_open;
end
$$;
