-- Frontends of an existing table read the error from error_message and the progress from metadata.
-- Where that column exists a trigger keeps both in step; elsewhere there is no trigger at all.
do $$
begin
    if not exists (
        select from pg_catalog.pg_attribute
        where attrelid = 'public.jobs'::regclass and attname = 'error_message' and not attisdropped
    ) then
        return;
    end if;

    create function ourvidz.mirror() returns trigger
    language plpgsql security definer set search_path = '' as $sql$
    begin
        if not ourvidz.is_ours(new) then
            return new;
        end if;
        new.error_message := new.error;
        if tg_op = 'UPDATE'
            and new.progress is distinct from old.progress
            and jsonb_typeof(new.metadata) = 'object'
        then
            new.metadata := new.metadata || jsonb_build_object('progress', new.progress);
        end if;
        return new;
    end
    $sql$;

    -- "c": after the checks, whose values it copies.
    create trigger ourvidz_c_mirror_insert before insert on public.jobs for each row
    when (new.error is not null)
    execute function ourvidz.mirror();
    create trigger ourvidz_c_mirror_update before update on public.jobs for each row
    when (new.error is distinct from old.error or new.progress is distinct from old.progress)
    execute function ourvidz.mirror();
end
$$;
