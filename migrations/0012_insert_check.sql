-- A row is written by whoever holds a token: what a browser must not decide is set here, before the
-- row exists. Names of triggers begin so that these two run in this order.
create function ourvidz.check_client_insert() returns trigger
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

create function ourvidz.check_insert() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_now timestamptz := public.ourvidz_now();
    v_size integer := octet_length(new.metadata::text);
    v_limit constant integer := 512 * 1024;
begin
    if not ourvidz.is_ours(new) then
        return new;
    end if;
    if v_size > v_limit then
        raise exception 'metadata is % bytes long; the limit is % bytes', v_size, v_limit
            using errcode = '22023', hint = 'upload large inputs to storage and pass their path';
    end if;
    if new.run_after > v_now + interval '7 days' then
        raise exception 'run_after is %; the limit is 7 days from now', new.run_after
            using errcode = '22023';
    end if;
    new.status := coalesce(new.status, 'queued');
    new.metadata := coalesce(new.metadata, '{}');
    new.priority := least(greatest(coalesce(new.priority, 0), -100), 100);
    new.progress := least(greatest(coalesce(new.progress, 0), 0), 100);
    new.attempts := coalesce(new.attempts, 0);
    new.max_attempts := least(greatest(coalesce(new.max_attempts, 3), 1), 10);
    new.run_after := greatest(new.run_after, v_now);
    new.created_at := coalesce(new.created_at, v_now);
    new.updated_at := v_now;
    if new.status <> 'queued' then
        return new;
    end if;

    if new.job_type::text = any (public.known_job_types()) then
        new.fair_tag := ourvidz.next_tag(new.user_id, new.job_type::text, v_now);
    else
        -- Stored rather than refused: the frontend watches the row, not the insert's error.
        new.status := 'failed';
        new.error := format('unknown job type "%s"', left(new.job_type::text, 100));
        new.error_code := 'INVALID_PROMPT';
        new.completed_at := v_now;
    end if;
    return new;
end
$$;

create trigger ourvidz_a_client_insert before insert on public.jobs for each row
when (current_user in ('anon', 'authenticated'))
execute function ourvidz.check_client_insert();

create trigger ourvidz_b_insert before insert on public.jobs for each row
execute function ourvidz.check_insert();
