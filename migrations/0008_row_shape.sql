-- What differs between a fresh table and an existing one, as functions so small that the planner
-- writes them into the query: the choice is made here once and costs nothing later.
-- With an empty path the names of types come out with their schema.
set local search_path = '';
do $$
declare
    v_job_type text := (
        select format_type(atttypid, null) from pg_catalog.pg_attribute
        where attrelid = 'public.jobs'::regclass and attname = 'job_type'
    );
    v_status text := (
        select format_type(atttypid, null) from pg_catalog.pg_attribute
        where attrelid = 'public.jobs'::regclass and attname = 'status'
    );
    v_columns name[] := (
        select pg_catalog.array_agg(attname) from pg_catalog.pg_attribute
        where attrelid = 'public.jobs'::regclass and not attisdropped
    );
begin
    execute format(
        'create function ourvidz.as_job_type(p_word text) returns %1$s language sql stable as '
        '$sql$ select p_word::%1$s $sql$', v_job_type
    );
    execute format(
        'create function ourvidz.as_status(p_word text) returns %1$s language sql stable as '
        '$sql$ select p_word::%1$s $sql$', v_status
    );

    -- A row with an api_model_id belongs to another provider and is never touched.
    execute format(
        'create function ourvidz.is_ours(p_job public.jobs) returns boolean language sql stable as '
        '$sql$ select %s $sql$',
        case when 'api_model_id' = any (v_columns) then 'p_job.api_model_id is null' else 'true' end
    );
    execute format(
        'create function ourvidz.original_prompt(p_job public.jobs) returns text '
        'language sql stable as $sql$ select %s $sql$',
        case when 'original_prompt' = any (v_columns) then 'p_job.original_prompt::text'
        else 'null::text' end
    );
end
$$;
