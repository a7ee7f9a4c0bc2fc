-- The life of a job, by the functions that these migrations define:
--
--   insert, enqueue_job      queued       checked and tagged by triggers, announced by a hint
--   claim_jobs               processing   new claim_id, lease, attempt + 1: one open row in job_runs
--   renew_leases             processing   touches job_runs alone, which nobody watches
--   report_progress          processing   touches jobs, which its owner watches
--   finish_jobs              completed, failed, cancelled, or queued again (retry, release)
--   sweep_jobs               queued again, or failed: the lease of its run has expired
--   cancel_job, or an owner's update of status    cancelled
--
-- Every write after a claim names the claim_id; with an old one it changes nothing.
-- Locks are taken in one order everywhere: by job id, of each job its row before its run's.
--
-- This file: the roles that rights are granted to. On a Supabase project all but the last exist.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['anon', 'authenticated', 'service_role', 'ourvidz_worker'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            begin
                execute format('create role %I nologin', v_role);
            exception when duplicate_object or unique_violation then
                -- Roles are shared by all databases of a server: another one was faster.
                null;
            end;
            if v_role = 'service_role' then
                begin
                    alter role service_role bypassrls;
                exception when insufficient_privilege then
                    raise notice 'service_role doesn''t bypass row level security here';
                end;
            end if;
        end if;
    end loop;

    -- The REST interface becomes this role when a token says so; whoever migrates can test it.
    if exists (select from pg_catalog.pg_roles where rolname = 'authenticator')
        and not pg_has_role('authenticator', 'ourvidz_worker', 'member')
    then
        grant ourvidz_worker to authenticator;
    end if;
    -- Whoever creates a role may administer it; to act as it takes this grant.
    begin
        execute format('grant ourvidz_worker to %I', current_user);
    exception when others then
        raise notice '% can''t act as ourvidz_worker: %', current_user, sqlerrm;
    end;
end
$$;

grant usage on schema public to anon, authenticated, service_role, ourvidz_worker;

-- What isn't meant to be called by anybody but these migrations' own functions lives here, out of
-- the REST interface's sight.
create schema ourvidz;
revoke all on schema ourvidz from public;
comment on schema ourvidz is 'ourvidz-worker: internals of the functions in public';
