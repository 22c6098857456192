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

-- Stores the deliveries of a new event to the endpoints that want it, and returns their ids. `hooks` are [{ id, ordered, scopes, filter }]:
-- scopes are held against the channel `place`, where there is one, filters against `data`, if the caller has not.
create or replace function public.deliver_event(event uuid, stream uuid, seq bigint, hooks jsonb, place channels, data jsonb) returns uuid[]
language plpgsql volatile as $$
declare ids uuid[];
begin
  if hooks is null or hooks = '[]' then return '{}'; end if;
  with due as (insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, order_key, order_seq)
    select current_tenant(), gen_random_uuid(), (w ->> 'id')::uuid, event, case when (w ->> 'ordered')::boolean then stream end,
        case when (w ->> 'ordered')::boolean then seq end
      from jsonb_array_elements(hooks) w
     where (data is null or passes_filter(w -> 'filter', data)) and (place.id is null or not w ? 'scopes' or in_scopes(w -> 'scopes', place)) returning id)
  select coalesce(array_agg(id), '{}') into ids from due;
  return ids;
end $$;

-- Numbers and stores events, and the deliveries to the webhooks that the caller found to want them.
-- One element: { n, id, kind, stream, type, data (JSON as text), audience, place, webhooks: [{ id, ordered, scopes }] }: scopes
-- are held against the channel `place`, where one is named. Of a channel's events the payload comes back, for its watchers.
-- Each by small statements: most calls bring one event, and a large statement costs by its parts. Streams are locked in one order.
drop function if exists public.record_events(jsonb);
create or replace function public.record_events(items jsonb)
returns table (n int, id uuid, kind text, stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[])
language plpgsql as $$
#variable_conflict use_column
declare t uuid := current_tenant(); moment text := iso(now()); i record; kind_before text; stream_before uuid; place channels; said text;
begin
  for i in select x.*, count(*) over (partition by x.kind, x.stream) as many
      from jsonb_to_recordset(items) x(n int, id uuid, kind text, stream uuid, type text, data text, audience uuid, place uuid, webhooks jsonb)
      order by array_position(array['channel', 'user', 'tenant'], x.kind), x.stream, x.n loop
    if stream_before is distinct from i.stream or kind_before <> i.kind then
      update streams s set last_seq = s.last_seq + i.many where s.tenant_id = t and s.kind = i.kind and s.id = i.stream returning s.last_seq - i.many into seq;
      if not found then
        insert into streams as s (tenant_id, kind, id, last_seq) values (t, i.kind, i.stream, i.many)
          on conflict (tenant_id, kind, id) do update set last_seq = s.last_seq + i.many returning s.last_seq - i.many into seq;
      end if;
    end if;
    kind_before := i.kind;
    stream_before := i.stream;
    seq := seq + 1;
    said := '{"id":"' || i.id || '","type":' || to_json(i.type) || ',"timestamp":"' || moment || '","stream":{"kind":"' || i.kind
      || '","id":"' || i.stream || '"},"seq":' || seq || ',"data":' || i.data || '}';
    insert into events (tenant_id, id, stream_kind, stream_id, seq, type, audience, message_id, payload)
      values (t, i.id, i.kind, i.stream, record_events.seq, i.type, i.audience, message_told(i.type, i.data::json), said);
    place := null;
    if i.place is not null and i.webhooks <> '[]' then select * into place from channels c where c.tenant_id = t and c.id = i.place; end if;
    n := i.n; id := i.id; kind := i.kind; stream := i.stream; type := i.type; at := now(); audience := i.audience;
    deliveries := deliver_event(i.id, i.stream, seq, i.webhooks, place, null);
    payload := case when is_heard(i.kind, i.stream, i.type) then said end;
    return next;
  end loop;
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
