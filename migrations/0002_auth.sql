-- Who asks: Supabase's functions over the request's token, made only where they are missing.
do $$
begin
    if to_regnamespace('auth') is null then
        create schema auth;
        grant usage on schema auth to anon, authenticated, service_role, ourvidz_worker;
    end if;
    if to_regprocedure('auth.jwt()') is null then
        create function auth.jwt() returns jsonb language sql stable as $sql$
            select nullif(current_setting('request.jwt.claims', true), '')::jsonb
        $sql$;
    end if;
    if to_regprocedure('auth.uid()') is null then
        create function auth.uid() returns uuid language sql stable as $sql$
            select coalesce(
                nullif(current_setting('request.jwt.claim.sub', true), ''),
                nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
            )::uuid
        $sql$;
    end if;
    if to_regprocedure('auth.role()') is null then
        create function auth.role() returns text language sql stable as $sql$
            select coalesce(
                nullif(current_setting('request.jwt.claim.role', true), ''),
                nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
            )
        $sql$;
    end if;
end
$$;

-- A function that runs with its definer's rights can't ask current_user who called it. The role
-- that a request was given stays visible in the setting, and no client can change it.
create function ourvidz.called_by_client() returns boolean language sql stable as $$
    select current_setting('role', true) in ('anon', 'authenticated')
        or session_user in ('anon', 'authenticated')
$$;
