-- Whether the database has `realtime.send` is looked up at each hint instead of when this was
-- installed: a project may get it later, or lose it.
create or replace function ourvidz.hint() returns trigger
language plpgsql security definer set search_path = '' as $$
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
    if to_regprocedure('realtime.send(jsonb,text,text,boolean)') is not null then
        begin
            execute 'select realtime.send(''{}'', ''wake'', ''ourvidz:jobs'', true)';
        exception when others then
            -- Nobody's insert may fail for want of a hint.
            raise warning 'no broadcast of the wake-up: %', sqlerrm;
        end;
    end if;
    return null;
end
$$;
