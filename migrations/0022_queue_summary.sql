-- How long the queue is. A delayed job grows old from when it is due.
create function public.queue_summary()
returns table (
    job_type text, queued integer, processing integer, oldest_queued_s double precision
)
language sql stable security definer set search_path = '' as $$
    select
        j.job_type::text,
        count(*) filter (where j.status = 'queued')::integer,
        count(*) filter (where j.status = 'processing')::integer,
        extract(epoch from n.now - min(greatest(j.created_at, j.run_after)) filter (
            where j.status = 'queued' and j.run_after <= n.now
        ))::double precision
    from public.jobs j
    cross join (select public.ourvidz_now() as now) n
    where j.status in ('queued', 'processing') and ourvidz.is_ours(j)
    group by j.job_type, n.now
    order by j.job_type::text
$$;
revoke execute on function public.queue_summary() from public, anon, authenticated;
grant execute on function public.queue_summary() to ourvidz_worker, service_role;
