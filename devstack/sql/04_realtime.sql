-- Broadcast from the database: messages are rows, policies on them decide who may join a private
-- topic and send to it, and Realtime delivers each one after its commit.
create schema realtime;
grant usage on schema realtime to anon, authenticated, service_role;

create table realtime.messages (
    id uuid not null default gen_random_uuid(),
    topic text not null,
    extension text not null,
    event text,
    payload jsonb,
    private boolean not null default false,
    inserted_at timestamp not null default (clock_timestamp() at time zone 'utc'),
    updated_at timestamp not null default (clock_timestamp() at time zone 'utc'),
    primary key (id, inserted_at)
) partition by range (inserted_at);
create index on realtime.messages (topic, inserted_at desc) where extension = 'broadcast';

alter table realtime.messages enable row level security;
grant select, insert, update on realtime.messages to anon, authenticated, service_role;

-- What the server reads: a row that nobody delivers is a row all the same, for a replay.
create function realtime.announce() returns trigger language plpgsql as $$
begin
    perform pg_notify('devstack_messages', new.id::text);
    return null;
end
$$;
create trigger announce after insert on realtime.messages for each row
when (new.extension = 'broadcast')
execute function realtime.announce();

-- A day a partition, made ahead; without today's nothing can be sent.
create function realtime.make_partitions(days_ahead integer default 3) returns void
language plpgsql as $$
declare
    v_day date;
begin
    for v_day in
        select d::date from generate_series(
            (now() at time zone 'utc')::date - 1,
            (now() at time zone 'utc')::date + days_ahead,
            interval '1 day'
        ) d
    loop
        execute format(
            'create table if not exists realtime.%I partition of realtime.messages '
            'for values from (%L) to (%L)',
            'messages_' || to_char(v_day, 'YYYY_MM_DD'), v_day, v_day + 1
        );
    end loop;
end
$$;
revoke execute on function realtime.make_partitions(integer) from public;
select realtime.make_partitions();

create function realtime.topic() returns text language sql stable as $$
    select nullif(current_setting('realtime.topic', true), '')
$$;

-- Never fails its caller: whatever is wrong becomes a warning, and nothing is sent.
create function realtime.send(payload jsonb, event text, topic text, private boolean default true)
returns void language plpgsql as $$
declare
    v_id uuid := gen_random_uuid();
begin
    begin
        if jsonb_typeof(payload) is distinct from 'object' then
            raise exception 'the payload is no object';
        end if;
        perform set_config('realtime.topic', topic, true);
        insert into realtime.messages (id, payload, event, topic, private, extension)
        values (v_id, jsonb_build_object('id', v_id) || payload, event, topic, private, 'broadcast');
    exception when others then
        raise warning 'ErrorSendingBroadcastMessage: %', sqlerrm;
    end;
end
$$;

create function realtime.broadcast_changes(
    topic_name text, event_name text, operation text, table_name text, table_schema text,
    new record, old record, level text default 'ROW'
)
returns void language plpgsql as $$
begin
    if level = 'STATEMENT' then
        raise exception 'function can only be triggered for each row, not for each statement';
    end if;
    perform realtime.send(
        jsonb_build_object(
            'schema', table_schema, 'table', table_name, 'operation', operation,
            'record', to_jsonb(new), 'old_record', to_jsonb(old)
        ),
        event_name, topic_name
    );
end
$$;
