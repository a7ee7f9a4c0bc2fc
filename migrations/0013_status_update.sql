-- What a plain `update` of status means. Claims and ends by the functions never come here: the
-- triggers' conditions are tested before anything is called.
--
--     queued, processing -> cancelled       by anybody who may; the same as cancel_job
--     anything -> queued                    by the backend: run again from the start
create function ourvidz.refuse_client_update() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if not ourvidz.is_ours(new) then
        return new;
    end if;
    raise exception 'status can''t be changed from "%" to "%"; an unfinished job can be cancelled',
        old.status, new.status using errcode = '42501';
end
$$;

create function ourvidz.stamp_update() returns trigger
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
    new.cancel_requested_at := null;
    new.started_at := null;
    new.completed_at := null;
    new.run_after := coalesce(new.run_after, v_now);
    return new;
end
$$;

create trigger ourvidz_a_client_update before update of status on public.jobs for each row
when (
    current_user in ('anon', 'authenticated')
    and new.status is distinct from old.status
    and not (new.status = 'cancelled' and old.status in ('queued', 'processing'))
)
execute function ourvidz.refuse_client_update();

create trigger ourvidz_b_update before update of status on public.jobs for each row
when (
    new.status is distinct from old.status
    and (
        new.status = 'queued'
        or (new.status = 'cancelled' and old.status in ('queued', 'processing'))
    )
)
execute function ourvidz.stamp_update();
