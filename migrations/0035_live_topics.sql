-- What a job shows while it runs goes out on the private topic `job:<id>`: its owner may join, the
-- worker may send. The server asks by a row of the topic that it writes and rolls back.
do $$
begin
    if to_regclass('realtime.messages') is not null then
        create policy ourvidz_owner_watches on realtime.messages for select to authenticated
        using (
            extension = 'broadcast'
            and exists (
                select from public.jobs j
                where j.user_id = (select auth.uid())
                    -- Others' topics may have any name: none must raise.
                    and j.id = case
                        when topic ~ '^job:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                        then substr(topic, 5)::uuid
                    end
            )
        );
    end if;
exception when others then
    -- Without it nobody hears a running job; the row and the side server tell the same.
    raise notice 'no policy for the topics of jobs: %', sqlerrm;
end
$$;

-- A worker with a service key passes row level security; for one with its own role there are these.
do $$
begin
    if to_regclass('realtime.messages') is not null then
        grant select, insert on realtime.messages to ourvidz_worker;
        create policy ourvidz_worker_shows on realtime.messages for insert to ourvidz_worker
        with check (extension = 'broadcast' and topic like 'job:%');
        -- Versions of the server read back, as the sender, what they write to ask.
        create policy ourvidz_worker_reads_back on realtime.messages for select to ourvidz_worker
        using (extension = 'broadcast' and topic like 'job:%');
    end if;
exception when others then
    raise notice 'the worker may not send to the topics of jobs: %', sqlerrm;
end
$$;
