-- One index for each question that is asked all the time. `api_model_id is null` goes into the
-- condition where that column exists, so that another provider's rows don't lie in the way.
do $$
declare
    v_ours text := '';
begin
    if exists (
        select from pg_catalog.pg_attribute
        where attrelid = 'public.jobs'::regclass and attname = 'api_model_id' and not attisdropped
    ) then
        v_ours := ' and api_model_id is null';
    end if;

    -- What is claimed next: the job type leads, so that a long queue of videos costs a chat
    -- nothing; run_after comes last, so that delayed jobs are passed over inside the index.
    execute 'create index jobs_claim_order on public.jobs '
        '(job_type, priority desc, fair_tag, created_at, id, run_after) '
        'where status = ''queued''' || v_ours;
    -- Which delayed job is due next, and which tag the queue has come to.
    execute 'create index jobs_queued_run_after on public.jobs (run_after) '
        'where status = ''queued''' || v_ours;
    execute 'create index jobs_queued_fair_tag on public.jobs (fair_tag, run_after) '
        'where status = ''queued''' || v_ours;
    -- What a user has in the works, and how much of each job type there is.
    execute 'create index jobs_unfinished on public.jobs (user_id, fair_tag, job_type) '
        'where status in (''queued'', ''processing'')' || v_ours;
end
$$;
