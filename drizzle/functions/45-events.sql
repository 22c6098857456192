-- Numbers and stores events, and the deliveries to the webhooks that the caller found to want them.
-- One element: { n, id, kind, stream, type, data (JSON as text), audience, place, webhooks: [{ id, ordered, scopes }] }: scopes
-- are held against the channel `place`, where one is named. Of a channel's
-- events the payload comes back, for its watchers.
-- The message that an event is about; a tenant's own types may call anything so.
create or replace function public.message_told(type text, data json) returns uuid language sql immutable as $$
  select case when type not like 'custom.%' then coalesce(data -> 'message' ->> 'id', data ->> 'messageId')::uuid end
$$;

-- Whether an object is to be told of what happened in its stream: where nobody listens it is left asleep, unless it may hold settings
-- that changed. Of a new message members hear who do not watch, and pushes are sent. Volatile, to see who came while the batch
-- waited; whoever comes now waits for the batch (open_socket).
create or replace function public.is_heard(kind text, stream uuid, type text) returns boolean language plpgsql volatile as $$
declare t uuid := current_tenant();
begin
  if kind = 'tenant' then return false; end if;
  if type = 'channel.updated' or exists (select 1 from live_sockets s where s.tenant_id = t and s.place_id = stream and s.until > now()) then
    return true;
  end if;
  -- From the channel's members to their sockets: a tenant has many who listen, and most of them elsewhere.
  return type = 'message.new' and (push_wanted(t) or exists (select 1 from channel_members m cross join lateral (
      select 1 from live_sockets s where s.tenant_id = t and s.user_id = m.user_id and s.place = 'user' and s.until > now() offset 0) own
    where m.tenant_id = t and m.channel_id = stream));
end $$;

-- Its plans are made once for any number of items, and would read all streams of a tenant for the few that are meant: the settings
-- leave looking each one up as the only way.
drop function if exists public.record_events(jsonb);
create or replace function public.record_events(items jsonb)
returns table (n int, id uuid, kind text, stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[])
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare t uuid := current_tenant(); moment text := to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
begin
  insert into streams (tenant_id, kind, id, last_seq)
    select distinct t, i.kind, i.stream, 0 from jsonb_to_recordset(items) i(kind text, stream uuid) order by 2, 3
    on conflict do nothing;
  perform 1 from streams s
    where s.tenant_id = t and (s.kind, s.id) in (select i.kind, i.stream from jsonb_to_recordset(items) i(kind text, stream uuid))
    order by array_position(array['channel', 'user', 'tenant'], s.kind), s.id for no key update;
  return query
    with item as (select i.*, s.last_seq + row_number() over (partition by i.kind, i.stream order by i.n) as seq
        from jsonb_to_recordset(items) i(n int, id uuid, kind text, stream uuid, type text, data text, audience uuid, place uuid, webhooks jsonb)
        join streams s on s.tenant_id = t and s.kind = i.kind and s.id = i.stream),
      put as (insert into events (tenant_id, id, stream_kind, stream_id, seq, type, audience, message_id, payload)
        select t, i.id, i.kind, i.stream, i.seq, i.type, i.audience, message_told(i.type, i.data::json),
          '{"id":"' || i.id || '","type":' || to_json(i.type) || ',"timestamp":"' || moment || '","stream":{"kind":"' || i.kind
          || '","id":"' || i.stream || '"},"seq":' || i.seq || ',"data":' || i.data || '}'
        from item i returning id, payload),
      raised as (update streams s set last_seq = x.most
        from (select i.kind, i.stream, max(i.seq) as most from item i group by 1, 2) x
        where s.tenant_id = t and s.kind = x.kind and s.id = x.stream),
      due as (insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, order_key, order_seq)
        select t, gen_random_uuid(), (w.value ->> 'id')::uuid, i.id, case when (w.value ->> 'ordered')::boolean then i.stream end,
          case when (w.value ->> 'ordered')::boolean then i.seq end
        from item i join put p on p.id = i.id cross join jsonb_array_elements(i.webhooks) w
        where i.place is null or not w.value ? 'scopes'
          or in_scopes(w.value -> 'scopes', (select c from channels c where c.tenant_id = t and c.id = i.place)) returning id, event_id)
    select i.n, i.id, i.kind, i.stream, i.seq, i.type, now(), case when is_heard(i.kind, i.stream, i.type) then p.payload end, i.audience,
      array(select d.id from due d where d.event_id = i.id) from item i join put p on p.id = i.id order by i.n;
end $$;

-- A test event goes to the endpoint it tries out, whatever that is subscribed to; its bytes may be those of another type.
drop function if exists public.deliver_last_event_to(uuid);
create or replace function public.deliver_last_event_to(webhook uuid, dressed jsonb) returns table (id uuid, event_id uuid) language sql volatile as $$
  update events e set payload = '{"id":"' || e.id || '","type":' || (dressed -> 'type') || ',"timestamp":' || (e.payload::json -> 'timestamp')::text
      || ',"stream":' || (dressed -> 'stream') || case when (dressed ->> 'durable')::boolean then ',"seq":1' else '' end || ',"data":' || (dressed -> 'data') || '}'
    where dressed is not null and e.tenant_id = current_tenant() and e.id = (select x.id from events x
     where x.tenant_id = current_tenant() and x.stream_kind = 'tenant' and x.stream_id = current_tenant() and x.type = 'webhook.test'
     order by x.seq desc limit 1);
  insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, trigger)
    select e.tenant_id, gen_random_uuid(), webhook, e.id, 'test' from events e
     where e.tenant_id = current_tenant() and e.stream_kind = 'tenant' and e.stream_id = current_tenant() and e.type = 'webhook.test'
     order by e.seq desc limit 1
  returning webhook_deliveries.id, webhook_deliveries.event_id
$$;
