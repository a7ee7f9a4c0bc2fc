-- The roles of a hosted Supabase project. Its API connects as `authenticator`, which has no rights
-- of its own, and each request becomes one of the roles granted to it.
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
create role supabase_admin nologin superuser;
create role supabase_auth_admin nologin noinherit createrole;
create role supabase_storage_admin nologin noinherit createrole;

grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to supabase_storage_admin;

-- As on a hosted project: no request may hold the database for long.
alter role authenticator set statement_timeout = '8s';

create schema extensions;
grant usage on schema extensions to anon, authenticated, service_role;
-- The wheel has neither uuid-ossp nor pgcrypto; column defaults of existing tables use this one.
create function extensions.uuid_generate_v4() returns uuid language sql volatile as $$
    select gen_random_uuid()
$$;

grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public
    grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges in schema public
    grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges in schema public
    grant all on sequences to postgres, anon, authenticated, service_role;

alter database postgres set search_path = "$user", public, extensions;

create publication supabase_realtime;
