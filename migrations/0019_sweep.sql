-- Take back what dead workers held: at most 100 runs a call, so that no sweep holds locks for long.
-- Rows that somebody is writing just now are skipped; a lease renewed meanwhile is seen as such.
create function ourvidz.end_expired_runs(
    p_worker_id text, p_instance_id uuid, p_predecessor boolean, p_now timestamptz
)
returns uuid[] language plpgsql set search_path = ''
set enable_seqscan = off set enable_mergejoin = off as $$
declare
    v_claims uuid[];
begin
    v_claims := array(
        select r.claim_id
        from public.job_runs r
        join public.jobs j on j.id = r.job_id
        where r.ended_at is null
            and (
                r.lease_expires_at <= p_now
                or (p_predecessor and r.worker_id = p_worker_id and r.instance_id <> p_instance_id)
            )
        order by r.lease_expires_at, r.job_id
        limit 100
        for no key update of j, r skip locked
    );
    update public.job_runs r
    set ended_at = p_now,
        outcome = case when j.status = 'cancelled' then 'cancelled' else 'expired' end,
        error = 'the worker stopped while running this job'
    from public.jobs j
    where r.claim_id = any (v_claims) and j.id = r.job_id;
    return v_claims;
end
$$;

-- Rows of a job type that nobody knows, from before inserts were checked. The job types in the
-- queue are found by hopping through the index, however many rows there are of each.
create function ourvidz.fail_unknown_jobs(p_now timestamptz) returns integer
language plpgsql set search_path = '' as $$
declare
    v_unknown text[];
    v_failed integer := 0;
begin
    with recursive types as (
        (
            select j.job_type from public.jobs j
            where j.status = 'queued' and ourvidz.is_ours(j)
            order by j.job_type limit 1
        )
        union all
        select (
            select j.job_type from public.jobs j
            where j.status = 'queued' and ourvidz.is_ours(j) and j.job_type > t.job_type
            order by j.job_type limit 1
        )
        from types t
        where t.job_type is not null
    )
    select array_agg(t.job_type::text) into v_unknown
    from types t
    where t.job_type is not null and t.job_type::text <> all (public.known_job_types());

    if v_unknown is not null then
        update public.jobs j
        set status = 'failed', error = format('unknown job type "%s"', left(j.job_type::text, 100)),
            error_code = 'INVALID_PROMPT', completed_at = p_now, updated_at = p_now
        where j.id in (
            select q.id from public.jobs q
            where q.status = 'queued' and ourvidz.is_ours(q) and q.job_type::text = any (v_unknown)
            limit 100
            for update skip locked
        );
        get diagnostics v_failed = row_count;
    end if;
    return v_failed;
end
$$;
