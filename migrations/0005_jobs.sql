-- The published table: readable by its owner, and quiet. One definition serves an empty database
-- and a table that exists: each column is added only where it is missing.
create table if not exists public.jobs (id uuid primary key default gen_random_uuid());

alter table public.jobs
    add column if not exists user_id uuid default auth.uid(),
    add column if not exists job_type text not null,
    add column if not exists status text not null default 'queued' constraint jobs_status_check
        check (status in ('queued', 'processing', 'completed', 'failed', 'cancelled')),
    add column if not exists priority integer not null default 0,
    add column if not exists metadata jsonb not null default '{}',
    add column if not exists progress integer not null default 0,
    add column if not exists current_step text,
    add column if not exists estimated_completion timestamptz,
    add column if not exists result jsonb,
    add column if not exists error text,
    add column if not exists error_code text,
    add column if not exists attempts integer not null default 0,
    add column if not exists max_attempts integer not null default 3,
    add column if not exists run_after timestamptz not null default public.ourvidz_now(),
    add column if not exists cancel_requested_at timestamptz,
    add column if not exists created_at timestamptz not null default public.ourvidz_now(),
    add column if not exists started_at timestamptz,
    add column if not exists completed_at timestamptz,
    add column if not exists updated_at timestamptz not null default public.ourvidz_now(),
    add column if not exists fair_tag double precision not null default 0;

comment on column public.jobs.fair_tag is
    'Place in the fair order among users: the seconds of work asked for before this job.';

-- An existing table may allow null where the functions count.
update public.jobs set priority = 0 where priority is null;
update public.jobs set progress = 0 where progress is null;
alter table public.jobs
    alter column priority set default 0,
    alter column progress set default 0;
