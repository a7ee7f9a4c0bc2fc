-- Where result files go: three private buckets. An owner reads what lies in the folder that bears
-- his id; the worker writes, and removes what a lost claim left behind.
do $$
declare
    v_buckets constant text := '(''ourvidz-images'', ''ourvidz-videos'', ''ourvidz-thumbnails'')';
begin
    if to_regclass('storage.objects') is null or to_regclass('storage.buckets') is null then
        return;
    end if;
    execute 'insert into storage.buckets (id, name, public) '
        'select b, b, false from unnest(array[''ourvidz-images'', ''ourvidz-videos'', '
        '''ourvidz-thumbnails'']) b on conflict do nothing';
    begin
        grant usage on schema storage to ourvidz_worker;
        grant select on storage.buckets to ourvidz_worker;
        grant select, insert, update, delete on storage.objects to ourvidz_worker;
        execute 'create policy ourvidz_worker_sees_buckets on storage.buckets for select '
            'to ourvidz_worker using (id in ' || v_buckets || ')';
        execute 'create policy ourvidz_worker_files on storage.objects for all '
            'to ourvidz_worker using (bucket_id in ' || v_buckets || ') '
            'with check (bucket_id in ' || v_buckets || ')';
        execute 'create policy ourvidz_owner_reads_files on storage.objects for select '
            'to authenticated using (bucket_id in ' || v_buckets ||
            ' and (storage.foldername(name))[1] = (select auth.uid())::text)';
    exception when insufficient_privilege or duplicate_object then
        raise notice 'no policies for the buckets (%): give the worker a service key, or add them '
            'in the dashboard', sqlerrm;
    end;
end
$$;
