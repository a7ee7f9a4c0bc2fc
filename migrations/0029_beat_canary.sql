-- Send a canary through every source, unless one was sent less than `p_min_age_s` ago: a fleet needs
-- no more of them than a single worker. Returns the last one. Ages are by the wall's clock, not by
-- `ourvidz_now()`: what is measured is real time.
create function public.beat_canary(p_min_age_s double precision)
returns table (serial bigint, age_s double precision, broadcast boolean)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    v_serial bigint;
begin
    broadcast := to_regprocedure('realtime.send(jsonb,text,text,boolean)') is not null;
    -- A canary that crashed with its server is missed, and the next one isn't.
    perform set_config('synchronous_commit', 'off', true);
    update public.ourvidz_canary c
    set serial = c.serial + 1, sent_at = clock_timestamp()
    where c.id in (
        -- Whoever finds it locked is answered with the canary before: somebody is just sending.
        select o.id from public.ourvidz_canary o
        where o.sent_at <= clock_timestamp() - make_interval(secs => p_min_age_s)
            or o.sent_at > clock_timestamp()
        for update skip locked
    )
    returning c.serial into v_serial;
    if v_serial is not null then
        perform pg_notify('ourvidz_canary', v_serial::text);
        if broadcast then
            begin
                execute 'select realtime.send($1, ''canary'', ''ourvidz:jobs'', true)'
                using jsonb_build_object('serial', v_serial);
            exception when others then
                -- The source that misses it is doubted, which says so where it can be seen.
                raise warning 'no broadcast of the canary: %', sqlerrm;
            end;
        end if;
    end if;
    select c.serial, extract(epoch from clock_timestamp() - c.sent_at)::double precision
    into serial, age_s
    from public.ourvidz_canary c;
    return next;
end
$$;

revoke execute on function public.beat_canary(double precision)
from public, anon, authenticated;
grant execute on function public.beat_canary(double precision) to ourvidz_worker, service_role;
