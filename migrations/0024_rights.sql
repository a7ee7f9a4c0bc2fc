-- Who may do what with a row. An owner inserts, reads and cancels; the worker hears of rows (which
-- Realtime delivers to those who may select them) and does the rest through functions. Policies of
-- an existing table stay as they are; the triggers hold against whatever these allow.
do $$
declare
    v_others text;
    v_secured boolean := (
        select relrowsecurity from pg_catalog.pg_class where oid = 'public.jobs'::regclass
    );
    -- An existing table is known by the column that frontends of it read.
    v_existing boolean := exists (
        select from pg_catalog.pg_attribute
        where attrelid = 'public.jobs'::regclass and attname = 'error_message' and not attisdropped
    );
begin
    alter table public.jobs enable row level security;
    if v_existing and not v_secured then
        raise notice 'switched on row level security of jobs';
    end if;

    select string_agg(quote_ident(attname), ', ') into v_others
    from pg_catalog.pg_attribute
    where attrelid = 'public.jobs'::regclass and attnum > 0 and not attisdropped
        and attgenerated = ''
        and attname not in (
            'id', 'user_id', 'job_type', 'status', 'priority', 'metadata', 'progress',
            'current_step', 'estimated_completion', 'result', 'error', 'error_code', 'attempts',
            'max_attempts', 'run_after', 'cancel_requested_at', 'created_at', 'started_at',
            'completed_at', 'updated_at', 'fair_tag', 'error_message', 'api_model_id'
        );
    if v_existing then
        revoke update on public.jobs from anon, authenticated;
        raise notice 'clients may no longer update the worker''s columns of jobs, but for status';
        if v_others is not null then
            execute format('grant update (%s) on public.jobs to authenticated', v_others);
        end if;
    else
        revoke all on public.jobs from anon, authenticated;
        grant select, insert on public.jobs to authenticated;
    end if;
    grant update (status) on public.jobs to authenticated;
    grant all on public.jobs, public.job_runs to service_role;
    grant select (id, status, job_type, user_id, created_at) on public.jobs to ourvidz_worker;
end
$$;

create policy ourvidz_owner_reads on public.jobs for select to authenticated
using (user_id = (select auth.uid()));

-- Stored as failed: a row whose job type the insert's check didn't know.
create policy ourvidz_owner_inserts on public.jobs for insert to authenticated
with check (user_id = (select auth.uid()) and status in ('queued', 'failed'));

create policy ourvidz_owner_cancels on public.jobs for update to authenticated
using (user_id = (select auth.uid()) and status in ('queued', 'processing'))
with check (user_id = (select auth.uid()) and status = 'cancelled');

create policy ourvidz_worker_hears on public.jobs for select to ourvidz_worker
using (true);
