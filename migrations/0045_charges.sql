-- What users' jobs have taken of a device beside what their types cost: loads that they caused, and
-- runs that took longer. A worker tells it now and then; a user's next insert takes its place that
-- much further behind. Rows are only added and taken, never changed: nobody waits for anybody.
create table ourvidz.charges (
    id bigint generated always as identity primary key,
    user_id uuid not null,
    seconds double precision not null check (seconds > 0),
    charged_at timestamptz not null
);
create index charges_of_user on ourvidz.charges (user_id);
alter table ourvidz.charges enable row level security;
revoke all on ourvidz.charges from public, anon, authenticated;

-- How long a charge stands: who comes back later has paid by staying away.
create function ourvidz.charge_stands() returns interval language sql immutable as $$
    select interval '15 minutes'
$$;

-- Take a user's charges, in seconds; those that another insert is just taking are that one's.
create function ourvidz.take_charges(p_user_id uuid, p_now timestamptz)
returns double precision language sql set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off as $$
    with due as (
        select c.id from ourvidz.charges c where c.user_id = p_user_id for update skip locked
    ),
    taken as (
        delete from ourvidz.charges c using due d where c.id = d.id
        returning c.seconds, c.charged_at
    )
    select coalesce(sum(t.seconds), 0) from taken t
    where t.charged_at > p_now - ourvidz.charge_stands()
$$;

create or replace function ourvidz.next_tag(p_user_id uuid, p_job_type text, p_now timestamptz)
returns double precision language plpgsql set search_path = ''
-- The first insert of a session plans for an empty table, the last for a full one: an index always.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
    v_lowest double precision;
    v_own double precision;
    v_charged double precision := 0;
begin
    -- Delayed jobs don't hold the queue's tag back: nobody could claim them.
    select j.fair_tag into v_lowest
    from public.jobs j
    where j.status = 'queued' and ourvidz.is_ours(j) and j.run_after <= p_now
    order by j.fair_tag
    limit 1;

    if p_user_id is null then
        select j.fair_tag into v_own
        from public.jobs j
        where j.status in ('queued', 'processing') and ourvidz.is_ours(j) and j.user_id is null
        -- Both columns, or the planner doesn't see that the index has this order.
        order by j.user_id desc, j.fair_tag desc
        limit 1;
    else
        select j.fair_tag into v_own
        from public.jobs j
        where j.status in ('queued', 'processing') and ourvidz.is_ours(j) and j.user_id = p_user_id
        order by j.fair_tag desc
        limit 1;

        v_charged := ourvidz.take_charges(p_user_id, p_now);
    end if;

    return coalesce(greatest(v_lowest, v_own + ourvidz.cost_of(p_job_type)), 0) + v_charged;
end
$$;

-- Charge users: [{"user_id": …, "seconds": …}]. An hour is the most at once, whatever a worker says.
create function public.charge_users(p_charges jsonb) returns void
language sql security definer set search_path = '' as $$
    delete from ourvidz.charges c where c.id in (
        select old.id from ourvidz.charges old
        where old.charged_at <= public.ourvidz_now() - ourvidz.charge_stands()
        for update skip locked
    );

    insert into ourvidz.charges (user_id, seconds, charged_at)
    select c.user_id, least(c.seconds, 3600), public.ourvidz_now()
    from jsonb_to_recordset(p_charges) as c (user_id uuid, seconds double precision)
    where c.user_id is not null and c.seconds > 0;
$$;

revoke execute on function public.charge_users(jsonb) from public, anon, authenticated;
grant execute on function public.charge_users(jsonb) to ourvidz_worker, service_role;
