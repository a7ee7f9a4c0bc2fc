-- Let an existing table take this worker's words. A check constraint or an enumeration of somebody
-- else's keeps all that it allowed; what it forbade of ours is added, and each change is announced.
create function ourvidz.allow_words(p_column name, p_words text[]) returns void
language plpgsql as $$
declare
    v_type oid;
    v_number smallint;
    v_word text;
    v_check record;
    v_allowed boolean;
begin
    select a.atttypid, a.attnum into v_type, v_number
    from pg_catalog.pg_attribute a
    where a.attrelid = 'public.jobs'::regclass and a.attname = p_column;

    if (select t.typtype = 'e' from pg_catalog.pg_type t where t.oid = v_type) then
        foreach v_word in array p_words loop
            if not exists (
                select from pg_catalog.pg_enum e where e.enumtypid = v_type and e.enumlabel = v_word
            ) then
                execute format('alter type %s add value %L', v_type::regtype, v_word);
                raise notice 'added the value % to the type % of jobs.%', v_word,
                    v_type::regtype, p_column;
            end if;
        end loop;
        return;
    end if;

    -- Constraints over several columns say something else than which words exist: they stay.
    for v_check in
        select c.conname, c.convalidated, pg_catalog.pg_get_expr(c.conbin, c.conrelid) as condition
        from pg_catalog.pg_constraint c
        where c.conrelid = 'public.jobs'::regclass and c.contype = 'c' and c.conkey = array[v_number]
    loop
        execute format(
            'select coalesce(bool_and(coalesce(%s, true)), true) from (select w::%s as %I from unnest($1) w) t',
            v_check.condition, format_type(v_type, null), p_column
        ) into v_allowed using p_words;
        continue when v_allowed;

        execute format('alter table public.jobs drop constraint %I', v_check.conname);
        execute format(
            'alter table public.jobs add constraint %I check ((%s) or %I = any (%L::text[]))%s',
            v_check.conname, v_check.condition, p_column, p_words,
            case when v_check.convalidated then '' else ' not valid' end
        );
        raise notice 'widened the constraint % of jobs.%: it allows what it did (%) and also %',
            v_check.conname, p_column, v_check.condition, array_to_string(p_words, ', ');
    end loop;
end
$$;

select ourvidz.allow_words(
    'status', array['queued', 'processing', 'completed', 'failed', 'cancelled']
);
select ourvidz.allow_words('job_type', public.known_job_types());
drop function ourvidz.allow_words(name, text[]);
