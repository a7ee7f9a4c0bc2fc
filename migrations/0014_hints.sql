-- Hints that work may exist: NOTIFY for direct connections and, where the server has it, a Realtime
-- broadcast on the private topic `ourvidz:jobs`. Both are empty: the table is the truth.
do $$
declare
    v_broadcast text := '';
begin
    if to_regprocedure('realtime.send(jsonb,text,text,boolean)') is not null then
        v_broadcast := $sql$
            begin
                perform realtime.send('{}'::jsonb, 'wake', 'ourvidz:jobs', true);
            exception when others then
                -- Nobody's insert may fail for want of a hint.
                raise warning 'no broadcast of the wake-up: %', sqlerrm;
            end;
        $sql$;
    end if;
    execute format($sql$
        create function ourvidz.hint() returns trigger
        language plpgsql security definer set search_path = '' as $body$
        begin
            -- Once a transaction is enough, however many rows it writes.
            if current_setting('ourvidz.hinted', true)
                is not distinct from pg_catalog.pg_current_xact_id()::text
            then
                return null;
            end if;
            perform pg_catalog.set_config(
                'ourvidz.hinted', pg_catalog.pg_current_xact_id()::text, true
            );
            perform pg_catalog.pg_notify('ourvidz_jobs', '');
            %s
            return null;
        end
        $body$
    $sql$, v_broadcast);
end
$$;

create trigger ourvidz_hint_insert after insert on public.jobs for each statement
execute function ourvidz.hint();

create trigger ourvidz_hint_queued after update of status on public.jobs for each row
when (
    new.status = 'queued' and old.status is distinct from new.status
    and new.run_after <= public.ourvidz_now()
)
execute function ourvidz.hint();

do $$
begin
    if to_regclass('realtime.messages') is not null then
        grant usage on schema realtime to ourvidz_worker;
        grant select on realtime.messages to ourvidz_worker;
        create policy ourvidz_worker_hears_hints on realtime.messages for select
        to ourvidz_worker using (realtime.topic() = 'ourvidz:jobs');
    end if;
exception when others then
    -- Without it the worker hears of jobs by the change events alone, which is slower.
    raise notice 'no policy for the wake-up broadcast: %', sqlerrm;
end
$$;
