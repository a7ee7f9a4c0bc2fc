-- What a daemon asks before it claims anything, also through the REST interface.
create function public.ourvidz_schema_version() returns integer
language sql stable security definer set search_path = '' as $$
    select coalesce(max(m.version), 0) from public.ourvidz_migrations m
$$;
revoke execute on function public.ourvidz_schema_version() from public, anon, authenticated;
grant execute on function public.ourvidz_schema_version() to ourvidz_worker, service_role;

alter table public.ourvidz_migrations enable row level security;
revoke all on public.ourvidz_migrations from public, anon, authenticated;
