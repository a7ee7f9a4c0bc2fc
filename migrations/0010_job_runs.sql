-- One row a claim. Leases and heartbeats live here, out of the publication and of every client's
-- sight, so that holding a job costs no Realtime traffic.
create table public.job_runs (
    claim_id uuid primary key,
    job_id uuid not null references public.jobs (id) on delete cascade,
    worker_id text not null,
    instance_id uuid not null,
    attempt integer not null,
    lease_expires_at timestamptz not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    outcome text check (
        outcome in ('completed', 'failed', 'retried', 'cancelled', 'released', 'expired')
    ),
    error text,
    error_code text,
    timings jsonb,
    constraint job_runs_end_check check ((ended_at is null) = (outcome is null))
);

create index job_runs_job_id on public.job_runs (job_id);
-- A job has at most one open run: the one whose claim_id may write. Sweeps read all of this index,
-- which is as long as the workers' jobs; with one on leases each renewal would write to all indexes.
create unique index job_runs_open on public.job_runs (job_id) where ended_at is null;

alter table public.job_runs enable row level security;
revoke all on public.job_runs from public, anon, authenticated;
