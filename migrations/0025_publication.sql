-- Change events of jobs, which frontends and workers hear; never those of job_runs.
do $$
declare
    v_all boolean;
begin
    select p.puballtables into v_all
    from pg_catalog.pg_publication p where p.pubname = 'supabase_realtime';
    if v_all is null then
        create publication supabase_realtime for table public.jobs;
    elsif v_all then
        raise warning 'the publication supabase_realtime holds all tables, job_runs too: '
            'every renewal of a lease costs a change event';
    elsif not exists (
        select from pg_catalog.pg_publication_tables
        where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'jobs'
    ) then
        alter publication supabase_realtime add table public.jobs;
    end if;
end
$$;
