-- One row that is counted up now and then, so that every source of wake-ups has something to hear
-- while nobody inserts. Realtime tells of it whoever may select it.
create table public.ourvidz_canary (
    id smallint primary key default 1 check (id = 1),
    serial bigint not null default 0,
    sent_at timestamptz not null default 'epoch'
);
insert into public.ourvidz_canary default values;

alter table public.ourvidz_canary enable row level security;
revoke all on public.ourvidz_canary from public, anon, authenticated;
grant select on public.ourvidz_canary to ourvidz_worker;
grant all on public.ourvidz_canary to service_role;
create policy ourvidz_worker_hears on public.ourvidz_canary for select to ourvidz_worker
using (true);

do $$
begin
    if not (
        select p.puballtables from pg_catalog.pg_publication p
        where p.pubname = 'supabase_realtime'
    ) then
        alter publication supabase_realtime add table public.ourvidz_canary;
    end if;
end
$$;
