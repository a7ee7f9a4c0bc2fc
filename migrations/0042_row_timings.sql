-- Where a job's time went stands in its row: as it is known with each progress that is written anyway,
-- and at the end. Seconds since the job was last queued, by wake_up, queue, vram, switch, load, run,
-- upload.
alter table public.jobs add column if not exists timings jsonb;
comment on column public.jobs.timings is
    'Where the time went since the job was queued, in seconds that add up to it, as of updated_at.';

-- As before, and clients don't write it.
create or replace function ourvidz.check_client_insert() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if not ourvidz.is_ours(new) then
        return new;
    end if;
    if new.status is distinct from 'queued' and new.status is not null then
        raise exception 'a job is inserted with status "queued", not "%"', new.status
            using errcode = '42501';
    end if;
    new.user_id := coalesce(new.user_id, auth.uid());
    -- Clients may make way for others, not push ahead of them.
    new.priority := least(greatest(coalesce(new.priority, 0), -100), 0);
    new.progress := 0;
    new.current_step := null;
    new.estimated_completion := null;
    new.timings := null;
    new.result := null;
    new.error := null;
    new.error_code := null;
    new.attempts := 0;
    new.cancel_requested_at := null;
    new.created_at := public.ourvidz_now();
    new.started_at := null;
    new.completed_at := null;
    return new;
end
$$;

-- As before, and a job that is queued again begins its account anew.
create or replace function ourvidz.stamp_update() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_now timestamptz := public.ourvidz_now();
begin
    if not ourvidz.is_ours(new) then
        return new;
    end if;
    new.updated_at := v_now;
    if new.status = 'cancelled' then
        -- The run stays open: its worker learns of it when it renews, and ends it.
        new.cancel_requested_at := coalesce(new.cancel_requested_at, v_now);
        new.completed_at := coalesce(new.completed_at, v_now);
        new.estimated_completion := null;
        return new;
    end if;

    -- Queued again. A run that is still open here was taken away from its worker: the job's next
    -- run must find none. The functions end the run before they queue a job, so theirs is closed.
    update public.job_runs r
    set ended_at = v_now, outcome = 'expired', error = 'the job was queued again from outside'
    where r.job_id = new.id and r.ended_at is null;
    if old.status not in ('queued', 'processing') then
        new.attempts := 0;
        new.result := null;
        new.error := null;
        new.error_code := null;
    end if;
    new.progress := 0;
    new.current_step := null;
    new.estimated_completion := null;
    new.timings := null;
    new.cancel_requested_at := null;
    new.started_at := null;
    new.completed_at := null;
    new.run_after := coalesce(new.run_after, v_now);
    return new;
end
$$;

-- As before, with the account, which alone is no reason to write. No expected end says nothing: the
-- one that the row was told before stands.
create or replace function public.report_progress(p_reports jsonb)
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
        estimated_completion = coalesce(p.estimated_completion, j.estimated_completion),
        timings = coalesce(p.timings, j.timings), updated_at = v_now
    from (
        select distinct on (f.claim_id)
            f.claim_id, least(greatest(f.percent, 0), 100) as percent, f.current_step,
            f.estimated_completion, f.timings
        from jsonb_to_recordset(p_reports) as f (
            claim_id uuid, percent integer, current_step text, estimated_completion timestamptz,
            timings jsonb
        )
        order by f.claim_id, f.percent desc
    ) p
    join public.job_runs r on r.claim_id = p.claim_id and r.ended_at is null
    where j.id = r.job_id and j.status = 'processing'
        and (
            j.progress is distinct from p.percent
            or j.current_step is distinct from p.current_step
            or coalesce(p.estimated_completion, j.estimated_completion)
                is distinct from j.estimated_completion
        );

    return query select s.claim_id, s.state from ourvidz.states_of(v_claims) s;
end
$$;
